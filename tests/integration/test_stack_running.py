"""A stack that runs: who can reach and read it, and what happens when a part of it dies."""

import shutil
from collections.abc import Iterator

import psutil
import pytest
from stack_kit import Stack, below, kill, listening, until

from cli.stack.home import Home
from cli.stack.session import running_stack
from cli.stack.state import PartView, live_state
from db.settings import load_settings

pytestmark = pytest.mark.chaos
PARTS = [
    *("postgresql", "valkey", "seaweedfs"),
    *("worker", "urgent", "dispatcher", "reconciler", "courier", "web"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(home=Home(tmp_path_factory.mktemp("running") / "home"))
    try:
        stack.up()
        yield stack
    finally:
        stack.stop()


def part(stack: Stack, name: str) -> PartView:
    return next(one for one in stack.ready().parts if one.name == name)


def test_what_is_secret_can_be_read_by_its_owner_alone(stack: Stack) -> None:
    stack.ready()
    files = [*below(stack.home.secrets), *below(stack.home.logs), stack.home.state]
    files.append(stack.home.path / "valkey.conf")
    assert len(below(stack.home.secrets)) == 4
    assert {path: oct(path.stat().st_mode & 0o777) for path in files} == dict.fromkeys(
        files, "0o600"
    )
    for folder in (stack.home.postgres, stack.home.valkey, stack.home.seaweedfs):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_no_password_is_on_a_command_line_or_in_the_state(stack: Stack) -> None:
    stack.ready()
    shown = [argument for one in stack.processes() for argument in one.cmdline()]
    shown.append(stack.home.state.read_text())
    for path in below(stack.home.secrets):
        assert not [text for text in shown if path.read_text().strip() in text]


def test_it_listens_on_loopback_alone(stack: Stack) -> None:
    stack.ready()
    addresses = listening(stack.processes())
    # PostgreSQL, Valkey, the API, and SeaweedFS's five, each with another one for gRPC.
    assert len(addresses) == 13
    assert {host for host, _ in addresses} == {"127.0.0.1"}


def test_a_second_up_says_where_the_first_one_listens(stack: Stack) -> None:
    url = stack.ready().api_url
    second = stack.run("up")
    assert second.returncode == 1
    assert "already running" in second.stderr
    assert url in second.stderr
    assert stack.ready().api_url == url


def test_status_lists_every_part(stack: Stack) -> None:
    stack.ready()
    shown = stack.run("status")
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()[1 : 1 + len(PARTS)]] == PARTS
    assert stack.ready().api_url in shown.stdout


def test_a_stack_that_runs_is_used_and_left_running(stack: Stack) -> None:
    url = stack.ready().api_url
    with running_stack(load_settings(stack.environ(), dotenv=None)) as used:
        assert used.api_url == url
    assert live_state(stack.home) is not None


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_killed_comes_back(stack: Stack, name: str) -> None:
    before = part(stack, name)
    if name == "valkey":
        shutil.rmtree(stack.home.valkey)
    kill(before.process.pid)
    until(lambda: (now := part(stack, name)).restarts > before.restarts and now)
    assert part(stack, name).process.pid != before.process.pid
    assert stack.get("/health")["status"] == "healthy"


def test_status_tells_of_a_part_that_is_away(stack: Stack) -> None:
    kill(part(stack, "postgresql").process.pid)
    until(lambda: stack.run("status").returncode == 1)
    assert stack.get("/health")["status"] == "healthy"


def test_parts_that_hang_are_started_again(stack: Stack) -> None:
    names = ("worker", "urgent", "dispatcher", "reconciler")
    before = {name: part(stack, name) for name in names}
    beats = {name: stack.home.heartbeat(name).stat().st_mtime_ns for name in names}
    until(lambda: all(stack.home.heartbeat(one).stat().st_mtime_ns > beats[one] for one in names))
    for one in before.values():
        psutil.Process(one.process.pid).suspend()
    for name, one in before.items():
        until(lambda: part(stack, name).restarts > one.restarts)  # noqa: B023 - waits here.
    stack.ready()
