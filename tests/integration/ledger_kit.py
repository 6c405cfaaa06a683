"""What tests of the ledger share: photos without pixels, faces without photos."""

import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import event, text

from db import accept, galleries, jobs, subjects
from db.dispatch import Dispatched, Lane, Room, dispatch
from db.ledger import Claim, claim
from db.record import EnrolFace, Outcome, record
from db.search import nearest
from db.session import Database, Session, transaction
from db.states import ItemState, JobKind
from db.views import JobView, NewItem, NewJob
from pipeline.faces import Box, Face, PhotoFaces
from pipeline.specs import DEFAULT_ENGINE

LEASE_S = 60.0
MAX_ATTEMPTS = 3


def embedding(seed: int, *, shift: float = 0.0) -> np.ndarray:
    """A unit vector of its own for each seed, moved a little by `shift`."""
    vector = np.random.default_rng(seed).normal(size=DEFAULT_ENGINE.dimension)
    vector = vector / np.linalg.norm(vector) + shift / np.sqrt(DEFAULT_ENGINE.dimension)
    return vector.astype(np.float32)


def photo_of(*seeds: int, shift: float = 0.0) -> PhotoFaces:
    """A photo that shows one face for each seed, side by side, each larger than the last."""
    return PhotoFaces(
        width_px=640,
        height_px=480,
        faces=tuple(
            Face(
                box=Box(left=100 * n, top=10, right=100 * n + 50 + n, bottom=60 + n),
                landmarks=((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)),
                score=1.5,
                embedding=embedding(seed, shift=shift),
            )
            for n, seed in enumerate(seeds)
        ),
    )


def item(name: str, content: str | None = None, **more: object) -> NewItem:
    """A photo whose bytes are known by `content` (default: its name)."""
    return NewItem(
        name=name,
        client_id=name,
        sha256=hashlib.sha256((content or name).encode()).digest(),
        size_bytes=1,
        object_key=f"{uuid.uuid4()}/0",
        **more,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """One tenant in one database."""

    database: Database
    tenant_id: int

    def gallery(self, name: str = "people") -> uuid.UUID:
        with transaction(self.database) as session:
            return galleries.ensure_gallery(session, self.tenant_id, name=name, spec=DEFAULT_ENGINE)

    def subject(self, gallery_id: uuid.UUID, name: str) -> uuid.UUID:
        with transaction(self.database) as session:
            return subjects.create_subject(session, self.tenant_id, gallery_id, name=name).id

    def job(self, *items: NewItem, seal: bool = True, **wanted: object) -> uuid.UUID:
        wanted = {"kind": JobKind.DETECT, "gallery_id": None} | wanted
        with transaction(self.database) as session:
            job_id = jobs.create_job(session, self.tenant_id, NewJob(**wanted))
            if items:
                accept.add_items(session, self.tenant_id, job_id, items)
            if seal:
                jobs.seal_job(session, self.tenant_id, job_id)
        return job_id

    def view(self, job_id: uuid.UUID) -> JobView:
        with transaction(self.database) as session:
            return jobs.get_job(session, self.tenant_id, job_id)

    def dispatch(
        self, *, chunk_items: int = 16, in_flight: int = 4, workers: int = 1
    ) -> list[list[int]]:
        room = Room(items=chunk_items * in_flight, chunk_items=chunk_items, workers=workers)
        found = self.dispatched(room)
        return [list(chunk.item_ids) for chunk in found.chunks]

    def dispatched(self, bulk: Room, *, urgent: Room | None = None) -> Dispatched:
        with transaction(self.database) as session:
            return dispatch(session, {Lane.BULK: bulk, Lane.URGENT: urgent or bulk}, {})

    def claim(self, ids: Sequence[int], *, lease_s: float = LEASE_S) -> list[Claim]:
        with transaction(self.database) as session:
            return claim(session, ids, lease_s=lease_s, max_attempts=MAX_ATTEMPTS)

    def claim_all(self, *, lease_s: float = LEASE_S) -> list[Claim]:
        """Whatever is due, chunk by chunk, as workers do."""
        claims = [self.claim(chunk, lease_s=lease_s) for chunk in self.dispatch()]
        return sorted((one for some in claims for one in some), key=lambda one: one.item_id)

    def record(self, *outcomes: Outcome) -> set[int]:
        with transaction(self.database) as session:
            return record(session, outcomes)

    def enrol(self, gallery_id: uuid.UUID, name: str, seed: int) -> uuid.UUID:
        """A subject with one template."""
        subject_id = self.subject(gallery_id, name)
        self.job(
            item(f"{name}-{seed}", subject_id=subject_id),
            kind=JobKind.ENROL,
            gallery_id=gallery_id,
        )
        (claimed,) = self.claim_all()
        self.record(done(claimed, photo_of(seed), enrol=EnrolFace(ordinal=0)))
        return subject_id

    def searched(self, claimed: Claim, faces: PhotoFaces) -> Outcome:
        """The outcome of an identification, with its candidates from the gallery."""
        with transaction(self.database) as session:
            near = nearest(
                session,
                self.tenant_id,
                [claimed.gallery_id, *claimed.further_gallery_ids],
                [face.embedding for face in faces.faces],
                top_k=claimed.top_k,
            )
        return done(claimed, faces, candidates=tuple(map(tuple, near)))


def done(claimed: Claim, faces: PhotoFaces, **more: object) -> Outcome:
    return Outcome(claim=claimed, state=ItemState.DONE, faces=faces, **more)


def failed(claimed: Claim, code: str = "not_an_image") -> Outcome:
    return Outcome(claim=claimed, state=ItemState.FAILED, error_code=code, error_detail="x")


def as_owner(session: Session) -> None:
    """What follows in the transaction is done by the owner of the tables, and not as workers do."""
    session.execute(text("SET LOCAL ROLE NONE"))


TELLING = re.compile(r"^SELECT set_config\('facebatch.tenant_id', '\d+', true\); ")
"""What the first statement of a tenant's transaction begins with."""


def asked_of(
    database: Database, call: Callable[[], object], *, as_sent: bool = False
) -> list[tuple[str, Any]]:
    """The statements that `call` has asked of the server, with their values.

    Without what tells for whom that is, unless they are wanted `as_sent`.
    """
    seen: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        seen.append((statement if as_sent else TELLING.sub("", statement), values))

    event.listen(database, "before_cursor_execute", note)
    call()
    event.remove(database, "before_cursor_execute", note)
    return seen


def explained(database: Database, sql: str, values: Any) -> str:
    """How the server goes about a statement."""
    one = values[0] if isinstance(values, list) else values  # All rows of many go the same way.
    with database.connect() as connection:
        lines = connection.exec_driver_sql(f"EXPLAIN {sql}", one)
        return "\n".join(line for (line,) in lines)


def plans(kit: Kit, call: Callable[[], object]) -> list[str]:
    """How the server goes about each query that `call` has asked of it."""
    return [
        explained(kit.database, sql, values)
        for sql, values in asked_of(kit.database, call)
        if sql.lstrip().startswith(("SELECT", "WITH", "EXECUTE"))
    ]


def indexes_of_items(plan: str) -> set[str]:
    """By which indexes a plan reads items; a scan that goes by none is called by its line."""
    scans = [line for line in plan.splitlines() if "Scan" in line and "item" in line]
    named = (re.search(r"(?:using|Scan on) (pk_item|\w*item_\w+)", line) for line in scans)
    return {found[1] if found else line for found, line in zip(named, scans, strict=True)} - {
        line for line in scans if "Bitmap Heap Scan" in line
    }


def many(kit: Kit, job_id: uuid.UUID, number: int) -> None:
    """Adds so many photos like the job's first, and has the server count them."""
    values = {"number": number, "job_id": job_id}
    with transaction(kit.database) as session:
        session.execute(
            text("""
                INSERT INTO item (tenant_id, job_id, photo_id, name, state, fence, attempt)
                SELECT tenant_id, job_id, photo_id, n::text, 'queued', 0, 0
                FROM item, generate_series(1, :number) AS n WHERE job_id = :job_id
            """),
            values,
        )
        session.execute(
            text("UPDATE job SET n_items = n_items + :number WHERE id = :job_id"), values
        )
        as_owner(session)
        session.execute(text("ANALYZE item"))
