"""A process that dies between any two steps leaves nothing lost, nothing doubled and no orphan."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import pytest
import redis

from bench.photos import DATA
from bench.soak import invariants, tables
from bench.soak.faults import NOT_COME_TO
from bench.soak.journal import Accepted
from bench.soak.photos import Finding, SoakPhoto, hashes, make_photos, undisturbed
from bench.soak.stack import SoakStack, wait_for
from bench.soak.ways import packed
from cli.sample import Sample
from cli.stack.home import Home
from cli.stack.ports import FreePorts
from db.failpoints import Failpoint
from facebatch.client import Client, Photo

PHOTOS = 5
LIMIT_S = 60
"""Far longer than anything takes: a wait ends by its condition, or the test fails."""
PATIENCE_S = 120
"""Of a client whose server dies."""
LISTING = [Failpoint.PAGE_UNCOMMITTED, Failpoint.PAGE_ADDED, Failpoint.SOURCE_LISTED]
POINTS = [point for point in Failpoint if point not in {*NOT_COME_TO, *LISTING}]


@dataclass
class Place:
    """A stack of which parts die, the photos for it, and what its clients were promised."""

    stack: SoakStack
    photos: Iterator[SoakPhoto]
    accepted: list[Accepted] = field(default_factory=list)
    sealed: set[str] = field(default_factory=set)
    expected: dict[str, Finding] = field(default_factory=dict)

    def some(self, count: int = PHOTOS) -> list[SoakPhoto]:
        """Photos that were never sent."""
        some = list(itertools.islice(self.photos, count))
        self.expected |= undisturbed(some, self.stack.home.path / "models")
        return some

    def submit(self, photos: Sequence[SoakPhoto]) -> str:
        """A sealed job of these photos, however often it has to be asked for."""
        with Client(self.stack.api_url, patience_s=PATIENCE_S) as client:
            job = client.jobs.open("detect")
            client.jobs.add_photos(
                job.id, [Photo(name=one.name, source=one.path) for one in photos]
            )
            client.jobs.seal(job.id)
        return self._noted(str(job.id), photos)

    def submit_zip(self, photos: Sequence[SoakPhoto]) -> str:
        """A job of a zip of these photos."""
        with Client(self.stack.api_url, patience_s=PATIENCE_S) as client:
            job = client.jobs.create("detect", archives=[packed(photos)])
        return self._noted(str(job.id), photos)

    def _noted(self, job_id: str, photos: Sequence[SoakPhoto]) -> str:
        """The job, which the server has accepted."""
        self.accepted += [
            Accepted(job_id=job_id, kind="detect", way="", name=name, sha256=sha256)
            for name, sha256 in hashes(photos)
        ]
        self.sealed.add(job_id)
        return job_id

    def one_died(self, order: Path) -> None:
        """Waits until somebody has come to the failpoint."""
        wait_for(lambda: not order.exists(), f"{order.name} is reached", limit_s=LIMIT_S)

    def all_ended(self) -> None:
        """Waits until every part runs again and every item has ended."""
        wait_for(
            lambda: self.stack.all_run() and not tables.unfinished(self.stack.database_url),
            "all ends",
            limit_s=LIMIT_S,
        )

    def execute(self, statement: str) -> None:
        with tables.connected(self.stack.database_url) as cursor:
            cursor.execute(statement)

    def judged(self) -> None:
        """Every invariant holds, once the reconciler has swept what was left."""
        self.all_ended()
        url = self.stack.database_url
        self.stack.renew_web()
        wait_for(lambda: tables.age_uploads(url) == 0, "all is swept", limit_s=LIMIT_S)
        read = tables.read_tables(url)
        for verdict in (
            invariants.accepted_items_end_once(self.accepted, read),
            invariants.one_result_set(read),
            invariants.one_completion_event(self.sealed, read),
            invariants.as_undisturbed(self.expected, read),
            invariants.no_orphans(self.stack.store().keys(""), read),
        ):
            assert verdict.holds, verdict


@pytest.fixture(scope="module")
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if not DATA.is_dir():
        sample: Sample = request.getfixturevalue("sample")  # Skips where it cannot be had.
        assert sample
    folder = tmp_path_factory.mktemp("failpoints")
    photos = make_photos(folder / "photos", PHOTOS * (len(Failpoint) + 8), Random(1))
    stack = SoakStack(Home(folder / "home"), port=FreePorts().one())
    stack.up(
        FACEBATCH_WORKERS="1",
        FACEBATCH_CHUNK_ITEMS="2",
        FACEBATCH_LEASE_S="2",
        FACEBATCH_RECONCILE_EVERY_S="0.5",
        FACEBATCH_RESEND_AFTER_S="1",
        FACEBATCH_MAX_ATTEMPTS="1000",
    )
    try:
        yield Place(stack, iter(photos))
    finally:
        stack.down()
    assert stack.leftovers() == []


@pytest.mark.chaos
@pytest.mark.parametrize("point", POINTS)
def test_whoever_dies_there_costs_no_photo(place: Place, point: Failpoint) -> None:
    order = place.stack.arm(point)
    place.submit(place.some())
    place.one_died(order)
    place.judged()


@pytest.mark.chaos
@pytest.mark.parametrize("point", LISTING)
def test_whoever_dies_there_while_it_lists_costs_no_photo(place: Place, point: Failpoint) -> None:
    order = place.stack.arm(point)
    place.submit_zip(place.some())
    place.one_died(order)
    place.judged()


@pytest.mark.chaos
def test_an_export_whose_worker_died_is_there_once_and_whole(place: Place) -> None:
    photos = place.some()
    job_id = place.submit(photos)
    place.all_ended()
    order = place.stack.arm(Failpoint.EXPORT_STORED)
    exports = f"{place.stack.api_url}/v1/jobs/{job_id}/exports"
    made = httpx.post(exports, json={"format": "jsonl"}).raise_for_status().json()
    place.one_died(order)
    one = f"{exports}/{made['id']}"
    wait_for(lambda: httpx.get(one).json()["state"] == "done", "it is written", limit_s=LIMIT_S)
    lines = httpx.get(httpx.get(one).json()["url"]).raise_for_status().text.splitlines()
    assert sorted(json.loads(line)["client_id"] for line in lines) == sorted(
        photo.name for photo in photos
    )
    place.judged()


@pytest.mark.chaos
def test_a_reconciler_may_die_when_it_has_queued_what_a_dead_worker_held(place: Place) -> None:
    order = place.stack.arm(Failpoint.RECONCILER_STEP, "leases_expired")
    place.stack.arm(Failpoint.CHUNK_CLAIMED)
    place.submit(place.some())
    place.one_died(order)
    place.judged()


@pytest.mark.chaos
def test_a_reconciler_may_die_when_it_has_found_lost_messages(place: Place) -> None:
    order = place.stack.arm(Failpoint.RECONCILER_STEP, "messages_lost")
    place.stack.arm(Failpoint.MESSAGE_TAKEN)
    place.submit(place.some())
    with redis.Redis.from_url(place.stack.redis_url) as client:
        client.flushall()
    place.one_died(order)
    place.judged()


@pytest.mark.chaos
def test_a_reconciler_may_die_when_it_has_set_a_photo_aside(place: Place) -> None:
    order = place.stack.arm(Failpoint.RECONCILER_STEP, "items_set_aside")
    claimed = place.stack.arm(Failpoint.CHUNK_CLAIMED)
    (photo,) = place.some(1)
    place.submit([photo])
    place.one_died(claimed)
    place.execute("UPDATE item SET attempt = 1000 WHERE state = 'running'")
    place.expected[photo.sha256] = Finding(error_code="worker_lost")
    place.one_died(order)
    place.judged()


@pytest.mark.chaos
@pytest.mark.parametrize("step", ["uploads_given_up", "folders_swept"])
def test_a_reconciler_may_die_while_it_sweeps_what_a_dead_request_has_sent(
    place: Place, step: str
) -> None:
    order = place.stack.arm(Failpoint.RECONCILER_STEP, step)
    sent = place.stack.arm(Failpoint.PHOTO_STORED)
    place.submit(place.some())
    place.one_died(sent)
    place.stack.renew_web()
    tables.age_uploads(place.stack.database_url)
    wait_for(
        lambda: not order.exists() or not tables.age_uploads(place.stack.database_url),
        f"{step} is over",
        limit_s=LIMIT_S,
    )
    place.one_died(order)
    place.judged()


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("point", "detail"),
    [(Failpoint.OBJECTS_DELETED, ""), (Failpoint.RECONCILER_STEP, "objects_deleted")],
)
def test_a_reconciler_may_die_while_it_deletes_objects(
    place: Place, point: Failpoint, detail: str
) -> None:
    job_id = place.submit(place.some())
    place.all_ended()
    order = place.stack.arm(point, detail)
    httpx.delete(f"{place.stack.api_url}/v1/jobs/{job_id}").raise_for_status()
    place.accepted = [one for one in place.accepted if one.job_id != job_id]
    place.sealed.remove(job_id)
    place.one_died(order)
    place.judged()
