"""Which photos' bytes a worker searches for faces at this moment, so that no other does too."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import CursorResult, LargeBinary, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from db.ledger import Claim

# A row holds for as long as its item's lease does: one that a dead worker left is anybody's.
_HELD = """
    SELECT FROM item
    WHERE item.id = extracting.item_id AND item.fence = extracting.fence
      AND item.state = 'running' AND item.lease_until > now()
"""
_BEGIN = text(f"""
    INSERT INTO extracting (tenant_id, model_id, sha256, item_id, fence)
    SELECT :tenant_id, :model_id, wanted.sha256, wanted.item_id, wanted.fence
    FROM unnest(:hashes, CAST(:items AS bigint[]), CAST(:fences AS bigint[]))
        AS wanted (sha256, item_id, fence)
    ORDER BY wanted.sha256
    ON CONFLICT (tenant_id, model_id, sha256)
    DO UPDATE SET item_id = excluded.item_id, fence = excluded.fence
    WHERE extracting.item_id = ANY(CAST(:mine AS bigint[])) OR NOT EXISTS ({_HELD})
    RETURNING sha256
""").bindparams(bindparam("hashes", type_=ARRAY(LargeBinary)))  # noqa: S608 - from constants.
_END = text("""
    DELETE FROM extracting
    USING unnest(CAST(:tenants AS bigint[]), CAST(:models AS smallint[]), :hashes,
                 CAST(:items AS bigint[]))
        AS ended (tenant_id, model_id, sha256, item_id)
    WHERE extracting.tenant_id = ended.tenant_id AND extracting.model_id = ended.model_id
      AND extracting.sha256 = ended.sha256 AND extracting.item_id = ended.item_id
""").bindparams(bindparam("hashes", type_=ARRAY(LargeBinary)))
_FORGET = text(f"DELETE FROM extracting WHERE NOT EXISTS ({_HELD})")  # noqa: S608 - likewise.


def begin_extracting(
    session: Session, claims: Mapping[bytes, Claim], *, mine: Collection[int]
) -> set[bytes]:
    """Those of the hashes that may be searched for faces now; the others another worker searches.

    The claims are one tenant's, and of one model. `mine` are the ids of all items that this worker
    holds: their photos are searched for each other.
    """
    if not claims:
        return set()
    hashes = sorted(claims)
    first = claims[hashes[0]]
    granted = session.scalars(
        _BEGIN,
        {
            "tenant_id": first.tenant_id,
            "model_id": first.model_id,
            "hashes": hashes,
            "items": [claims[sha256].item_id for sha256 in hashes],
            "fences": [claims[sha256].fence for sha256 in hashes],
            "mine": list(mine),
        },
    )
    return {bytes(sha256) for sha256 in granted}


def end_extracting(session: Session, ended: Sequence[tuple[bytes, Claim]]) -> None:
    """Lets go of photos, by their hashes, in the transaction that records what was found."""
    if not ended:
        return
    ordered = sorted(ended, key=lambda one: one[0])
    session.execute(
        _END,
        {
            "tenants": [claim.tenant_id for _, claim in ordered],
            "models": [claim.model_id for _, claim in ordered],
            "hashes": [sha256 for sha256, _ in ordered],
            "items": [claim.item_id for _, claim in ordered],
        },
    )


def forget_extracting(session: Session) -> int:
    """Deletes what workers have left that died or handed their photos back; returns how many."""
    return int(cast("CursorResult[Any]", session.execute(_FORGET)).rowcount)
