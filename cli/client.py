"""A client of the HTTP API that waits for a server which is away and comes back."""

import io
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from cli.scan import open_photo
from pipeline.errors import FaceBatchError

PATIENCE_S = 120.0
"""How long a server may be away: any part of a stack is back well before."""
TELL_AFTER_S = 3.0
"""A part that restarts is back sooner, and needs no word."""
PAGE = 500
Json = dict[str, Any]


class ApiError(FaceBatchError):
    """The server refused a request, and would refuse it again."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class UnexpectedAnswerError(ApiError):
    """Somebody else than facebatch has answered."""

    code = "unexpected_answer"

    def __init__(self, status: int, path: str) -> None:
        detail = f"{path} answers {status} with no answer of facebatch"
        super().__init__(status, type(self).code, detail)


class ServerAwayError(FaceBatchError):
    """The server did not answer for longer than it may take to come back."""

    code = "server_away"
    permanent = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFile:
    """A photo to send, and the id under which its result will come back."""

    client_id: str
    path: Path


class _Steady(io.BufferedReader):
    """A file whose length was announced: reading raises `OSError` where it grows or shrinks."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw)
        self._size_bytes = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.tell() > self._size_bytes or (not data and self.tell() < self._size_bytes):
            raise OSError("the file changed while it was sent")
        return data


class Client:
    """Speaks to one server. Every call may be tried again: none counts twice."""

    def __init__(
        self,
        api_url: str,
        *,
        patience_s: float = PATIENCE_S,
        tell: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self._http = httpx.Client(
            base_url=api_url,
            timeout=httpx.Timeout(60, connect=5),
            # Loopback has no proxy, whatever the environment says.
            trust_env=False,
        )
        self._patience_s = patience_s
        self._tell = tell

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ensure_gallery(self, name: str, *, engine: str) -> str:
        """The id of the gallery called `name`, which is made, for `engine`, if there is none."""
        try:
            made = self._call("POST", "/v1/galleries", json={"name": name, "engine": engine})
            return str(made["id"])
        except ApiError as exc:
            if exc.code != "gallery_exists":
                raise
        found = self._call("GET", "/v1/galleries", params={"name": name})
        return str(found["galleries"][0]["id"])

    def galleries(self) -> Iterator[Json]:
        """All galleries."""
        yield from self._pages("/v1/galleries", "galleries")

    def delete_gallery(self, gallery_id: str) -> None:
        """Deletes the gallery with all that hangs on it; one that is gone is no error."""
        try:
            self._call("DELETE", f"/v1/galleries/{gallery_id}")
        except ApiError as exc:
            if exc.code != "gallery_not_found":
                raise

    def ensure_subject(self, gallery_id: str, name: str) -> str:
        """The id of the subject called `name`, which is made where it does not exist."""
        path = f"/v1/galleries/{gallery_id}/subjects"
        try:
            return str(self._call("POST", path, json={"name": name})["id"])
        except ApiError as exc:
            if exc.code != "duplicate_subject":
                raise
        found = self._call("GET", path, params={"name": name})
        return str(found["subjects"][0]["id"])

    def subjects(self, gallery_id: str) -> dict[str, str]:
        """The ids of the gallery's subjects by name."""
        pages = self._pages(f"/v1/galleries/{gallery_id}/subjects", "subjects")
        return {one["name"]: one["id"] for one in pages}

    def open_job(self, **wanted: Any) -> str:
        """The id of a new job that takes photos until it is sealed."""
        return str(self._call("POST", "/v1/jobs", json=wanted)["id"])

    def add_known(
        self, job_id: str, photos: Sequence[tuple[str, str]], *, subject_id: str | None = None
    ) -> set[str]:
        """Adds photos by (client id, SHA-256 in hex) and returns the ids that must be sent."""
        body = {"photos": [{"client_id": one, "sha256": sha256} for one, sha256 in photos]}
        answer = self._call(
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
                            opened.enter_context(_Steady(open_photo(photo.path).detach())),
                            "application/octet-stream",
                        ),
                    )
                    for photo in photos
                ]
                return self._http.post(
                    f"/v1/jobs/{job_id}/photos", files=files, params=_subject(subject_id)
                )

        _checked(self._answered(send))

    def seal(self, job_id: str) -> None:
        """Says that no further photos come."""
        self._call("POST", f"/v1/jobs/{job_id}/seal")

    def cancel(self, job_id: str, *, patience_s: float | None = None) -> None:
        """Ends the job now; waits `patience_s` at most for a server that is away."""
        self._call("POST", f"/v1/jobs/{job_id}/cancel", patience_s=patience_s)

    def job(self, job_id: str) -> Json:
        """Where the job stands."""
        return self._call("GET", f"/v1/jobs/{job_id}")

    def results(self, job_id: str) -> Iterator[Json]:
        """The job's items in the order in which they were added."""
        yield from self._pages(f"/v1/jobs/{job_id}/results", "results")

    def subjects_of(self, job_id: str) -> Iterator[Json]:
        """Whom the job's photos show."""
        yield from self._pages(f"/v1/jobs/{job_id}/subjects", "subjects")

    def jobs(self) -> Iterator[Json]:
        """All jobs, the latest first."""
        yield from self._pages("/v1/jobs", "jobs")

    def _pages(self, path: str, field: str) -> Iterator[Json]:
        cursor: str | None = None
        while True:
            params = {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {})
            page = self._call("GET", path, params=params)
            yield from page[field]
            if (cursor := page["next_cursor"]) is None:
                return

    def _call(
        self,
        method: str,
        path: str,
        *,
        json: Json | None = None,
        params: Json | None = None,
        patience_s: float | None = None,
    ) -> Json:
        def send() -> httpx.Response:
            return self._http.request(method, path, json=json, params=params)

        response = _checked(self._answered(send, patience_s))
        try:
            return dict(response.json()) if response.content else {}
        except (ValueError, TypeError) as exc:
            raise _unexpected(response) from exc

    def _answered(self, send: Any, patience_s: float | None = None) -> httpx.Response:
        """The answer, waiting for a server that is away; raises `ServerAwayError`."""
        patience_s = self._patience_s if patience_s is None else patience_s
        began_at = time.monotonic()
        told = False
        pause_s = 0.1
        while True:
            try:
                response: httpx.Response = send()
                if not _may_pass(response):
                    return response
                cause = f"it answers {response.status_code}"
            except httpx.TransportError as exc:
                cause = type(exc).__name__
            away_s = time.monotonic() - began_at
            if away_s > patience_s:
                raise ServerAwayError(
                    f"the server at {self._http.base_url} has been away for "
                    f"{patience_s:.0f} s ({cause}); see `facebatch status` and its logs"
                )
            if away_s > TELL_AFTER_S and not told:
                self._tell(
                    f"the server at {self._http.base_url} is away ({cause}); "
                    f"waiting up to {patience_s:.0f} s for it"
                )
                told = True
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret.
            pause_s = min(pause_s * 2, 2.0)


def _may_pass(response: httpx.Response) -> bool:
    return response.status_code in {429, 500, 502, 503, 504}


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = response.json()
        raise ApiError(response.status_code, str(problem["code"]), str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        raise _unexpected(response) from None


def _unexpected(response: httpx.Response) -> ApiError:
    return UnexpectedAnswerError(response.status_code, response.url.path)


def _subject(subject_id: str | None) -> dict[str, str]:
    return {"subject": subject_id} if subject_id else {}
