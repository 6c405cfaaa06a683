"""The page of webhooks says what the code does."""

import ast
import re
from pathlib import Path

from db.states import SUBSCRIBABLE, EventType
from db.webhooks.endpoints import DISABLED
from db.webhooks.schedule import PAUSES_S
from web.schemas.webhooks import Subscribed
from workers.outbound.errors import Failure

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")


def rows(after: str) -> list[str]:
    """The first cells of the first table behind a line."""
    table = re.search(r"(?:^\|.*\n)+", PAGE.partition(after)[2], re.MULTILINE)
    assert table
    return re.findall(r"^\| `([^`]+)`", table[0], re.MULTILINE)


def test_every_type_of_event_is_on_the_page() -> None:
    assert rows("an embedding or a photo") == [one.value for one in EventType]
    assert set(Subscribed.__args__) == set(SUBSCRIBABLE)


def test_every_error_of_an_attempt_is_on_the_page() -> None:
    assert sorted(rows("`error` is one of")) == sorted([*Failure, DISABLED])


def test_the_schedule_is_on_the_page() -> None:
    minutes = [one // 60 for one in PAUSES_S]
    assert PAUSES_S[0] == 5
    assert minutes[1:3] == [5, 30]
    hours = ", ".join(str(one // 3600) for one in PAUSES_S[3:-1])
    assert f"5 seconds, 5 minutes, 30 minutes, {hours} and {PAUSES_S[-1] // 3600} hours" in (
        " ".join(PAGE.split())
    )


def test_every_example_in_python_can_be_read() -> None:
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        ast.parse(code)
