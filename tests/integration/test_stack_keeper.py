"""How one part is kept running, and given up."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from stack_kit import kill, until

from cli.stack.keeper import Keeper, PartFailedError, PartState, tail
from cli.stack.parts import Part

Make = Callable[..., Keeper]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Make]:
    keepers: list[Keeper] = []

    def make(program: str, **more: object) -> Keeper:
        part = Part(
            name="thing",
            command=(sys.executable, "-c", program),
            environ={},
            **{"is_ready": lambda _pid: True, **more},
        )
        keepers.append(Keeper(part, tmp_path / "thing.log"))
        return keepers[-1]

    yield make
    for keeper in keepers:
        keeper.kill()


def ticked(keeper: Keeper, condition: Callable[[], bool]) -> bool:
    keeper.tick()
    return condition()


def test_a_part_that_never_gets_ready_is_given_up_with_its_last_words(keep: Make) -> None:
    keeper = keep("print('no such luck'); exit(3)", is_ready=lambda _pid: False)
    keeper.start()
    with pytest.raises(PartFailedError, match=r"(?s)ended with status 3.*no such luck"):
        until(lambda: ticked(keeper, lambda: False))
    assert keeper.restarts == 2


def test_a_part_that_hangs_at_its_start_is_given_up(keep: Make) -> None:
    keeper = keep("import time; time.sleep(600)", is_ready=lambda _pid: False, start_limit_s=0.3)
    keeper.start()
    with pytest.raises(PartFailedError, match="not ready"):
        until(lambda: ticked(keeper, lambda: False))
    assert keeper.process_id is None


def test_a_part_that_once_was_ready_is_never_given_up(keep: Make) -> None:
    keeper = keep("exit(1)")
    keeper.start()
    keeper.was_ready = True
    until(lambda: ticked(keeper, lambda: keeper.restarts > 4))
    assert keeper.state is not PartState.STOPPED


def test_a_part_that_does_not_obey_is_killed_with_its_children(keep: Make) -> None:
    keeper = keep(
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', '600'])\n"
        "print('ready', flush=True); time.sleep(600)",
        stop_limit_s=0.2,
    )
    keeper.start()
    until(lambda: "ready" in keeper.tail())
    (child,) = psutil.Process(keeper.process_id.pid).children()
    keeper.stop()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert keeper.process_id is None


def test_a_part_whose_heartbeat_stands_still_is_started_again(keep: Make, tmp_path: Path) -> None:
    heart = tmp_path / "heart"
    keeper = keep(
        "import pathlib, sys, time\n"
        f"while True: pathlib.Path({str(heart)!r}).touch(); time.sleep(0.05)",
        heartbeat=heart,
        silence_limit_s=1.0,
    )
    keeper.start()
    until(lambda: ticked(keeper, heart.exists))
    pid = keeper.process_id.pid
    beating_until = time.monotonic() + 3 * keeper.part.silence_limit_s
    until(lambda: ticked(keeper, lambda: time.monotonic() > beating_until))
    assert keeper.restarts == 0
    psutil.Process(pid).suspend()
    until(lambda: ticked(keeper, lambda: keeper.restarts == 1))
    assert not psutil.pid_exists(pid)


def test_what_a_dead_part_leaves_is_taken_away_before_the_next(keep: Make) -> None:
    keeper = keep(
        "import subprocess, time\n"
        "subprocess.Popen(['sleep', '600']); print('ready', flush=True); time.sleep(600)"
    )
    keeper.start()
    until(lambda: "ready" in keeper.tail())
    (child,) = psutil.Process(keeper.process_id.pid).children()
    kill(keeper.process_id.pid)
    until(lambda: ticked(keeper, lambda: keeper.restarts == 1))
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_large_log_is_put_aside(keep: Make, tmp_path: Path) -> None:
    log = tmp_path / "thing.log"
    log.write_bytes(b"old\n" * 3_000_000)
    keeper = keep("print('new', flush=True); import time; time.sleep(600)")
    keeper.start()
    until(lambda: "new" in keeper.tail())
    assert tail(log) == "  new"
    assert (tmp_path / "thing.log.1").stat().st_size == 12_000_000


def test_a_nice_part_gives_way_to_other_sessions_too(keep: Make) -> None:
    keeper = keep(
        "import os, time; print(os.getpriority(os.PRIO_PROCESS, 0)); print('ready', flush=True)\n"
        "time.sleep(600)",
        niceness=7,
    )
    keeper.start()
    until(lambda: "ready" in keeper.tail())
    assert keeper.tail() == "  7\n  ready"
    group = Path(f"/proc/{keeper.process_id.pid}/autogroup")
    if group.exists():  # The kernel may have been built without.
        assert group.read_text().split()[1:] == ["nice", "7"]
