"""Ports on loopback: which are free, and who answers."""

import http.client
import random
import socket

from cli.stack.errors import StackError

LOOPBACK = "127.0.0.1"
# Below 32768, where Linux begins to lend ports to outgoing connections: a part that is restarted
# finds its port as free as it left it.
LOWEST, HIGHEST = 10_000, 32_000
GRPC_OFFSET = 10_000
TRIES = 1_000


def is_free(port: int) -> bool:
    """Whether somebody could listen on `port` now."""
    with socket.socket() as probe:
        # As servers do it: connections that are closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether somebody listens on `port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def is_healthy(port: int, path: str) -> bool:
    """Whether an HTTP server on `port` says at `path` that all is well."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class FreePorts:
    """Hands out ports that are free, none twice. At random, so that two stacks seldom meet."""

    def __init__(self) -> None:
        self._given: set[int] = set()
        self._random = random.SystemRandom()

    def one(self) -> int:
        """A free port; raises `StackError` where there is none."""
        return self._find(HIGHEST, 0)

    def pair(self) -> int:
        """A port that is free together with the one 10,000 above it, where SeaweedFS has gRPC."""
        return self._find(HIGHEST - GRPC_OFFSET, GRPC_OFFSET)

    def _find(self, highest: int, offset: int) -> int:
        for _ in range(TRIES):
            port = self._random.randint(LOWEST, highest)
            wanted = {port, port + offset}
            if not wanted & self._given and all(is_free(one) for one in wanted):
                self._given |= wanted
                return port
        raise StackError(f"no free port on {LOOPBACK} between {LOWEST} and {highest}")
