"""A worker beside the stack's own, as on another machine: no supervisor watches over it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.soak.hand import Hand, NothingThereError, kill_group
from bench.soak.stack import SoakError, arm, wait_for
from db.failpoints import Failpoint

START_LIMIT_S = 30.0
OF_THE_STACKS_ALONE = "FACEBATCH_HEARTBEAT_FILE"
"""By this the supervisor watches over its own worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """The worker, with one process that computes."""

    pid: int
    failpoints: Path

    @property
    def child(self) -> int:
        """The process that computes; 0 where it is not there."""
        with contextlib.suppress(psutil.Error):
            return next((one.pid for one in psutil.Process(self.pid).children()), 0)
        return 0

    def halts_at(self, point: Failpoint) -> Path:
        """Has the process that computes halt at `point`; returns what it takes away."""
        return arm(self.failpoints, point, halts=True)

    def sleep(self) -> None:
        """Stops all of it, as when its machine is put to sleep."""
        os.killpg(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Lets the process that computes go on, before its parent can see to it."""
        os.kill(self.child, signal.SIGCONT)


@contextlib.contextmanager
def guest(hand: Hand) -> Iterator[Guest]:
    """A guest that is ready, and is killed at the end; raises `NothingThereError`."""
    stack = hand.stack
    failpoints = stack.home.path.parent / "guest"
    failpoints.mkdir(exist_ok=True)
    command, environ = _as_the_stacks(hand.pid("worker"))
    with (stack.home.path.parent / "guest.txt").open("ab") as said:
        process = subprocess.Popen(
            [*command, "--concurrency", "1"],
            env=environ | {"FACEBATCH_FAILPOINTS": str(failpoints)},
            cwd=stack.home.logs,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    one = Guest(pid=process.pid, failpoints=failpoints)
    try:
        try:
            wait_for(lambda: one.child, "a second worker starts", limit_s=START_LIMIT_S)
        except SoakError as exc:
            raise NothingThereError(str(exc)) from exc
        yield one
    finally:
        kill_group(process.pid)
        process.wait()


def _as_the_stacks(pid: int) -> tuple[list[str], dict[str, str]]:
    try:
        worker = psutil.Process(pid)
        environ = worker.environ()
        command = worker.cmdline()
    except psutil.Error as exc:
        raise NothingThereError("the worker has just gone") from exc
    environ.pop(OF_THE_STACKS_ALONE, None)
    return command, environ
