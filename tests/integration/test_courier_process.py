"""The courier as a process: what it was sending when it was killed arrives under the same id."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hooks_kit import Hooks, wait_for
from ledger_kit import done, item, photo_of
from receiver_kit import receiving

from cli.stack.app_parts import settings_environ
from db.failpoints import Failpoint, file_name

pytestmark = pytest.mark.chaos


@contextmanager
def couriers(hooks: Hooks, failpoints: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A courier of its own process."""
    environ = settings_environ(hooks.settings) | more | {"FACEBATCH_FAILPOINTS": str(failpoints)}
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.courier"], env=environ, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(hooks: Hooks, name: str = "a") -> None:
    hooks.kit.job(item(name))
    hooks.kit.record(done(*hooks.kit.claim_all(), photo_of(1)))


def test_a_courier_that_dies_before_it_has_noted_the_answer_sends_again(
    hooks: Hooks, tmp_path: Path
) -> None:
    (tmp_path / file_name(Failpoint.EVENT_SENT)).write_text("kill")
    with receiving() as receiver:
        _, secret = hooks.endpoint(receiver.url)
        ended(hooks)
        with couriers(hooks, tmp_path) as first:
            assert first.wait(timeout=60) == -signal.SIGKILL
        assert len(receiver.calls) == 1
        assert hooks.attempts() == []
        hooks.execute("UPDATE webhook_delivery SET lease_until = now()")
        with couriers(hooks, tmp_path):
            wait_for(lambda: [one.state for one in hooks.deliveries()] == ["delivered"])
    assert len(receiver.calls) == 2
    first_call, second_call = receiver.calls
    assert first_call.event_id == second_call.event_id
    assert first_call.body == second_call.body
    assert all(call.verify(secret) for call in receiver.calls)


def test_a_courier_wakes_up_when_a_job_ends_and_stops_when_it_is_told_to(
    hooks: Hooks, tmp_path: Path
) -> None:
    with receiving() as receiver, couriers(hooks, tmp_path) as courier:
        hooks.endpoint(receiver.url)
        for n in range(3):
            ended(hooks, str(n))
            wait_for(lambda n=n: len(receiver.calls) == n + 1)
        wait_for(lambda: {one.state for one in hooks.deliveries()} == {"delivered"})
        courier.send_signal(signal.SIGTERM)
        assert courier.wait(timeout=60) == 0


def test_a_courier_that_cannot_sign_says_so_and_sends_nothing(hooks: Hooks, tmp_path: Path) -> None:
    with couriers(hooks, tmp_path, FACEBATCH_SECRET_KEY="") as courier:
        assert courier.wait(timeout=60) == 2
