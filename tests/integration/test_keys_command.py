"""`facebatch keys` and `facebatch tenants`: the first key comes from the command line."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_kit import Api, refused
from click.testing import CliRunner, Result
from stack_kit import Stack

from cli.commands.keys import keys
from cli.commands.tenants import tenants
from cli.stack.home import Home
from cli.stack.state import live_state
from db.derived_keys import fingerprint
from db.settings import Settings
from pipeline.errors import FaceBatchError
from web.app import create_app

Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the test's database, with the server's secret."""
    monkeypatch.chdir(tmp_path)
    environ = {
        "DATABASE_URL": settings.database,
        "FACEBATCH_HOME": str(tmp_path / "home"),
        "FACEBATCH_SECRET_KEY": settings.secret_key.get_secret_value(),
    }

    def invoke(*arguments: str, **more: str | None) -> Result:
        command = {"keys": keys, "tenants": tenants}[arguments[0]]
        return CliRunner().invoke(command, arguments[1:], env=environ | more)

    return invoke


def said(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def failure(result: Result) -> str:
    assert isinstance(result.exception, FaceBatchError), (result.output, result.exception)
    return str(result.exception)


@pytest.fixture
def server(settings: Settings) -> Callable[[str], Api]:
    """The API as whoever has the key reaches it."""
    closed = settings.model_copy(update={"open_loopback": False})
    return lambda key: Api(create_app(closed).test_client(), key)


def test_how_much_a_tenant_may_have_is_said_and_shown(run: Run, settings: Settings) -> None:
    def shown(*options: str, **more: str) -> dict[str, list[str]]:
        lines = said(run("tenants", "quota", "acme", *options, **more)).splitlines()
        return {kind: rest for kind, *rest in map(str.split, lines)}

    said(run("tenants", "create", "acme"))
    assert shown()["bytes"] == ["0", "none"]
    assert shown("--bytes", "50gb", "--open-jobs", "0") == {
        "quota": ["used", "allowed"],
        "bytes": ["0", "50000000000"],
        "open_photos": ["0", "none"],
        "open_jobs": ["0", "0"],
    }
    default = {"FACEBATCH_QUOTA_BYTES": "7", "FACEBATCH_QUOTA_OPEN_PHOTOS": "8"}
    assert shown("--open-photos", "none", **default)["open_photos"] == ["0", "none"]
    assert shown("--bytes", "default", **default)["bytes"] == ["0", "7"]
    assert shown()["open_jobs"] == ["0", "0"]
    assert run("tenants", "quota", "acme", "--bytes", "-1").exit_code == 2
    assert "no tenant of this name" in failure(run("tenants", "quota", "nobody"))


def test_a_key_goes_to_standard_output_alone_and_works(
    run: Run, server: Callable[[str], Api]
) -> None:
    made = run("keys", "create", "ci", "--scope", "read", "--scope", "manage", "--days", "9")
    key = said(made).strip()
    assert made.stdout == f"{key}\n"
    assert "shown this once" in made.stderr
    assert key not in made.stderr
    server(key).gallery("people")
    refused(server(key).post("/v1/jobs", json={"kind": "detect"}), 403, "scope_missing")
    listed = said(run("keys", "list"))
    assert key not in listed
    row = listed.splitlines()[1].split()
    assert row[1:5] == [key[:20], "ci", "read,manage", "active"]


def test_a_key_is_rotated_and_revoked_by_its_id(run: Run, server: Callable[[str], Api]) -> None:
    old = said(run("keys", "create", "ci", "--scope", "read")).strip()
    key_id = said(run("keys", "list")).splitlines()[1].split()[0]
    new = said(run("keys", "rotate", key_id, "--overlap", "3600")).strip()
    assert server(old).get("/v1/jobs").status_code == 200
    assert "replaced" in failure(run("keys", "rotate", key_id))
    assert said(run("keys", "revoke", key_id)) == ""
    refused(server(old).get("/v1/jobs"), 401, "key_revoked")
    assert server(new).get("/v1/jobs").status_code == 200


def test_tenants_are_made_once_and_have_keys_of_their_own(
    run: Run, server: Callable[[str], Api]
) -> None:
    assert "no tenant" in failure(run("keys", "create", "a", "--scope", "read", "--tenant", "acme"))
    assert "acme" in said(run("tenants", "create", "acme"))
    assert "already" in failure(run("tenants", "create", "acme"))
    assert [line.split()[1] for line in said(run("tenants", "list")).splitlines()] == [
        "name",
        "acme",
        "local",
    ]
    create = ("keys", "create", "a", "--scope", "read", "--scope", "manage")
    theirs = said(run(*create, "--tenant", "acme")).strip()
    ours = said(run(*create)).strip()
    server(theirs).gallery("theirs")
    assert server(ours).get("/v1/galleries").json["galleries"] == []
    assert len(said(run("keys", "list", "--tenant", "acme")).splitlines()) == 2
    (key_id,) = [line.split()[0] for line in said(run("keys", "list")).splitlines()[1:]]
    for what in ("revoke", "rotate"):
        assert "no such key" in failure(run("keys", what, key_id, "--tenant", "acme"))


@pytest.mark.parametrize("name", ["", "Acme", "a/b", "..", ".a", "a b", "a" * 64, "ä", "*", "a\n"])
def test_a_tenants_name_is_plain(run: Run, name: str) -> None:
    assert "a tenant's name" in failure(run("tenants", "create", name))


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "create", "a"),
        ("keys", "create", "", "--scope", "read"),
        ("keys", "create", "a\x1b[2J", "--scope", "read"),
        ("keys", "create", "a", "--scope", "root"),
        ("keys", "create", "a", "--scope", "read", "--days", "0"),
        ("keys", "revoke", "fb_live_x"),
        ("keys", "rotate"),
        ("tenants", "create"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    run: Run, arguments: tuple[str, ...]
) -> None:
    assert run(*arguments).exit_code == 2


def test_without_the_servers_secret_no_key_is_made(run: Run) -> None:
    create = ("keys", "create", "a", "--scope", "read")
    assert "FACEBATCH_SECRET_KEY" in failure(run(*create, FACEBATCH_SECRET_KEY=None))
    assert len(said(run("keys", "list", FACEBATCH_SECRET_KEY=None)).splitlines()) == 1


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


@pytest.mark.chaos
def test_a_stack_on_real_servers_is_closed_until_a_key_is_made_for_it(stack: Stack) -> None:
    view = stack.up()
    assert stack.get("/health")["status"] == "healthy"
    refusal = stack.run("jobs")
    assert refusal.returncode == 1
    assert "facebatch keys create" in refusal.stderr
    made = stack.run("keys", "create", "mine", "--scope", "read")
    assert made.returncode == 0, made.stderr
    stack.settings = {**stack.settings, "FACEBATCH_API_KEY": made.stdout.strip()}
    assert stack.run("jobs").returncode == 0
    api = ("jobs", "--api", view.api_url)
    assert stack.run(*api).returncode == 0
    # No part of the stack has any use for it.
    shown = [
        one.environ().get("FACEBATCH_API_KEY") for one in stack.processes() if one.is_running()
    ]
    assert set(shown) == {None}
    other = {**stack.settings, "FACEBATCH_SECRET_KEY": "x" * 32}
    stack.settings = other
    refusal = stack.run("keys", "create", "other", "--scope", "read")
    assert refusal.returncode == 1
    assert "another FACEBATCH_SECRET_KEY" in refusal.stderr


@pytest.mark.chaos
def test_a_stack_tells_whose_secret_it_has_and_not_which(stack: Stack, settings: Settings) -> None:
    secret = settings.secret_key.get_secret_value()
    stack.settings = {**stack.settings, "FACEBATCH_SECRET_KEY": secret}
    stack.up()
    assert live_state(stack.home).secret_fingerprint == fingerprint(settings)
    assert secret not in stack.home.state.read_text()
    assert not os.access(stack.home.secrets / "secret_key", os.F_OK)
