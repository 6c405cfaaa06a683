"""How many subjects a gallery has, and how many bytes a tenant, without counting, to the last one.

Each statement that makes or deletes subjects notes by how many it has changed their number, in a
row of its own: triggers do that, in whoever's transaction. So the notes that a transaction sees add
up to the subjects that it sees, nobody waits for anybody's note, and nobody writes over it.

Likewise bytes in objects of ours, of which a photo, an archive and an upload each have some; a
photo that moves may have others than before. `db.quotas` adds them up.
"""

import uuid
from collections.abc import Collection

from sqlalchemy import ARRAY, Uuid, bindparam, text
from sqlalchemy.orm import Session

_COUNT = text("""
    SELECT coalesce(sum(change), 0)::bigint FROM subject_tally
    WHERE tenant_id = :tenant_id AND gallery_id = ANY(:gallery_ids)
""").bindparams(bindparam("gallery_ids", type_=ARRAY(Uuid)))
# In one statement: whoever reads meanwhile sees the notes or their sum, and never both.
_FOLD = text("""
    WITH many AS (
        SELECT gallery_id FROM subject_tally
        GROUP BY gallery_id
        HAVING count(*) > 1
            OR NOT EXISTS (SELECT FROM gallery WHERE gallery.id = subject_tally.gallery_id)
    ), held AS (
        SELECT tally.id FROM subject_tally tally JOIN many USING (gallery_id)
        ORDER BY tally.id FOR UPDATE OF tally SKIP LOCKED
    ), gone AS (
        DELETE FROM subject_tally tally USING held WHERE tally.id = held.id
        RETURNING tally.tenant_id, tally.gallery_id, tally.change
    )
    INSERT INTO subject_tally (tenant_id, gallery_id, change)
    SELECT gone.tenant_id, gone.gallery_id, sum(gone.change)
    FROM gone JOIN gallery ON gallery.id = gone.gallery_id
    GROUP BY gone.tenant_id, gone.gallery_id
""")

_FOLD_STORAGE = text("""
    WITH many AS (
        SELECT tenant_id FROM storage_tally GROUP BY tenant_id HAVING count(*) > 1
    ), held AS (
        SELECT tally.id FROM storage_tally tally JOIN many USING (tenant_id)
        ORDER BY tally.id FOR UPDATE OF tally SKIP LOCKED
    ), gone AS (
        DELETE FROM storage_tally tally USING held WHERE tally.id = held.id
        RETURNING tally.tenant_id, tally.change
    )
    INSERT INTO storage_tally (tenant_id, change)
    SELECT tenant_id, sum(change) FROM gone GROUP BY tenant_id
""")


def count_subjects(session: Session, tenant_id: int, gallery_ids: Collection[uuid.UUID]) -> int:
    """How many subjects the galleries have together."""
    values = {"tenant_id": tenant_id, "gallery_ids": list(gallery_ids)}
    return int(session.scalars(_COUNT, values).one())


def fold_tallies(session: Session) -> None:
    """Adds the notes of each gallery, and of each tenant's bytes, up to one.

    Those of galleries that are gone are dropped.
    """
    session.execute(_FOLD)
    session.execute(_FOLD_STORAGE)
