"""A client of the HTTP API: a method for each thing that commands ask of it."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.calls import PAGE, ApiError, Caller, Json, checked
from cli.scan import open_photo


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFile:
    """A photo to send, and the id under which its result will come back."""

    client_id: str
    path: Path


class _Steady(io.BufferedReader):
    """A file whose length was announced: reading raises `OSError` where it grows or shrinks."""

    def __init__(self, path: Path, progress: Callable[[int], None] = lambda _sent: None) -> None:
        super().__init__(open_photo(path).detach())
        self._size_bytes = os.fstat(self.fileno()).st_size
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.tell() > self._size_bytes or (not data and self.tell() < self._size_bytes):
            raise OSError("the file changed while it was sent")
        self._progress(self.tell())
        return data


class Client(Caller):
    """Speaks to one server. Every call may be tried again: none counts twice."""

    def ensure_gallery(self, name: str, *, engine: str) -> str:
        """The id of the gallery called `name`, which is made, for `engine`, if there is none."""
        try:
            made = self.call("POST", "/v1/galleries", json={"name": name, "engine": engine})
            return str(made["id"])
        except ApiError as exc:
            if exc.code != "gallery_exists":
                raise
        found = self.call("GET", "/v1/galleries", params={"name": name})
        return str(found["galleries"][0]["id"])

    def gallery_id(self, name: str) -> str | None:
        """The id of the gallery called `name`; None where there is none."""
        found = self.call("GET", "/v1/galleries", params={"name": name})["galleries"]
        return str(found[0]["id"]) if found else None

    def galleries(self) -> Iterator[Json]:
        """All galleries."""
        yield from self.pages("/v1/galleries", "galleries")

    def delete_gallery(self, gallery_id: str) -> None:
        """Deletes the gallery with all that hangs on it; one that is gone is no error."""
        try:
            self.call("DELETE", f"/v1/galleries/{gallery_id}")
        except ApiError as exc:
            if exc.code != "gallery_not_found":
                raise

    def ensure_subject(self, gallery_id: str, name: str) -> str:
        """The id of the subject called `name`, which is made where it does not exist."""
        path = f"/v1/galleries/{gallery_id}/subjects"
        try:
            return str(self.call("POST", path, json={"name": name})["id"])
        except ApiError as exc:
            if exc.code != "duplicate_subject":
                raise
        found = self.call("GET", path, params={"name": name})
        return str(found["subjects"][0]["id"])

    def subjects(self, gallery_id: str) -> dict[str, str]:
        """The ids of the gallery's subjects by name."""
        pages = self.pages(f"/v1/galleries/{gallery_id}/subjects", "subjects")
        return {one["name"]: one["id"] for one in pages}

    def open_job(self, **wanted: Any) -> str:
        """The id of a new job that takes photos until it is sealed."""
        return str(self.call("POST", "/v1/jobs", json=wanted)["id"])

    def add_known(
        self, job_id: str, photos: Sequence[tuple[str, str]], *, subject_id: str | None = None
    ) -> set[str]:
        """Adds photos by (client id, SHA-256 in hex) and returns the ids that must be sent."""
        body = {"photos": [{"client_id": one, "sha256": sha256} for one, sha256 in photos]}
        answer = self.call(
            "POST", f"/v1/jobs/{job_id}/photos", json=body, params=_subject(subject_id)
        )
        return set(answer["missing"])

    def add_photos(
        self, job_id: str, photos: Sequence[PhotoFile], *, subject_id: str | None = None
    ) -> None:
        """Sends photos; raises `ApiError` where one is refused, `OSError` where a file is."""

        def send() -> httpx.Response:
            with ExitStack() as opened:
                files = [
                    (
                        "photos",
                        (
                            photo.client_id,
                            opened.enter_context(_Steady(photo.path)),
                            "application/octet-stream",
                        ),
                    )
                    for photo in photos
                ]
                return self._http.post(
                    f"/v1/jobs/{job_id}/photos", files=files, params=_subject(subject_id)
                )

        checked(self.answered(send))

    def add_archive(
        self, job_id: str, path: Path, *, progress: Callable[[int], None] = lambda _sent: None
    ) -> None:
        """Sends a zip through the server, and tells how many bytes are gone; raises `OSError`."""

        def send() -> httpx.Response:
            with _Steady(path, progress) as file:
                files = {"archive": ("archive.zip", file, "application/zip")}
                return self._http.post(f"/v1/jobs/{job_id}/photos", files=files)

        checked(self.answered(send))

    def upload(
        self, kind: str, path: Path, *, progress: Callable[[int], None] = lambda _sent: None
    ) -> str:
        """Sends a file past the server, right to the bucket; returns the id of the upload.

        Raises `OSError`.
        """
        wanted = {"kind": kind, "files": [{"size_bytes": path.stat().st_size}]}
        upload = self.call("POST", "/v1/uploads", json=wanted)
        form = upload["files"][0]

        def send() -> httpx.Response:
            with _Steady(path, progress) as file:
                return self._http.post(form["url"], data=form["fields"], files={"file": file})

        checked(self.answered(send))
        return str(upload["id"])

    def add_source(self, job_id: str, source: Json) -> None:
        """Gives an open job that has no source this one.

        Where an answer is lost it is looked whether the source is there: it may be listed to its
        end by then, and the server would take it for another.
        """
        path = f"/v1/jobs/{job_id}/sources"

        def send() -> httpx.Response:
            there = self._http.get(path)
            if not there.is_success or there.json()["sources"]:
                return there
            return self._http.post(path, json=source)

        checked(self.answered(send))

    def sources(self, job_id: str) -> Iterator[Json]:
        """The job's sources, and how far each is listed."""
        yield from self.pages(f"/v1/jobs/{job_id}/sources", "sources")

    def seal(self, job_id: str) -> None:
        """Says that no further photos come."""
        self.call("POST", f"/v1/jobs/{job_id}/seal")

    def cancel(self, job_id: str, *, patience_s: float | None = None) -> None:
        """Ends the job now; waits `patience_s` at most for a server that is away."""
        self.call("POST", f"/v1/jobs/{job_id}/cancel", patience_s=patience_s)

    def change(self, job_id: str, how: str) -> Json:
        """Has the job `pause`, `resume`, `cancel` or `retry`; returns where it stands then."""
        return self.call("POST", f"/v1/jobs/{job_id}/{how}")

    def job(self, job_id: str) -> Json:
        """Where the job stands."""
        return self.call("GET", f"/v1/jobs/{job_id}")

    def results(self, job_id: str) -> Iterator[Json]:
        """The job's items in the order in which they were added."""
        yield from self.pages(f"/v1/jobs/{job_id}/results", "results")

    def subjects_of(self, job_id: str) -> Iterator[Json]:
        """Whom the job's photos show."""
        yield from self.pages(f"/v1/jobs/{job_id}/subjects", "subjects")

    def search(
        self, job_id: str, wanted: dict[str, Any], *, probe: Path | None = None
    ) -> Iterator[Json]:
        """Pages of the photos of a job that show somebody: in a photo, or whom `wanted` names.

        Raises `OSError`.
        """
        params = {"limit": str(PAGE)}
        while True:
            page = self._searched(f"/v1/jobs/{job_id}/search", wanted, probe, params)
            yield page
            if page["next_cursor"] is None:
                return
            params["cursor"] = page["next_cursor"]

    def _searched(
        self, path: str, wanted: dict[str, Any], probe: Path | None, params: dict[str, str]
    ) -> Json:
        if probe is None:
            return self.call("POST", path, json=wanted, params=params)

        def send() -> httpx.Response:
            with _Steady(probe) as file:
                files = {"photo": ("photo", file, "application/octet-stream")}
                return self._http.post(path, data=wanted, files=files, params=params)

        return dict(checked(self.answered(send)).json())

    def crop(self, job_id: str, face_id: int, **query: float) -> bytes:
        """A face of the job as a JPEG."""
        path = f"/v1/jobs/{job_id}/faces/{face_id}/crop"
        return checked(self.answered(lambda: self._http.get(path, params=query))).content

    def jobs(self) -> Iterator[Json]:
        """All jobs, the latest first."""
        yield from self.pages("/v1/jobs", "jobs")


def _subject(subject_id: str | None) -> dict[str, str]:
    return {"subject": subject_id} if subject_id else {}
