"""What is submitted, and in which ways: drawn from the seed alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from bench.soak.photos import SoakPhoto
from bench.soak.ways import WAYS

KINDS = ("enrol", "identify", "detect")
SUBJECTS = ("Ada", "Grace", "Mary")
LARGEST_JOB = 30
LARGEST_SHARE = 25
"""No job has more than this part of the photos, so that there are jobs for every fault."""
KNOWN_SHARE = 0.25
"""So many of the photos come a second time, in another job."""
TWINS = 4
"""So many photos are submitted in two jobs at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """A job that a client will submit."""

    kind: str
    way: str
    subject: str | None
    photos: tuple[SoakPhoto, ...]


def planned(photos: Sequence[SoakPhoto], rng: Random) -> list[PlannedJob]:
    """Jobs of all kinds, in all ways, in which each photo comes, and some a second time."""
    jobs: list[PlannedJob] = []
    rest = list(photos)
    largest = max(1, min(LARGEST_JOB, len(photos) // LARGEST_SHARE))
    while rest:
        size = rng.randint(1, largest)
        some, rest = rest[:size], rest[size:]
        jobs.append(_job(some, rng))
        if rng.random() < KNOWN_SHARE:
            # Side by side with its twin: two workers have the same photos at the same time.
            jobs.append(_job(some[:TWINS], rng))
        if rng.random() < KNOWN_SHARE:
            before = photos[: len(photos) - len(rest)]
            jobs.append(_job(rng.sample(before, min(size, len(before))), rng))
    return jobs


def _job(photos: Sequence[SoakPhoto], rng: Random) -> PlannedJob:
    kind = rng.choice(KINDS)
    return PlannedJob(
        kind=kind,
        way=rng.choice(sorted(WAYS)),
        subject=rng.choice(SUBJECTS) if kind == "enrol" else None,
        photos=tuple(photos),
    )
