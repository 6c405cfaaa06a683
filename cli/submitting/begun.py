"""The job with which a submission goes on, or a new one."""

from dataclasses import dataclass

from cli.asking import Json
from cli.submitting.memory import Memory, Remembered
from cli.telling import warn
from facebatch.client import Client
from facebatch.errors import NotFoundError

ENDED_BY_HAND = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A job that takes photos, or that was submitted whole."""

    job_id: str
    sealed: bool = False
    content: str | None = None
    """What was submitted, where it was submitted whole."""


def begin(client: Client, memory: Memory, wanted: Json, *, afresh: bool) -> Begun:
    """The remembered job, where it can be gone on with; else a new one, which is remembered."""
    remembered = memory.recall(wanted)
    found = None if remembered is None else _standing(client, remembered, afresh=afresh)
    if found is not None:
        return found
    job_id = str(client.jobs.open(**wanted).id)
    memory.keep(wanted, Remembered(job_id=job_id, content=None))
    return Begun(job_id=job_id)


def _standing(client: Client, remembered: Remembered, *, afresh: bool) -> Begun | None:
    """The job as it is now, in a word to the user; None where a new one is needed."""
    job_id = remembered.job_id
    try:
        job = client.jobs.get(job_id)
    except NotFoundError as exc:
        if exc.code != "job_not_found":
            raise
        warn(f"job {job_id}, with which this was begun, is gone; it begins anew")
        return None
    if job.state == ENDED_BY_HAND or job.cancelling:
        warn(f"job {job_id}, with which this was begun, was cancelled; it begins anew")
        return None
    if afresh:
        if job.sealed_at is None:
            warn(f"job {job_id}, which was begun before, is left as it is, and gets no more photos")
        return None
    if job.sealed_at is None:
        warn(f"going on with job {job_id}")
    return Begun(job_id=job_id, sealed=job.sealed_at is not None, content=remembered.content)
