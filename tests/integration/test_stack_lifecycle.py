"""The beginning and the end of a stack, however violent."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from stack_kit import Stack, kill, listening, until

from cli.stack.home import Home, open_home
from cli.stack.parts import MARKER
from cli.stack.ports import answers

pytestmark = pytest.mark.chaos


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(home=Home(tmp_path / "home"))
    yield stack
    stack.stop()


def test_all_killed_then_up_recovers_with_the_data(stack: Stack) -> None:
    stack.up()
    made = stack.post("/v1/galleries", {"name": "kept"})
    # Stopped first, so that none of them gets to do anything about the death of another.
    everything = [psutil.Process(stack.supervisor.pid), *stack.processes()]
    for one in everything:
        one.suspend()
    for one in everything:
        kill(one)
    stack.kill_supervisor()
    stack.up()
    assert [one["id"] for one in stack.get("/v1/galleries")["galleries"]] == [made["id"]]


def sockets() -> set[str]:
    return {one.name for one in Path("/tmp").glob("seaweedfs-*.sock")}


def test_parts_end_when_their_supervisor_is_killed(stack: Stack) -> None:
    stack.up()
    stack.kill_supervisor()
    until(lambda: not stack.processes())
    assert "not running" in stack.run("status").stdout


def test_down_leaves_nothing_running_or_listening(stack: Stack) -> None:
    # What stacks that were killed have left may bear the number of any port of this one.
    before = sockets()
    stack.up()
    processes = stack.processes()
    ports = {port for _, port in listening(processes)}
    done = stack.run("down")
    assert (done.returncode, done.stdout) == (0, "The stack has stopped.\n")
    assert stack.supervisor.wait(timeout=60) == 0
    assert not [one for one in processes if one.is_running()]
    assert not [port for port in ports if answers(port)]
    assert not [one for one in sockets() - before for port in ports if f"-{port}." in one]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_stops_everything(stack: Stack, how: signal.Signals) -> None:
    stack.supervisor = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "up"],
        env=stack.environ(),
        cwd=stack.home.path.parent,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: "valkey-server" in stack.names())
    stack.supervisor.send_signal(how)
    assert stack.supervisor.wait(timeout=60) == 0
    assert not stack.processes()
    assert "Traceback" not in stack.supervisor.stderr.read()


def test_down_stops_an_orphan(stack: Stack) -> None:
    open_home(stack.home.path)
    orphan = subprocess.Popen(["sleep", "600"], env={MARKER: str(stack.home.path)})
    assert "1 process of its stack is left" in stack.run("status").stdout
    done = stack.run("down")
    assert (done.returncode, done.stdout) == (0, "The stack has stopped.\n")
    assert orphan.wait(timeout=60) == -signal.SIGTERM


def test_an_orphan_of_another_home_is_left_alone(stack: Stack, tmp_path: Path) -> None:
    open_home(stack.home.path)
    other = subprocess.Popen(["sleep", "600"], env={MARKER: str(tmp_path / "other")})
    stack.run("down")
    time.sleep(0.2)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_down_and_status_where_nothing_ever_ran(stack: Stack) -> None:
    down, status = stack.run("down"), stack.run("status")
    assert (down.returncode, down.stdout) == (0, "The stack is not running.\n")
    assert status.returncode == 1
    assert "facebatch up" in status.stdout
    assert not stack.home.path.exists()
