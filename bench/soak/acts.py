"""What a soak consists of: one act after the other, each with settings and faults of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from bench.soak.faults import FAULTS

LONG_ITEMS = 1000
"""From so many photos on, a soak has an act with the usual leases, and more of everything."""
NO_LIMIT = "1000"
"""Attempts: what the nemesis kills must not be taken for a photo that kills its worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A stack's settings, and what happens to it."""

    name: str
    settings: Mapping[str, str]
    faults: Sequence[str]
    pauses_s: tuple[float, float]
    """Between two faults, at least and at most."""
    beyond_lease_s: float


def acts(items: int, rng: Random, faults: Sequence[str] = ()) -> list[Act]:
    """One short act; or one with the usual leases, and then one with short leases.

    With `faults`, there are these and no others, in this order, and leases are short.
    """
    if faults:
        return [_short(faults, (0.1, 0.5))]
    if items < LONG_ITEMS:
        return [_short(_shuffled(1, rng), (0.1, 0.5))]
    return [_usual(_shuffled(1, rng)), _short(_shuffled(2, rng), (0.3, 2.5))]


def _shuffled(rounds: int, rng: Random) -> list[str]:
    return [name for _ in range(rounds) for name in rng.sample(sorted(FAULTS), len(FAULTS))]


def _usual(faults: Sequence[str]) -> Act:
    return Act(
        name="the usual leases",
        settings={"FACEBATCH_WORKERS": "2", "FACEBATCH_MAX_ATTEMPTS": NO_LIMIT},
        faults=faults,
        pauses_s=(0.5, 4.0),
        beyond_lease_s=60.0,
    )


def _short(faults: Sequence[str], pauses_s: tuple[float, float]) -> Act:
    return Act(
        name="short leases",
        settings={
            "FACEBATCH_WORKERS": "2",
            "FACEBATCH_MAX_ATTEMPTS": NO_LIMIT,
            "FACEBATCH_CHUNK_ITEMS": "4",
            "FACEBATCH_LEASE_S": "3",
            "FACEBATCH_RECONCILE_EVERY_S": "1",
            "FACEBATCH_RESEND_AFTER_S": "2",
        },
        faults=faults,
        pauses_s=pauses_s,
        beyond_lease_s=5.5,
    )
