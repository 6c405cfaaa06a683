"""Open-set search: people in a gallery, their other photos, and strangers as probes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.evaluation.all_pairs import distances
from bench.evaluation.templates import Templates

SEED = 19795

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What searching galleries of one size came to, at one threshold."""

    subjects: int
    distance: float
    fpir: float
    """Share of the strangers' photos that found somebody."""
    fnir: float
    """Share of the enrolled people's other photos that did not find them as the nearest."""
    strangers: int
    mated: int
    """Probes, over all galleries."""


def searched(
    templates: Templates, people: Numbers, subjects: int, thresholds: list[float], galleries: int
) -> list[Search]:
    """Draws `galleries` of as many people, the first photo of each enrolled, and searches them.

    Every other photo of everybody is a probe. A photo without a face finds nobody, and is found by
    nobody.
    """
    first = np.unique(people, return_index=True)[1]
    generator = np.random.default_rng([SEED, subjects])
    false, missed = np.zeros(len(thresholds)), np.zeros(len(thresholds))
    strangers = mated = 0
    for _ in range(galleries):
        enrolled = np.sort(generator.choice(len(first), subjects, replace=False))
        gallery = first[enrolled]
        probes = np.setdiff1d(np.arange(len(people)), gallery)
        known = np.isin(people[probes], enrolled)
        nearest, who = _nearest(templates, gallery, probes)
        right = people[gallery][who] == people[probes]
        strangers += int(np.count_nonzero(~known))
        mated += int(np.count_nonzero(known))
        for n, distance in enumerate(thresholds):
            accepted = nearest <= distance
            false[n] += np.count_nonzero(accepted & ~known)
            missed[n] += np.count_nonzero(known & ~(accepted & right))
    return [
        Search(
            subjects=subjects,
            distance=distance,
            fpir=float(false[n] / strangers),
            fnir=float(missed[n] / mated),
            strangers=strangers,
            mated=mated,
        )
        for n, distance in enumerate(thresholds)
    ]


def _nearest(
    templates: Templates, gallery: Numbers, probes: Numbers
) -> tuple[NDArray[np.float64], Numbers]:
    """How far the nearest template is from each probe, and which it is."""
    apart = distances(templates.embeddings[probes], templates.embeddings[gallery])
    apart[~templates.enrolled[probes]] = np.inf
    apart[:, ~templates.enrolled[gallery]] = np.inf
    who = apart.argmin(axis=1)
    return apart[np.arange(len(probes)), who], who
