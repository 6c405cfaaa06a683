"""All pairs of made-up templates, counted one by one."""

import math
from itertools import combinations

import numpy as np
import pytest

from bench.evaluation.all_pairs import all_pairs, distances, resampled_fnmr
from bench.evaluation.discard import discarded
from bench.evaluation.search import searched
from bench.evaluation.templates import QUALITY_COLUMNS, Templates, nearest_to_middle

PEOPLE = np.repeat(np.arange(40), 3)
LONER = 39
"""Of this person one photo has no face."""


def _templates(spread: float = 0.3) -> Templates:
    generator = np.random.default_rng(7)
    centres = generator.normal(size=(40, 16))[PEOPLE]
    embeddings = centres + spread * generator.normal(size=centres.shape)
    faces = np.ones(len(PEOPLE), dtype=np.int64)
    faces[-1] = 0
    embeddings[-1] = 0
    quality = np.full((len(PEOPLE), len(QUALITY_COLUMNS)), 0.5, dtype=np.float32)
    return Templates(
        faces=faces,
        embeddings=embeddings.astype(np.float32),
        quality=quality,
        turned=np.zeros(len(PEOPLE), dtype=np.bool_),
    )


def test_every_pair_is_there_once_and_on_its_side() -> None:
    templates = _templates()
    mated, nonmated = [], []
    for one, other in combinations(range(len(PEOPLE)), 2):
        apart = math.inf
        if templates.enrolled[one] and templates.enrolled[other]:
            apart = float(np.linalg.norm(templates.embeddings[one] - templates.embeddings[other]))
        (mated if PEOPLE[one] == PEOPLE[other] else nonmated).append(apart)
    pairs = all_pairs(templates, PEOPLE)
    assert pairs.mated == pytest.approx(np.array(sorted(mated)), abs=1e-5)
    assert pairs.nonmated == pytest.approx(np.array(sorted(nonmated)), abs=1e-5)


def test_the_nearest_strangers_are_known_by_their_photos() -> None:
    templates = _templates()
    pairs = all_pairs(templates, PEOPLE)
    assert len(pairs.nearest_photos) == int(len(pairs.nonmated) * 0.02)
    for (one, other), (person, stranger), apart in zip(
        pairs.nearest_photos, pairs.nearest_people, pairs.nonmated, strict=False
    ):
        assert (PEOPLE[one], PEOPLE[other]) == (person, stranger)
        seen = np.linalg.norm(templates.embeddings[one] - templates.embeddings[other])
        assert seen == pytest.approx(apart, abs=1e-5)


def test_distances_of_blocks_are_those_of_the_textbook() -> None:
    assert distances(np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[0.0, 4.0]])).tolist() == [
        [4.0],
        [5.0],
    ]


def test_samples_of_people_spread_around_what_was_measured() -> None:
    pairs = all_pairs(_templates(spread=0.9), PEOPLE)
    sampled = resampled_fnmr(pairs, np.bincount(PEOPLE), [1e-2, 1e-3])
    allowed = int(1e-2 * len(pairs.nonmated))
    measured = np.mean(pairs.mated >= pairs.nonmated[allowed])
    low, high = np.quantile(sampled[:, 0], [0.025, 0.975])
    assert low < measured < high
    assert (sampled[:, 1] >= sampled[:, 0]).all()


def test_a_search_finds_the_enrolled_and_no_stranger_at_a_threshold_between_them() -> None:
    (found,) = searched(_templates(spread=0.01), PEOPLE, 20, [1.0], 4)
    assert found.fpir == 0
    # Two other photos of each of 20 people, four times; one of them may be the faceless one.
    assert found.mated == 160
    assert found.strangers == 4 * (120 - 60)
    assert found.fnir <= 4 / 160
    (all_accepted,) = searched(_templates(spread=0.01), PEOPLE, 20, [100.0], 4)
    assert all_accepted.fpir > 0.95


def test_quality_is_judged_by_the_poorer_photo_of_a_pair() -> None:
    templates = _templates()
    templates.quality[0, QUALITY_COLUMNS.index("overall")] = 0.1
    templates.embeddings[0] += 5
    rates = discarded(templates, PEOPLE, 3.0)["overall"]
    assert rates[0] == pytest.approx(2 / 118)
    assert rates[1] == 0


def test_the_face_that_counts_is_the_one_in_the_middle() -> None:
    assert nearest_to_middle([(10, 10), (60, 40), (95, 50)], 100, 100) == 1
