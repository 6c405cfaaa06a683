"""A cursor is good for the list that has handed it out, as it was handed out, and nothing else."""

import base64
import uuid

import pytest

from web.errors import CursorError
from web.paging import Cursors

KEY, OTHER_KEY = bytes(32), bytes([1]) * 32
ID = uuid.UUID("0192f3a0-5b1c-7d2e-8f30-1a2b3c4d5e6f")
LIST = "/v1/jobs"


def cursors(key: bytes = KEY, tenant_id: int = 1, path: str = LIST) -> Cursors:
    return Cursors(key, tenant_id, path)


def test_a_cursor_leads_behind_its_entry() -> None:
    assert cursors().next_id(cursors().behind(ID)) == ID
    assert cursors().next_number(cursors().behind(2**62)) == 2**62
    assert (cursors().next_id(None), cursors().next_number(None)) == (None, 0)


def test_a_cursor_tells_nothing_and_needs_no_escaping() -> None:
    cursor = cursors().behind(ID)
    assert str(ID) not in cursor
    assert set(cursor) <= {*map(chr, range(128))} - set("+/=&%# ")


@pytest.mark.parametrize(
    "other",
    [
        cursors(key=OTHER_KEY),
        cursors(tenant_id=2),
        cursors(tenant_id=11),
        cursors(path="/v1/galleries"),
        cursors(path=f"/v1/jobs/{ID}/results"),
    ],
)
def test_a_cursor_of_another_list_is_refused(other: Cursors) -> None:
    for position in (ID, 7):
        with pytest.raises(CursorError):
            cursors().next_id(other.behind(position))
        with pytest.raises(CursorError):
            cursors().next_number(other.behind(position))


def test_a_cursor_of_another_kind_is_refused() -> None:
    with pytest.raises(CursorError):
        cursors().next_id(cursors().behind(7))
    with pytest.raises(CursorError):
        cursors().next_number(cursors().behind(ID))


@pytest.mark.parametrize("position", [ID, 7])
def test_a_cursor_that_was_touched_is_refused(position: uuid.UUID | int) -> None:
    read = cursors().next_id if position is ID else cursors().next_number
    whole = cursors().behind(position)
    for at, old in enumerate(whole):
        for new in "Ab-" if old not in "Ab-" else "xyz":
            with pytest.raises(CursorError):
                read(whole[:at] + new + whole[at + 1 :])
    for touched in (
        *(whole[:length] for length in range(len(whole))),
        *(whole + more for more in ("A", "=", "==", "\n", " ", "%3D", "\u00e9")),
        whole.upper(),
        " " + whole,
        whole + whole,
    ):
        with pytest.raises(CursorError):
            read(touched)


@pytest.mark.parametrize("cursor", ["", "7", str(ID), "a" * 10_000, "\0", "..", "é", "====", "-_"])
def test_what_was_never_a_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(CursorError):
        cursors().next_id(cursor)
    with pytest.raises(CursorError):
        cursors().next_number(cursor)


def test_a_cursor_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = cursors().behind(ID)
    monkeypatch.setattr("web.paging.VERSION", 2)
    with pytest.raises(CursorError):
        cursors().next_id(old)
    assert base64.urlsafe_b64decode(cursors().behind(ID) + "==")[0] == 2
