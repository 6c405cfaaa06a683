"""`facebatch webhooks` makes a webhook and follows what is sent to it, and so does the example."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_kit import NOWHERE, Api
from command_kit import listening, run
from hooks_kit import Hooks
from ledger_kit import Kit, done, item, photo_of
from receiver_kit import receiving

from db.settings import Settings
from web.app import create_app

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "webhook_receiver.py"


@pytest.fixture
def hooks(local: Kit, settings: Settings) -> Hooks:
    """The tenant for whom the API works; its webhooks may go to loopback."""
    return Hooks(
        kit=local, settings=settings.model_copy(update={"webhook_networks": "127.0.0.0/8"})
    )


@pytest.fixture
def url(hooks: Hooks) -> Iterator[str]:
    with listening(Api(create_app(hooks.settings).test_client())) as url:
        yield url


def said(*arguments: object, api: str) -> list[str]:
    return run("webhooks", *arguments, "--api", api).stdout.decode().splitlines()


def test_a_webhook_is_made_tested_replayed_and_deleted(url: str, hooks: Hooks) -> None:
    with receiving() as receiver:
        first, second = said("create", receiver.url, "--event", "job.failed", api=url)
        webhook, secret = first.split()[1], second.split()[1]
        event = said("test", webhook, api=url)[0].split()[1]
        hooks.send()
        assert receiver.calls[0].event_id == event
        assert receiver.calls[0].verify(secret)["type"] == "endpoint.test"
        assert said("replay", webhook, "--since", "2026-01-01T00:00:00Z", api=url) == ["events  0"]
        new = said("rotate", webhook, "--overlap", 0, api=url)[0].split()[1]
        said("test", webhook, api=url)
        hooks.send()
        receiver.calls[1].verify(new)
    head, row = said("list", api=url)
    assert head.split() == ["id", "state", "events", "url"]
    assert row.split() == [webhook, "enabled", "job.failed", receiver.url]
    head, latest, _ = said("deliveries", "--webhook", webhook, api=url)
    assert re.split(r"  +", latest)[1:6] == ["endpoint.test", "delivered", "1", "200", "-"]
    told = [json.loads(line) for line in said("deliveries", "--json", "--limit", 1, api=url)]
    assert [one["type"] for one in told] == ["endpoint.test"]
    assert said("deliveries", "--job", NOWHERE, api=url) == [
        "id  type  state  attempts  status  error  created"
    ]
    said("delete", webhook, api=url)
    assert said("list", "--json", api=url) == []


def test_what_the_server_refuses_is_said(url: str) -> None:
    done = run("webhooks", "create", "http://10.0.0.1/", "--api", url, status=1)
    assert b"not public" in done.stderr
    done = run("webhooks", "test", NOWHERE, "--api", url, status=1)
    assert b"no such webhook" in done.stderr


def test_the_receiver_of_the_docs_takes_each_event_once(hooks: Hooks, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    _, secret = hooks.endpoint(f"http://127.0.0.1:{port}/hook")
    program = subprocess.Popen(
        [sys.executable, str(EXAMPLE), str(port), str(tmp_path / "seen.sqlite")],
        env={**os.environ, "WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        give_up_at = time.monotonic() + 60
        while httpx_status(port) != 401:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        job_id = hooks.kit.job(item("a"))
        hooks.kit.record(done(*hooks.kit.claim_all(), photo_of(1)))
        hooks.send()
        hooks.execute("UPDATE webhook_delivery SET state = 'waiting', due_at = now()")
        hooks.send()
    finally:
        program.terminate()
        out, _ = program.communicate(timeout=60)
    assert [(one.status, one.answer) for one in hooks.attempts()] == [
        (200, "thanks"),
        (200, "seen before"),
    ]
    assert [line for line in out.splitlines() if "job" in line and "done" in line] == [
        f"job {job_id} succeeded: 1 of 1 done"
    ]


def httpx_status(port: int) -> int | None:
    """What somebody is answered who cannot sign."""
    try:
        return httpx.post(f"http://127.0.0.1:{port}/hook", trust_env=False).status_code
    except httpx.TransportError:
        return None
