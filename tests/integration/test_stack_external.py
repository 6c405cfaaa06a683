"""Servers that are somebody else's take the place of our parts; and commands that use a stack."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack_kit import Stack, until

from cli.stack.database import used_database
from cli.stack.errors import StackError
from cli.stack.home import Home
from cli.stack.session import running_stack, start_detached
from cli.stack.state import live_state
from db.settings import Settings, load_settings

pytestmark = pytest.mark.chaos


@pytest.fixture
def stack(tmp_path: Path, stores: Settings, database_url: str) -> Iterator[Stack]:
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": stores.redis_url.get_secret_value(),
        "S3_ENDPOINT_URL": stores.s3_endpoint_url.get_secret_value(),
        "AWS_ACCESS_KEY_ID": stores.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": stores.aws_secret_access_key.get_secret_value(),
    }
    stack = Stack(home=Home(tmp_path / "home"), settings=settings)
    yield stack
    stack.stop()


class BrokenOffError(Exception):
    """Some error within the command."""


def settings_of(stack: Stack) -> Settings:
    return load_settings(stack.environ(), dotenv=None)


def test_real_servers_take_the_place_of_parts(stack: Stack, stores: Settings) -> None:
    view = stack.up()
    assert [part.name for part in view.parts if part.state == "external"] == [
        "postgresql",
        "redis",
        "s3",
    ]
    assert not stack.names() & {"postgres", "valkey-server", "weed"}
    assert [one.name for one in stack.home.secrets.iterdir()] == ["secret_key"]
    assert stack.get("/health")["status"] == "healthy"
    shown = stack.run("status")
    assert shown.returncode == 0
    assert stores.aws_secret_access_key.get_secret_value() not in shown.stdout


def test_a_stack_that_was_started_for_a_command_ends_with_it(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.suppress(BrokenOffError), running_stack(settings_of(stack)):
        assert stack.get("/health")["status"] == "healthy"
        raise BrokenOffError
    assert live_state(stack.home) is None
    assert not stack.processes()
    assert "starting the local stack" in capsys.readouterr().err


def test_the_last_of_two_users_stops_the_stack(stack: Stack) -> None:
    with running_stack(settings_of(stack)) as first:
        with running_stack(settings_of(stack)) as second:
            assert second.api_url == first.api_url
        assert stack.get("/health")["status"] == "healthy"
    assert not stack.processes()


def test_two_that_start_at_once_get_one_stack(stack: Stack) -> None:
    settings, urls, both = settings_of(stack), [], threading.Barrier(2, timeout=90)

    def use() -> None:
        both.wait()
        with running_stack(settings) as found:
            urls.append(found.api_url)
            both.wait()

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert len(urls) == 2
    assert len(set(urls)) == 1
    until(lambda: not stack.processes())


def test_a_detached_stack_goes_on_and_outlives_those_who_use_it(stack: Stack) -> None:
    with running_stack(settings_of(stack)) as temporary:
        assert start_detached(settings_of(stack)).api_url == temporary.api_url
    assert stack.get("/health")["status"] == "healthy"
    assert not live_state(stack.home).temporary


def test_a_stack_that_does_not_start_says_why(stack: Stack) -> None:
    stack.settings = {**stack.settings, "REDIS_URL": "redis://127.0.0.1:1/0"}
    with pytest.raises(StackError, match=r"^REDIS_URL: the server at 127\.0\.0\.1:1"):
        start_detached(settings_of(stack))
    assert not stack.processes()


def test_a_database_that_is_set_is_used_without_a_stack(stack: Stack, database_url: str) -> None:
    with used_database(settings_of(stack)) as found:
        assert found == database_url
    assert not stack.home.path.exists()


def test_a_database_other_than_that_of_the_stack_that_runs_is_refused(
    stack: Stack, database_url: str
) -> None:
    stack.up()
    with used_database(settings_of(stack)) as found:
        assert found == database_url
    stack.settings = {**stack.settings, "DATABASE_URL": "postgresql://a:secret@127.0.0.1:1/b"}
    with pytest.raises(StackError, match=r"at 127\.0\.0\.1:1, and the stack") as refused:
        used_database(settings_of(stack)).__enter__()
    assert "secret" not in str(refused.value)
    del stack.settings["DATABASE_URL"]
    with pytest.raises(StackError, match="set DATABASE_URL"):
        used_database(settings_of(stack)).__enter__()
