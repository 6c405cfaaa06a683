"""The page of webhooks says what the code does."""

import ast
import datetime as dt
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

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


def told_by_example(folder: Path, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """The names that the page's example in Python has at its end."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    example = folder / "example.py"
    example.write_text(code.replace("whsec_…", SECRET), encoding="utf-8")
    return runpy.run_path(str(example), {"body": body, "headers": headers})


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
    assert "event" not in told_by_example(tmp_path, body, headers)


def test_the_example_in_python_takes_what_is_signed(tmp_path: Path) -> None:
    now, body = dt.datetime.now(dt.UTC), '{"type": "job.completed", "data": {}}'
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": f"v1,c2lnbmF0dXJl {Webhook(SECRET).sign('1', now, body)}",
    }
    told = told_by_example(tmp_path, body.encode(), headers)
    assert told["event"] == {"type": "job.completed", "data": {}}
