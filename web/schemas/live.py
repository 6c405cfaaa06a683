"""The messages of a live stream, and what opens one."""

import uuid
from typing import Annotated, Literal, Self

from pydantic import Field

from db.states import Decision
from db.views import FaceView, GalleryView, ItemView, JobView
from web.quality import MinFacePx, MinQuality
from web.schemas.base import Incoming, Outgoing
from web.schemas.people import EngineOut
from web.schemas.results import WhoOut
from web.thresholds import ThresholdOut


class LiveQuery(Incoming):
    """Whom to look for."""

    gallery: uuid.UUID = Field(description="Id of the gallery that is searched.")


class LiveOptionsIn(Incoming):
    """The one text message that a client may send, before its first frame."""

    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    target_fmr: float | None = Field(None, gt=0, lt=1)
    target_fpir: float | None = Field(None, gt=0, lt=1)
    min_face_px: MinFacePx = 0
    min_quality: MinQuality = 0.0


class LiveReadyOut(Outgoing):
    """The first message: the stream is open."""

    type: Literal["ready"] = "ready"
    gallery: WhoOut
    engine: EngineOut
    frame_bytes: int = Field(description="Most bytes of a frame.")
    pixels: int = Field(description="Most pixels of a frame.")
    idle_s: float = Field(description="Seconds without a frame after which the stream ends.")
    lifetime_s: float = Field(description="Seconds after which the stream ends in any case.")

    @classmethod
    def of(
        cls,
        gallery: GalleryView,
        *,
        frame_bytes: int,
        pixels: int,
        idle_s: float,
        lifetime_s: float,
    ) -> Self:
        """From what the query returned."""
        return cls(
            gallery=WhoOut(id=gallery.id, name=gallery.name),
            engine=EngineOut(name=gallery.engine, version=gallery.engine_version),
            frame_bytes=frame_bytes,
            pixels=pixels,
            idle_s=idle_s,
            lifetime_s=lifetime_s,
        )


class LiveFaceOut(Outgoing):
    """A face in a frame."""

    box: list[int] = Field(
        min_length=4, max_length=4, description="[left, top, right, bottom], upright pixels."
    )
    quality: float | None = Field(description="0 to 1, as `overall` of a result's `quality`.")
    decision: Decision
    subject: WhoOut | None = Field(description="Who it is under the threshold; null for nobody.")
    distance: float | None = Field(
        description="L2 distance to the nearest candidate, match or not; null where none is."
    )

    @classmethod
    def of(cls, face: FaceView) -> Self:
        """From what the query returned."""
        match, near = face.match, face.candidates
        return cls(
            box=[face.left_px, face.top_px, face.right_px, face.bottom_px],
            quality=face.quality.overall if face.quality else None,
            decision=face.decision,
            subject=WhoOut(id=match.subject_id, name=match.subject_name) if match else None,
            distance=near[0].distance if near else None,
        )


class LiveFacesOut(Outgoing):
    """Who is in a frame."""

    type: Literal["faces"] = "faces"
    frame: int = Field(description="The frame's number, from 1, in the order of sending.")
    width: int | None = Field(description="Of the upright frame, in pixels.")
    height: int | None = Field(description="Of the upright frame, in pixels.")
    faces: list[LiveFaceOut]
    threshold: ThresholdOut
    dropped: int = Field(description="Frames of this stream that gave way to later ones so far.")
    latency_ms: int = Field(description="From the frame's last byte to this answer.")

    @classmethod
    def of(cls, item: ItemView, job: JobView, *, frame: int, dropped: int, latency_ms: int) -> Self:
        """From what the queries returned."""
        return cls(
            frame=frame,
            width=item.width_px,
            height=item.height_px,
            faces=[LiveFaceOut.of(face) for face in item.faces],
            threshold=ThresholdOut.of(job.threshold),
            dropped=dropped,
            latency_ms=latency_ms,
        )


class LiveErrorOut(Outgoing):
    """What is wrong with a frame, or why the stream ends."""

    type: Literal["error"] = "error"
    frame: int | None = Field(description="The frame's number; null where the stream ends.")
    code: str = Field(description="Stable; listed in the reference of errors.")
    detail: str
    dropped: int
