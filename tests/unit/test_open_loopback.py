"""A local stack is open to its machine where nothing in it is anybody else's."""

from pathlib import Path

import pytest

from cli.stack.app_parts import settings_environ
from cli.stack.home import open_home
from cli.stack.ports import FreePorts
from cli.stack.stores import own_stores
from db.settings import Settings, load_settings


def completed(folder: Path, **environ: str) -> Settings:
    """The settings that the stack's parts get."""
    home = open_home(folder / "home")
    settings = load_settings(environ, dotenv=None)
    complete, _ = own_stores(settings, home, FreePorts())
    return load_settings(settings_environ(complete), dotenv=None)


def test_a_stack_whose_stores_are_its_own_is_open_to_its_machine(tmp_path: Path) -> None:
    assert completed(tmp_path).open_loopback is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://u:p@db.example:1/d"),
        ("DB_HOST", "db.example"),
        ("REDIS_URL", "redis://redis.example:1/0"),
        ("S3_ENDPOINT_URL", "https://s3.example"),
    ],
)
def test_a_stack_with_somebody_elses_store_is_not(tmp_path: Path, name: str, value: str) -> None:
    assert completed(tmp_path, **{name: value}).open_loopback is False
    told = {name: value, "FACEBATCH_OPEN_LOOPBACK": "yes"}
    assert completed(tmp_path, **told).open_loopback is True


def test_the_operator_may_close_any(tmp_path: Path) -> None:
    assert completed(tmp_path, FACEBATCH_OPEN_LOOPBACK="no").open_loopback is False


def test_the_key_of_commands_is_handed_to_no_part(tmp_path: Path) -> None:
    assert completed(tmp_path, FACEBATCH_API_KEY="fb_live_k").api_key is None
