"""Jobs: made, filled, waited for, and read."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Unpack

import httpx

from facebatch.client.answers import checked, retry_after_s
from facebatch.client.connection import (
    Connection,
    headers_of,
    once_more_is_no_more,
    value_of,
)
from facebatch.client.fields import Id, JobFields, SourceFields, as_form, as_json
from facebatch.client.models.files import Source, Sources
from facebatch.client.models.jobs import Added, Job, JobKind, Jobs
from facebatch.client.models.results import Result, Results, SubjectResult, SubjectResults
from facebatch.client.photos import (
    PhotoLike,
    form_files,
    groups,
    named,
    opened,
    size_bytes,
)
from facebatch.client.photos import Source as FileSource
from facebatch.errors import ClientError, JobUnfinishedError, NotFoundError

LONG_POLL_S = 20
"""How long one request waits for the end of a job."""
POLL_AFTER_S = 1.0
"""Where the server does not say when to ask again."""
CANCEL_PATIENCE_S = 2.0
ZIP = "application/zip"


class JobCalls:
    """`client.jobs`. Every request may be sent again: none counts twice."""

    def __init__(self, connection: Connection, *, long_poll_s: float) -> None:
        self._connection = connection
        self._long_poll_s = long_poll_s

    def create(
        self,
        kind: JobKind,
        photos: Iterable[PhotoLike] = (),
        *,
        archives: Iterable[FileSource] = (),
        sources: Sequence[SourceFields] | None = None,
        idempotency_key: str | None = None,
        **fields: Unpack[JobFields],
    ) -> Job:
        """A job of what comes with this request, or of `sources`, which takes nothing further.

        1,000 photos and 16 zips at the most; `submit` takes any number of photos. The key is
        drawn anew unless you give one: with it, a program that dies may ask again.
        """
        headers = _key(idempotency_key)
        if sources is not None:
            body = as_json({"kind": kind, "sources": list(sources), **fields})
            return self._connection.post(Job, "/v1/jobs", json=body, headers=headers)
        form = as_form({"kind": kind, **fields})
        one_by_one, zips = list(named(photos)), list(archives)

        def send() -> httpx.Response:
            with ExitStack() as files:
                parts = form_files(files, "photos", one_by_one) + [
                    ("archive", ("archive.zip", files.enter_context(opened(one)), ZIP))
                    for one in zips
                ]
                return self._connection.http.post(
                    "/v1/jobs", data=form, files=parts, headers=headers
                )

        return value_of(Job, checked(self._connection.answered(send)))

    def open(
        self, kind: JobKind, *, idempotency_key: str | None = None, **fields: Unpack[JobFields]
    ) -> Job:
        """A job without photos, which takes them until it is sealed."""
        body = as_json({"kind": kind, **fields})
        return self._connection.post(Job, "/v1/jobs", json=body, headers=_key(idempotency_key))

    def submit(
        self, kind: JobKind, photos: Iterable[PhotoLike], **fields: Unpack[JobFields]
    ) -> Job:
        """A job of any number of photos, of which each needs its own name; sealed.

        They go up a few at a time. Where that breaks off, the job is cancelled.
        """
        job = self.open(kind, **fields)
        try:
            for group in groups(named(photos), lambda one: size_bytes(one.source)):
                self.add_photos(job.id, group)
            return self.seal(job.id)
        except BaseException:
            # What broke it off counts, and not that the server is away, or the job has ended.
            with contextlib.suppress(ClientError):
                self.cancel(job.id, patience_s=CANCEL_PATIENCE_S)
            raise

    def list(self) -> Iterator[Job]:
        """All jobs, the latest first."""
        return self._connection.pages(Jobs, "/v1/jobs")

    def get(self, job: Id) -> Job:
        """Where the job stands."""
        return self._connection.read(Job, f"/v1/jobs/{job}")

    def wait(self, job: Id, *, timeout_s: float | None = None) -> Job:
        """The job once it has ended; raises `JobUnfinishedError` after `timeout_s`, where given.

        The server is asked as it wishes: by requests that it holds open, with pauses between them.
        """
        give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = self._long_poll_s if give_up_at is None else give_up_at - time.monotonic()
            hold_s = int(min(left_s, self._long_poll_s))
            headers = {"Prefer": f"wait={hold_s}"} if hold_s > 0 else {}
            response = self._connection.call("GET", f"/v1/jobs/{job}", headers=headers)
            found = value_of(Job, response)
            if found.ended:
                return found
            pause_s = retry_after_s(response) or POLL_AFTER_S
            if give_up_at is not None:
                left_s = give_up_at - time.monotonic()
                if left_s <= 0:
                    raise JobUnfinishedError(f"job {job} is {found.state}: it has not ended yet")
                pause_s = min(pause_s, left_s)
            time.sleep(pause_s)

    def results(self, job: Id) -> Iterator[Result]:
        """What came of each photo, in the order in which they were added."""
        return self._connection.pages(Results, f"/v1/jobs/{job}/results")

    def result(self, job: Id, item: int) -> Result:
        """The one photo that an event of `match.found` names; raises `NotFoundError`."""
        page = self._connection.read(Results, f"/v1/jobs/{job}/results", params={"item": item})
        for found in page.results:
            return found
        raise NotFoundError(404, "item_not_found", "the job has no such photo")

    def subjects(self, job: Id) -> Iterator[SubjectResult]:
        """Whom the job's photos show."""
        return self._connection.pages(SubjectResults, f"/v1/jobs/{job}/subjects")

    def add_photos(
        self, job: Id, photos: Iterable[PhotoLike], *, subject: Id | None = None
    ) -> Added:
        """Sends photos into an open job; raises `OSError` where a file cannot be read.

        `subject` says whom they show, in a job that enrols and names nobody itself.
        """
        one_by_one = list(named(photos))

        def send() -> httpx.Response:
            with ExitStack() as files:
                return self._connection.http.post(
                    f"/v1/jobs/{job}/photos",
                    files=form_files(files, "photos", one_by_one),
                    params=as_form({"subject": subject}),
                )

        return value_of(Added, checked(self._connection.answered(send)))

    def add_archive(
        self,
        job: Id,
        archive: FileSource,
        *,
        progress: Callable[[int], None] = lambda _sent: None,
    ) -> Added:
        """Sends a zip into an open job, and tells how many bytes of a file are gone."""

        def send() -> httpx.Response:
            with opened(archive, progress) as file:
                files = {"archive": ("archive.zip", file, ZIP)}
                return self._connection.http.post(f"/v1/jobs/{job}/photos", files=files)

        return value_of(Added, checked(self._connection.answered(send)))

    def add_known(
        self, job: Id, photos: Iterable[tuple[str, str]], *, subject: Id | None = None
    ) -> Added:
        """Adds photos by (client id, SHA-256 in hex): `missing` are those that must be sent."""
        body = {"photos": [{"client_id": one, "sha256": sha256} for one, sha256 in photos]}
        return self._add(job, body, subject)

    def add_uploaded(
        self,
        job: Id,
        upload: Id,
        photos: Iterable[tuple[str, int]],
        *,
        subject: Id | None = None,
    ) -> Added:
        """Adds photos of an upload by (client id, part)."""
        named_parts = [{"client_id": one, "part": part} for one, part in photos]
        return self._add(job, {"upload": str(upload), "photos": named_parts}, subject)

    def _add(self, job: Id, body: Mapping[str, Any], subject: Id | None) -> Added:
        path = f"/v1/jobs/{job}/photos"
        return self._connection.post(Added, path, json=body, params={"subject": subject})

    def add_source(self, job: Id, source: SourceFields) -> Source:
        """Has an open job take photos from elsewhere."""
        path = f"/v1/jobs/{job}/sources"
        return self._connection.post(Source, path, json=as_json(source), once=True)

    def sources(self, job: Id) -> Iterator[Source]:
        """The job's sources, and how far each is listed."""
        return self._connection.pages(Sources, f"/v1/jobs/{job}/sources")

    def rematch(
        self,
        job: Id,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[JobFields],
    ) -> Job:
        """A new job that identifies who is in the photos of this one, which has ended."""
        path = f"/v1/jobs/{job}/rematch"
        headers = _key(idempotency_key)
        return self._connection.post(Job, path, json=as_json(fields), headers=headers)

    def seal(self, job: Id, *, if_match: str | None = None) -> Job:
        """Says that no further photos come."""
        return self._change(job, "seal", if_match)

    def pause(self, job: Id, *, if_match: str | None = None) -> Job:
        """Has nothing further of the job begin."""
        return self._change(job, "pause", if_match)

    def resume(self, job: Id, *, if_match: str | None = None) -> Job:
        """Lets a paused job go on."""
        return self._change(job, "resume", if_match)

    def cancel(
        self, job: Id, *, if_match: str | None = None, patience_s: float | None = None
    ) -> Job:
        """Ends the job; what had ended keeps its results."""
        return self._change(job, "cancel", if_match, patience_s)

    def retry(self, job: Id, *, if_match: str | None = None) -> Job:
        """Has the job's failed photos tried again."""
        return self._change(job, "retry", if_match)

    def _change(
        self, job: Id, how: str, if_match: str | None, patience_s: float | None = None
    ) -> Job:
        return self._connection.post(
            Job,
            f"/v1/jobs/{job}/{how}",
            headers=headers_of(if_match=if_match),
            once=True,
            patience_s=patience_s,
        )

    def delete(self, job: Id, *, if_match: str | None = None) -> None:
        """Deletes the job, its results and the photos that nobody else needs."""
        self._connection.delete(f"/v1/jobs/{job}", if_match=if_match)


def _key(given: str | None) -> dict[str, str]:
    return once_more_is_no_more() if given is None else {"Idempotency-Key": given}
