"""The job that the options of a submission ask for."""

from dataclasses import dataclass

from cli.asking import Json, limit_fields, threshold_fields
from facebatch.client import Client
from pipeline.errors import FaceBatchError
from pipeline.face_limits import FaceLimits
from pipeline.thresholds import WantedThreshold


class GalleryUnknownError(FaceBatchError):
    """No gallery is called so."""

    code = "gallery_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify:
    """Who is in the photos?"""

    galleries: tuple[str, ...]
    """Their names."""
    threshold: WantedThreshold
    top_k: int

    def fields(self, client: Client) -> Json:
        """Those of the job; raises `GalleryUnknownError`."""
        ids = [_gallery_id(client, name) for name in dict.fromkeys(self.galleries)]
        where: Json = {"gallery": ids[0]} if len(ids) == 1 else {"galleries": ids}
        asked = threshold_fields(self.threshold)
        return {"kind": "identify", "top_k": self.top_k, **where, **asked}


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrol:
    """The photos show one person, who is to be known."""

    gallery: str
    subject: str
    engine: str
    """Of the gallery, where it is made for this."""
    multiple_faces: str

    def fields(self, client: Client) -> Json:
        """Those of the job; gallery and person are made where there are none."""
        gallery_id = str(client.galleries.ensure(self.gallery, engine=self.engine).id)
        return {
            "kind": "enrol",
            "gallery": gallery_id,
            "subject": str(client.subjects.ensure(gallery_id, self.subject).id),
            "multiple_faces": self.multiple_faces,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Detect:
    """Where are faces in the photos?"""

    engine: str

    def fields(self, client: Client) -> Json:  # noqa: ARG002 - as the others.
        """Those of the job."""
        return {"kind": "detect", "engine": self.engine}


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedJob:
    """What is to be done, and for which faces, and when."""

    what: Identify | Enrol | Detect
    limits: FaceLimits
    priority: str | None

    def fields(self, client: Client) -> Json:
        """As the API takes it; raises `GalleryUnknownError`."""
        when = {} if self.priority is None else {"priority": self.priority}
        return {**self.what.fields(client), **limit_fields(self.limits), **when}


def _gallery_id(client: Client, name: str) -> str:
    if (found := client.galleries.find(name)) is None:
        raise GalleryUnknownError(
            f"there is no gallery called {name}; --enrol-as makes one of photos of a person"
        )
    return str(found.id)
