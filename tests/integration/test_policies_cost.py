"""What row-level security costs: no index, and one short question for each transaction."""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from api_kit import Api
from ledger_kit import (
    TELLING,
    Kit,
    as_owner,
    asked_of,
    embedding,
    explained,
    item,
    many,
    photo_of,
)
from results_kit import identified
from sqlalchemy import text

from db import accept, galleries, jobs, ledger, prepared, results, subjects
from db.crops.asking import WantedCrop, ask_for_crop
from db.exports import queue as exports
from db.job_faces import distance_between, face_of_job
from db.job_search import count_faces, search_faces
from db.jobs import ONE_JOB
from db.roles import Role
from db.search import nearest
from db.session import Database, Session, make_database, transaction
from db.states import JobKind
from db.subject_results import NOBODY, job_subjects
from db.tallies import count_subjects
from db.tenancy import acting_for
from db.tenants import ensure_tenant
from db.webhooks.endpoints import list_endpoints
from db.webhooks.log import WantedDeliveries, list_deliveries
from web.services import EXTENSION

READ_BY = re.compile(r"(Seq Scan on|using|Bitmap Index Scan on) (\w+)")
COST = re.compile(r"cost=[\d.]+\.\.([\d.]+)")
FILLED = """
    INSERT INTO embedding (tenant_id, face_id, model_id, vector)
    SELECT face.tenant_id, face.id, model.id, array_fill(0.5::real, ARRAY[128])::vector
    FROM face, model ON CONFLICT DO NOTHING;
    INSERT INTO template (tenant_id, gallery_id, subject_id, embedding_id, vector)
    SELECT tenant_id, gallery_id, subject.id, embedding.id, vector
    FROM subject JOIN embedding USING (tenant_id)
    WHERE (embedding.id + subject.number) % 7 = 0 ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """A tenant with much in its tables, beside another and several that have little."""

    kit: Kit
    gallery_id: uuid.UUID
    done: uuid.UUID
    """A job that has ended."""
    open: uuid.UUID
    """A job with much to do."""


@pytest.fixture
def full(kit: Kit, stranger: Kit) -> Full:
    both = (stranger, kit)
    for one in both:
        one.enrol(one.gallery(), "Ada", 1)
    for one in both:
        done, gallery_id = identified(one, 1000), one.gallery()
        opened = one.job(item("a"), kind=JobKind.IDENTIFY, gallery_id=gallery_id, seal=False)
        many(one, opened, 3000)
    for n in range(20):
        identified(replace(kit, tenant_id=tenant(kit, f"small {n}")), 3)
    with transaction(kit.database) as session:
        session.execute(text(FILLED))
        as_owner(session)
        session.execute(text("ANALYZE"))
    return Full(kit=kit, gallery_id=gallery_id, done=done, open=opened)


def tenant(kit: Kit, name: str) -> int:
    with transaction(kit.database) as session:
        return ensure_tenant(session, name)


@pytest.fixture
def seen(database_url: str) -> Iterator[Database]:
    """As a tenant's connection shows it."""
    database = make_database(database_url, role=Role.TENANT)
    yield database
    database.dispose()


def read_by(plan: str) -> set[tuple[str, str]]:
    """The tables that are read as a whole, and the indexes that are gone by."""
    return {(how, name) for how, name in READ_BY.findall(plan)}


def cost(plan: str) -> float:
    """What the server thinks that it takes."""
    found = COST.search(plan)
    assert found
    return float(found[1])


def a_face(session: Session, full: Full) -> int:
    """Of the job that has ended."""
    items = results.job_items(session, full.kit.tenant_id, full.done)
    return next(face.id for one in items for face in one.faces)


Ask = Callable[[Session, Full], object]
OF_REQUESTS: dict[str, Ask] = {
    "a job": lambda session, full: jobs.get_job(session, full.kit.tenant_id, full.open),
    "jobs": lambda session, full: jobs.list_jobs(session, full.kit.tenant_id),
    "results": lambda session, full: results.job_items(session, full.kit.tenant_id, full.done),
    "whom it shows": lambda session, full: job_subjects(
        session, full.kit.tenant_id, full.done, after=NOBODY, limit=100
    ),
    "subjects": lambda session, full: subjects.list_subjects(
        session, full.kit.tenant_id, full.gallery_id
    ),
    "a subject by name": lambda session, full: subjects.list_subjects(
        session, full.kit.tenant_id, full.gallery_id, name="Ada"
    ),
    "how many subjects": lambda session, full: count_subjects(
        session, full.kit.tenant_id, [full.gallery_id]
    ),
    "galleries": lambda session, full: galleries.list_galleries(session, full.kit.tenant_id),
    "exports": lambda session, full: exports.list_exports(session, full.kit.tenant_id, full.done),
    "known photos": lambda session, full: accept.hold_known_photos(
        session, full.kit.tenant_id, [item(str(n)) for n in range(100)]
    ),
    "more photos": lambda session, full: accept.add_items(
        session, full.kit.tenant_id, full.open, [item(f"more {n}") for n in range(100)]
    ),
    "webhooks": lambda session, full: list_endpoints(session, full.kit.tenant_id),
    "deliveries": lambda session, full: list_deliveries(
        session, full.kit.tenant_id, WantedDeliveries()
    ),
    "faces to search": lambda session, full: count_faces(
        session, full.kit.tenant_id, jobs.get_job(session, full.kit.tenant_id, full.done)
    ),
    "photos of somebody": lambda session, full: search_faces(
        session,
        full.kit.tenant_id,
        jobs.get_job(session, full.kit.tenant_id, full.done),
        [embedding(1), embedding(2)],
        faces=1,
        max_distance=0.5,
    ),
    "a face": lambda session, full: face_of_job(
        session, full.kit.tenant_id, full.done, a_face(session, full)
    ),
    "two faces": lambda session, full: distance_between(
        session, full.kit.tenant_id, *[a_face(session, full)] * 2
    ),
    "a face cut out": lambda session, full: ask_for_crop(
        session,
        full.kit.tenant_id,
        WantedCrop(face_id=a_face(session, full), margin_percent=0, size_px=64),
    ),
    "nearest": lambda session, full: nearest(
        session, full.kit.tenant_id, [full.gallery_id], [embedding(1)], top_k=5
    ),
}


def test_requests_go_by_the_indexes_that_they_would_go_by_without_policies(
    owners: Database, seen: Database, full: Full
) -> None:
    found = {}
    for name, ask in OF_REQUESTS.items():
        for sql, values in asked_for(seen, full, ask):
            with acting_for(full.kit.tenant_id):
                plan = explained(seen, sql, values)
            without = explained(owners, sql, values)
            # Once for each policy the tenant is asked for, which is next to nothing.
            if read_by(plan) != read_by(without) or cost(plan) > 1.1 * cost(without) + 1:
                found[name, sql] = f"{plan}\n\nand without policies:\n{without}"
    assert not found, "\n\n".join(found.values())


def asked_for(seen: Database, full: Full, ask: Ask) -> list[tuple[str, Any]]:
    def call() -> None:
        with acting_for(full.kit.tenant_id), transaction(seen) as session:
            ask(session, full)

    asked = asked_of(seen, call, as_sent=True)
    assert [bool(TELLING.match(sql)) for sql, _ in asked] == [True] + [False] * (len(asked) - 1)
    plain = [(TELLING.sub("", sql), values) for sql, values in asked]
    return [(_written_out(sql), values) for sql, values in plain if not sql.startswith("PREPARE ")]


def _written_out(sql: str) -> str:
    """A prepared statement as it was prepared: under its name, connections alone know it that had
    use for it."""
    if not sql.startswith("EXECUTE facebatch_job "):
        return sql
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", ONE_JOB.sql)


def test_a_worker_s_queries_are_planned_as_without(owners: Database, full: Full) -> None:
    kit = full.kit

    def work() -> None:
        for claimed in kit.claim(kit.dispatch()[0]):
            with transaction(kit.database) as session:
                ledger.extend(session, [claimed], lease_s=60)
            kit.record(kit.searched(claimed, photo_of(1, 2)))

    asked = asked_of(kit.database, work)
    assert len(asked) > 10
    for sql, values in asked:
        plan = explained(kit.database, sql, values)
        assert plan == explained(owners, sql, values)


def test_a_job_s_status_costs_no_question_more(api: Api, local: Kit) -> None:
    job_id = local.job(item("a"))
    assert api.get(f"/v1/jobs/{job_id}").status_code == 200
    database = api.client.application.extensions[EXTENSION].database
    asked = asked_of(database, lambda: api.get(f"/v1/jobs/{job_id}"), as_sent=True)
    assert len(asked) == 1
    assert TELLING.match(asked[0][0])


def test_a_plan_that_is_old_is_made_anew(
    api: Api, local: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = local.job(item("a"))
    database = api.client.application.extensions[EXTENSION].database

    def asked() -> list[str]:
        read = asked_of(database, lambda: api.get(f"/v1/jobs/{job_id}"))
        return [sql.split()[0] for sql, _ in read]

    assert asked() == ["PREPARE", "EXECUTE"]
    assert asked() == ["EXECUTE"]
    monkeypatch.setattr(prepared, "PLAN_AGE_S", -1.0)
    assert asked() == ["DEALLOCATE", "PREPARE", "EXECUTE"]
