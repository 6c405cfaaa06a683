"""The page of webhooks says what the code does."""

import ast
import datetime as dt
import re
import runpy
from pathlib import Path

import pytest

from db.states import SUBSCRIBABLE, EventType
from db.webhooks.endpoints import DISABLED
from db.webhooks.schedule import PAUSES_S
from web.schemas.webhooks import Subscribed
from workers.outbound.errors import Failure

ROOT = Path(__file__).parents[2]
RECEIVER = ROOT / "docs" / "examples" / "webhook_receiver.py"
SECRET = "whsec_c2VjcmV0"
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


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        *(("nonsense", b"{}"), ("v1,a,b", b"{}"), ("v1,a", b"{}"), ("v1,\xe9", b"{}")),
        *(("v1,c2lnbmF0dXJl", b"\xff"), ("v1,c2lnbmF0dXJl", b"{}")),
    ],
)
def test_the_examples_in_python_refuse_what_is_no_signature_at_all(
    tmp_path: Path, signature: str, body: bytes
) -> None:
    now = str(int(dt.datetime.now(dt.UTC).timestamp()))
    headers = {"webhook-id": "1", "webhook-timestamp": now, "webhook-signature": signature}
    app = runpy.run_path(str(RECEIVER))["make_app"](SECRET, str(tmp_path / "seen.sqlite"))
    assert app.test_client().post("/hook", data=body, headers=headers).status_code == 401
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    example = tmp_path / "example.py"
    example.write_text(code.replace("whsec_…", SECRET), encoding="utf-8")
    told = runpy.run_path(str(example), {"body": body, "headers": headers})
    assert "event" not in told
