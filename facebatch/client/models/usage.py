"""Answers about how much there is, and may be."""

from facebatch.client.models.base import Answer


class Used(Answer):
    """How much of something there is; `allowed` is None where there may be any."""

    used: int
    allowed: int | None


class Usage(Answer):
    """How much there is of everything that has a quota."""

    bytes: Used
    open_photos: Used
    open_jobs: Used
