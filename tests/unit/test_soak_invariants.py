"""What a soak judges by: each thing that may go wrong breaks the invariant that speaks of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.soak import invariants
from bench.soak.journal import Accepted, Journal, read_journal
from bench.soak.nemesis import Struck
from bench.soak.photos import Finding, SoakPhoto
from bench.soak.tables import ItemRow, JobRow, Tables
from bench.soak.watch import Rerun

ITEM = ItemRow(
    item_id=1,
    job_id="j",
    name="a.jpg",
    state="done",
    error_code=None,
    sha256="aa",
    faces=2,
    embeddings=2,
    extracted=True,
)
JOB = JobRow(
    job_id="j",
    state="succeeded",
    sealed=True,
    round=1,
    n_items=1,
    n_done=1,
    n_no_face=0,
    n_failed=0,
    n_cancelled=0,
    events=1,
)
GOOD = Tables(
    items=(ITEM,),
    jobs=(JOB,),
    doubled={"items of one name in a job": 0},
    object_keys=frozenset({"u/0"}),
    doomed_keys=frozenset(),
    uploads=0,
)
ACCEPTED = [Accepted(job_id="j", kind="detect", way="by hash", name="a.jpg", sha256="aa")]


def with_item(**changed: object) -> Tables:
    return replace(GOOD, items=(replace(ITEM, **changed),))


def with_job(**changed: object) -> Tables:
    return replace(GOOD, jobs=(replace(JOB, **changed),))


def test_what_is_as_it_should_be_breaks_nothing() -> None:
    assert invariants.accepted_items_end_once(ACCEPTED, GOOD).holds
    assert invariants.one_result_set(GOOD).holds
    assert invariants.one_completion_event({"j"}, GOOD).holds
    assert invariants.flush_lost_nothing({1}, GOOD).holds
    assert invariants.as_undisturbed({"aa": Finding(faces=2)}, GOOD).holds
    assert invariants.no_orphans(["u/0"], GOOD).holds


@pytest.mark.parametrize(
    "tables",
    [
        replace(GOOD, items=()),
        replace(GOOD, items=(ITEM, replace(ITEM, item_id=2))),
        with_item(state="running"),
        with_item(state="queued"),
        with_item(sha256="bb"),
        with_item(job_id="another"),
    ],
)
def test_an_accepted_photo_that_is_lost_doubled_or_open_is_seen(tables: Tables) -> None:
    assert not invariants.accepted_items_end_once(ACCEPTED, tables).holds


@pytest.mark.parametrize(
    "tables",
    [
        replace(GOOD, doubled={"result sets of a photo and a model": 1}),
        with_item(embeddings=3),
        with_item(extracted=False),
        with_job(n_done=2),
        with_job(n_done=0, n_failed=1),
        with_job(n_items=2),
    ],
)
def test_a_second_result_set_and_a_wrong_counter_are_seen(tables: Tables) -> None:
    assert not invariants.one_result_set(tables).holds


@pytest.mark.parametrize(
    "tables",
    [
        with_job(events=0),
        with_job(events=2),
        with_job(state="running", events=0),
        with_job(sealed=False),
    ],
)
def test_a_job_that_does_not_end_once_is_seen(tables: Tables) -> None:
    assert not invariants.one_completion_event({"j"}, tables).holds


def test_a_job_that_was_begun_again_ends_again() -> None:
    assert invariants.one_completion_event({"j"}, with_job(round=2, events=2)).holds


def test_an_item_that_the_queue_took_along_is_seen() -> None:
    assert not invariants.flush_lost_nothing({1}, with_item(state="queued")).holds
    assert not invariants.flush_lost_nothing({7}, GOOD).holds


@pytest.mark.parametrize(
    ("expected", "tables"),
    [
        (Finding(faces=1), GOOD),
        (Finding(faces=0), GOOD),
        (Finding(error_code="image_truncated"), GOOD),
        (Finding(faces=2), with_item(state="failed", error_code="worker_lost")),
        (Finding(faces=2), with_item(state="no_face", faces=0)),
    ],
)
def test_another_result_than_that_of_an_undisturbed_run_is_seen(
    expected: Finding, tables: Tables
) -> None:
    assert not invariants.as_undisturbed({"aa": expected}, tables).holds


@pytest.mark.parametrize(
    ("keys", "tables"),
    [
        (["u/0", "u/1"], GOOD),
        ([], GOOD),
        (["u/0"], replace(GOOD, uploads=1)),
        (["u/0"], replace(GOOD, doomed_keys=frozenset({"v/"}))),
    ],
)
def test_an_orphan_and_a_missing_object_are_seen(keys: list[str], tables: Tables) -> None:
    assert not invariants.no_orphans(keys, tables).holds


def fault(began_s: float, ended_s: float) -> Struck:
    return Struck(
        at="", began_s=began_s, after_s=0, name="x", said="", missed=False, ended_s=ended_s
    )


def test_items_that_wait_too_long_are_seen_and_other_faults_are_not_held_against_them() -> None:
    waits = [Rerun(fault="x", began_s=100, waited_s=95, items=3)]
    assert not invariants.rerun_in_time(waits, []).holds
    # Before and after it, and the same seconds twice, count for nothing.
    early, late = fault(0, 50), fault(300, 400)
    assert not invariants.rerun_in_time(
        waits, [early, late, fault(110, 112), fault(110, 112)]
    ).holds
    assert invariants.rerun_in_time(waits, [fault(90, 104), fault(110, 112)]).holds
    assert invariants.longest_rerun_s(waits, [fault(90, 104), fault(110, 112)]) == 89


def test_the_journal_tells_what_was_written_into_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    photo = SoakPhoto(name="a.jpg", path=path, sha256="aa")
    with Journal(path) as journal:
        journal.accepted("j", "detect", "by hash", [photo])
        journal.sealed("j")
        assert read_journal(path) == (ACCEPTED, {"j"})
