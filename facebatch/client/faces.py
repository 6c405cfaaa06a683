"""Single faces: compared, found in a photo, searched for in a job, cut out."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Unpack

import httpx

from facebatch.client import connection as connections
from facebatch.client.answers import checked
from facebatch.client.connection import Connection, once_more_is_no_more, value_of
from facebatch.client.fields import Id, ThresholdFields, as_form, as_json
from facebatch.client.models.faces import (
    Detection,
    FoundPhoto,
    Recognized,
    Registered,
    Search,
    Stats,
    Verification,
)
from facebatch.client.photos import ANY_TYPE, Source, opened

JobFace = tuple[Id, int]
"""A face of a job's results: the job's id and the face's."""


class FaceCalls:
    """`client.faces`. Photos that are sent here are not kept."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def verify(
        self,
        photo: Source,
        *,
        reference: Source | None = None,
        subject: Id | None = None,
        threshold: float | None = None,
        target_fmr: float | None = None,
        engine: str | None = None,
    ) -> Verification:
        """Whether the largest face of a photo is that of a `reference` photo, or of a `subject`."""
        asked = {
            "subject": subject,
            "threshold": threshold,
            "target_fmr": target_fmr,
            "engine": engine,
        }
        files = {"photo": photo} | ({} if reference is None else {"reference": reference})
        return value_of(Verification, self._sent("/v1/verifications", files, form=asked))

    def verify_known(
        self,
        face: JobFace,
        *,
        reference: JobFace | None = None,
        subject: Id | None = None,
        threshold: float | None = None,
        target_fmr: float | None = None,
    ) -> Verification:
        """Whether a face of a job is that of another one, or of a `subject`."""
        body = as_json(
            {
                "face": _job_face(face),
                "reference": None if reference is None else _job_face(reference),
                "subject": subject,
                "threshold": threshold,
                "target_fmr": target_fmr,
            }
        )
        return self._connection.post(Verification, "/v1/verifications", json=body)

    def detect(
        self,
        photo: Source,
        *,
        engine: str | None = None,
        min_face_px: int | None = None,
        min_quality: float | None = None,
    ) -> Detection:
        """The faces of a photo."""
        asked = {"engine": engine, "min_face_px": min_face_px, "min_quality": min_quality}
        return value_of(Detection, self._sent("/detect", {"image": photo}, params=asked))

    def search(
        self,
        job: Id,
        *,
        photo: Source | None = None,
        face: int | None = None,
        subject: Id | None = None,
        **threshold: Unpack[ThresholdFields],
    ) -> Iterator[FoundPhoto]:
        """The photos of a job that show somebody, the nearest first: give one of the three."""
        for page in self.search_pages(job, photo=photo, face=face, subject=subject, **threshold):
            yield from page.photos

    def search_pages(
        self,
        job: Id,
        *,
        photo: Source | None = None,
        face: int | None = None,
        subject: Id | None = None,
        **threshold: Unpack[ThresholdFields],
    ) -> Iterator[Search]:
        """The same page by page, each with the threshold that decided; raises `OSError`."""
        path = f"/v1/jobs/{job}/search"
        asked = {"face": face, "subject": subject, **threshold}
        cursor: str | None = None
        while True:
            params = {"limit": connections.PAGE, "cursor": cursor}
            if photo is None:
                page = self._connection.post(Search, path, json=as_json(asked), params=params)
            else:
                files = {"photo": photo}
                page = value_of(Search, self._sent(path, files, form=asked, params=params))
            yield page
            if (cursor := page.next_cursor) is None:
                return

    def crop(
        self, job: Id, face: int, *, margin: float | None = None, size_px: int | None = None
    ) -> bytes:
        """A face of the job as a JPEG, without any metadata."""
        path = f"/v1/jobs/{job}/faces/{face}/crop"
        params = {"margin": margin, "size": size_px}
        return self._connection.call("GET", path, params=params).content

    def register(self, name: str, photo: Source) -> Registered:
        """A user for `recognize`: photos of this kind are kept, as templates of a person."""
        sent = self._sent("/register", {"image": photo}, form={"name": name}, once=True)
        return value_of(Registered, sent)

    def recognize(self, photo: Source, *, threshold: float | None = None) -> Recognized:
        """Which registered user the largest face of a photo is."""
        sent = self._sent("/recognize", {"image": photo}, params={"threshold": threshold})
        return value_of(Recognized, sent)

    def stats(self) -> Stats:
        """How many users are registered."""
        return self._connection.read(Stats, "/stats")

    def _sent(
        self,
        path: str,
        photos: Mapping[str, Source],
        *,
        form: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        once: bool = False,
    ) -> httpx.Response:
        data, query = as_form(form or {}), as_form(params or {})
        headers = once_more_is_no_more() if once else {}

        def send() -> httpx.Response:
            with ExitStack() as files:
                parts = {
                    field: (field, files.enter_context(opened(one)), ANY_TYPE)
                    for field, one in photos.items()
                }
                return self._connection.http.post(
                    path, data=data, files=parts, params=query, headers=headers
                )

        return checked(self._connection.answered(send))


def _job_face(face: JobFace) -> dict[str, object]:
    job, number = face
    return {"job": str(job), "face": number}
