"""What a stack consists of, for given settings."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from cli.stack import valkey
from cli.stack.app_parts import part_environ, preparation, watched, web_part, worker_parts
from cli.stack.errors import StackError
from cli.stack.home import Home
from cli.stack.parts import Part
from cli.stack.ports import LOOPBACK, FreePorts, is_free
from cli.stack.stores import own_stores
from db.derived_keys import fingerprint
from db.settings import Settings

USUAL_PORT = 8765


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The parts in the order of their start. Those of a group do not need each other."""

    stores: tuple[Part, ...]
    external: tuple[tuple[str, str], ...]
    """Stores that are somebody else's: name and address."""
    preparation: Part
    workers: tuple[Part, ...]
    web: Part
    api_url: str
    secret_fingerprint: str
    """Of the secret key that all parts have."""

    @property
    def groups(self) -> tuple[tuple[Part, ...], ...]:
        """All parts that keep running."""
        return self.stores, self.workers, (self.web,)


def make_plan(settings: Settings, home: Home) -> Plan:
    """A plan with ports that are free now; raises `StackError`. The caller holds the home."""
    ports = FreePorts()
    port = api_port(settings, ports)
    complete, stores = own_stores(settings, home, ports)
    environ = part_environ(complete, home)
    return Plan(
        stores=tuple(stores),
        external=tuple(_external(settings)),
        preparation=preparation(environ),
        workers=tuple(watched(part, home) for part in worker_parts(settings, environ)),
        web=web_part(environ, port),
        api_url=f"http://{LOOPBACK}:{port}",
        secret_fingerprint=fingerprint(complete),
    )


def api_port(settings: Settings, ports: FreePorts) -> int:
    """The port of the API; raises `StackError` where the one that was set is taken."""
    if settings.port:
        if not is_free(settings.port):
            raise StackError(
                f"FACEBATCH_PORT: port {settings.port} is taken by another program; "
                "set another one, or 0 for any that is free"
            )
        return settings.port
    return USUAL_PORT if settings.port is None and is_free(USUAL_PORT) else ports.one()


def check_redis(settings: Settings) -> None:
    """Raises `StackError` where a Redis that was set does not answer."""
    if settings.redis_url is None:
        return
    url = settings.redis_url.get_secret_value()
    trouble = valkey.answers(url)
    if trouble is not None:
        raise StackError(f"REDIS_URL: the server at {host_of(url)} does not serve us: {trouble}")


def _external(settings: Settings) -> Iterable[tuple[str, str]]:
    database = SecretStr(settings.database) if settings.database else None
    for name, url in (
        ("postgresql", database),
        ("redis", settings.redis_url),
        ("s3", settings.s3_endpoint_url),
    ):
        if url is not None:
            yield name, host_of(url.get_secret_value())


def host_of(url: str) -> str:
    """Host and port, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]
