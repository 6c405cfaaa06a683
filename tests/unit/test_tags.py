"""A tag stands for all that is told of a thing, but for what the clock alone changes."""

import pytest

from web.conditions import tag_of
from web.examples import GALLERY, JOB
from web.schemas.jobs import JobOut
from web.schemas.people import GalleryOut


def test_a_tag_is_the_same_for_the_same() -> None:
    assert tag_of(GalleryOut.model_validate(GALLERY)) == tag_of(GalleryOut.model_validate(GALLERY))


@pytest.mark.parametrize("change", [{"subjects": 2}, {"name": "another"}, {"templates": 0}])
def test_a_tag_changes_with_what_is_told(change: dict[str, object]) -> None:
    before, after = (GalleryOut.model_validate(one) for one in (GALLERY, GALLERY | change))
    assert tag_of(before) != tag_of(after)


def test_an_estimate_of_the_moment_makes_no_other_job() -> None:
    job = JobOut.model_validate(JOB)
    passing = JobOut.model_validate(JOB | {"rate_per_s": 3.2, "seconds_left": 7.5})
    assert tag_of(passing) == tag_of(job)
    paused = JobOut.model_validate(JOB | {"paused": True})
    assert tag_of(paused) != tag_of(job)
