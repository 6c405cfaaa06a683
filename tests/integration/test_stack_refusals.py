"""What keeps a stack from starting is said in a line, and leaves nothing behind."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack_kit import Stack, below

from cli.stack.errors import HomeError
from cli.stack.home import Home, check_space, open_home
from cli.stack.ports import FreePorts
from cli.stack.stores import own_stores, running
from db.settings import Settings, load_settings


def refused(home: Path, status: int = 1, **settings: str) -> str:
    """What `up` says where it does not start."""
    stack = Stack(home=Home(home), settings=settings)
    done = stack.run("up")
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert not stack.processes()
    return done.stderr


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_that_is_set_and_taken(tmp_path: Path, taken_port: int) -> None:
    said = refused(tmp_path / "home", FACEBATCH_PORT=str(taken_port))
    assert f"FACEBATCH_PORT: port {taken_port} is taken" in said


def test_an_unknown_setting(tmp_path: Path) -> None:
    said = refused(tmp_path / "home", 2, FACEBATCH_PROT="1")
    assert said.startswith("facebatch: FACEBATCH_PROT is no setting")
    assert not (tmp_path / "home").exists()


def test_a_malformed_setting(tmp_path: Path) -> None:
    assert "FACEBATCH_LEASE_S" in refused(tmp_path / "home", 2, FACEBATCH_LEASE_S="soon")


def test_a_file_in_the_place_of_the_home(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "a file is where a folder should be" in refused(tmp_path / "file")
    assert "a file is where a folder should be" in refused(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_home_that_is_not_writable(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        home = Path("/sys/facebatch")  # Root is not kept out by modes.
    else:
        tmp_path.chmod(0o500)
        home = tmp_path / "home"
    assert "it is not writable" in refused(home)


def test_a_folder_of_somebody_else_s(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert "is no home of facebatch, and not empty" in refused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_home_of_another_version(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    home.marker.write_text("0\n")
    assert "made by another version of facebatch" in refused(home.path)


def test_a_database_whose_password_is_gone(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    (home.postgres / "data").mkdir(parents=True)
    (home.postgres / "data" / "PG_VERSION").write_text("18\n")
    with pytest.raises(HomeError, match="half-made"):
        start_postgres(home, load_settings({}, dotenv=None), keep_secret=False)


def test_a_database_of_another_postgresql(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    (home.postgres / "data").mkdir(parents=True)
    (home.postgres / "data" / "PG_VERSION").write_text("17\n")
    assert "is one of PostgreSQL 17" in refused(home.path)


def test_a_database_that_was_half_made_is_made_again(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    (home.postgres / "data.new" / "base").mkdir(parents=True)
    start_postgres(home, load_settings({}, dotenv=None))
    assert (home.postgres / "data" / "PG_VERSION").exists()
    assert not (home.postgres / "data.new").exists()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1_000_000))
    with pytest.raises(HomeError, match="is full: 1 MB are free"):
        check_space(open_home(tmp_path / "home"))


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    url = "postgresql://me:hush@127.0.0.1:1/db"
    said = refused(tmp_path / "home", DATABASE_URL=url)
    assert "the database does not answer" in said
    assert "127.0.0.1:1" in said
    assert "hush" not in said


def test_a_redis_that_does_not_answer(tmp_path: Path) -> None:
    said = refused(tmp_path / "home", REDIS_URL="redis://:hush@127.0.0.1:1/0")
    assert "REDIS_URL: the server at 127.0.0.1:1" in said
    assert "hush" not in said


def test_a_home_has_no_passwords_before_its_first_start(tmp_path: Path) -> None:
    assert below(open_home(tmp_path / "home").secrets) == []


def start_postgres(home: Home, settings: Settings, *, keep_secret: bool = True) -> None:
    _, parts = own_stores(settings, home, FreePorts())
    if not keep_secret:
        (home.secrets / "postgresql").unlink()
    with running([one for one in parts if one.name == "postgresql"], home):
        pass
