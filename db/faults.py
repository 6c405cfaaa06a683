"""What becomes of items whose worker died, or outlived its claim on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import ARRAY, BigInteger, BindParameter, bindparam, text
from sqlalchemy.orm import Session


class Held(Protocol):
    """An item under one claim."""

    @property
    def item_id(self) -> int: ...

    @property
    def fence(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldItem:
    """An item that a process holds, or held, and the fence of its claim."""

    item_id: int
    fence: int


def ids_parameter(name: str) -> BindParameter[Sequence[int]]:
    """A parameter that is an array of ids, or of fences."""
    return bindparam(name, type_=ARRAY(BigInteger))


def held_parameters(claims: Iterable[Held]) -> dict[str, list[int]]:
    """The parameters `ids` and `fences`, in the order of the ids."""
    held = sorted((one.item_id, one.fence) for one in claims)
    return {"ids": [one[0] for one in held], "fences": [one[1] for one in held]}


_LOSE = text("""
    WITH lost AS (
        SELECT item.id
        FROM item
        JOIN unnest(:ids, :fences) AS mine (id, fence)
          ON item.id = mine.id AND item.fence = mine.fence AND item.state = 'running'
        ORDER BY item.id
        FOR UPDATE OF item
    )
    UPDATE item
    SET last_fault = :fault, lease_until = now() - interval '1 s'
    FROM lost WHERE item.id = lost.id
    RETURNING item.id
""").bindparams(ids_parameter("ids"), ids_parameter("fences"))


def lose(session: Session, held: Iterable[Held], *, fault: str) -> set[int]:
    """Ends the leases of items whose worker is no more, and notes what ended it.

    Returns the ids of those that were still held. They are queued or set aside as all are whose
    lease has run out, and the attempt counts.
    """
    return set(session.scalars(_LOSE, {**held_parameters(held), "fault": fault}))


_OUTLIVED = text("""
    WITH kept AS (
        SELECT item.id
        FROM item
        JOIN unnest(:ids, :fences) AS mine (id, fence)
          ON item.id = mine.id AND item.fence >= mine.fence
        WHERE item.state IN ('queued', 'running') AND item.attempt > 0
        ORDER BY item.id
        FOR UPDATE OF item
    )
    UPDATE item SET attempt = attempt - 1
    FROM kept WHERE item.id = kept.id
    RETURNING item.id
""").bindparams(ids_parameter("ids"), ids_parameter("fences"))


def outlived(session: Session, lost: Iterable[Held]) -> set[int]:
    """Takes back the attempts of items that somebody else was given while their worker lived.

    Their lease ran out because a store was away, say, and not because the photo took its worker
    down. To be called once for each claim, by who had it. Returns the ids that it helped.
    """
    return set(session.scalars(_OUTLIVED, held_parameters(lost)))
