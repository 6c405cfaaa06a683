"""The three stores, and the settings that lead to them."""

import contextlib
import time
from collections.abc import Iterator, Sequence

from pydantic import SecretStr

from cli.stack import postgres, seaweedfs, valkey
from cli.stack.home import Home
from cli.stack.keeper import LOOK_EVERY_S, Keeper, PartState
from cli.stack.parts import Part
from cli.stack.passwords import SECRET_KEY, password
from cli.stack.ports import FreePorts
from db.settings import Settings


def own_stores(settings: Settings, home: Home, ports: FreePorts) -> tuple[Settings, list[Part]]:
    """The parts for those stores of which `settings` name no real server, and the settings with
    the addresses of all three, the secret key, and whether this machine needs API keys filled in.
    """
    parts: list[Part] = []
    found: dict[str, object] = {}
    if settings.secret_key is None:
        found["secret_key"] = SecretStr(password(home, SECRET_KEY))
    if settings.open_loopback is None:
        # What lies in somebody else's store is not this machine's to show to whoever is on it.
        found["open_loopback"] = not any(
            (settings.database, settings.redis_url, settings.s3_endpoint_url)
        )
    if settings.database is None:
        port = ports.one()
        # Each worker process holds up to two; the rest is for the web processes and a look inside.
        needed = 90 + 2 * settings.worker_processes
        parts.append(postgres.postgres(home, port, max_connections=needed))
        found["database_url"] = SecretStr(postgres.database_url(home, port))
    if settings.redis_url is None:
        port = ports.one()
        parts.append(valkey.valkey(home, port))
        found["redis_url"] = SecretStr(valkey.redis_url(home, port))
    if settings.s3_endpoint_url is None:
        weed = seaweedfs.WeedPorts.free(ports)
        parts.append(seaweedfs.seaweedfs(home, weed, settings.s3_bucket))
        found |= {
            "s3_endpoint_url": SecretStr(seaweedfs.endpoint_url(weed)),
            "aws_access_key_id": seaweedfs.ACCESS_KEY,
            "aws_secret_access_key": SecretStr(seaweedfs.secret_key(home)),
            "aws_session_token": None,
        }
    return settings.model_copy(update=found), parts


@contextlib.contextmanager
def running(parts: Sequence[Part], home: Home) -> Iterator[None]:
    """Runs `parts` for as long as the context lasts, without watching over them."""
    keepers = [Keeper(part, home.log(part.name)) for part in parts]
    try:
        for keeper in keepers:
            keeper.start()
        while any(keeper.state is not PartState.RUNNING for keeper in keepers):
            for keeper in keepers:
                keeper.tick()
            time.sleep(LOOK_EVERY_S)
        yield
    finally:
        for keeper in reversed(keepers):
            keeper.stop()
