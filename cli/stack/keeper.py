"""Keeps one part running: starts it, sees it die, starts it again, stops it."""

import contextlib
import ctypes
import enum
import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from cli.stack.errors import StackError
from cli.stack.parts import Part
from cli.stack.state import ProcessId

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
STEADY_S = 15.0
"""A process that ran for so long owes nothing to those before it: the next pause is short again."""
FIRST_TRIES = 3
"""Starts that may fail before a part that never was ready is given up."""
LOOK_EVERY_S = 0.05
AUTOGROUP = Path("/proc/self/autogroup")
AUTOGROUP_TRIES, AUTOGROUP_PAUSE_S = 5, 0.11
"""The kernel takes one such wish in a tenth of a second, of all who are not root."""
ROTATE_BYTES = 10_000_000
TAIL_LINES = 8
TAIL_BYTES = 8_000


class PartFailedError(StackError):
    """A part did not come up, and would not."""

    def __init__(self, name: str, trouble: str, log_tail: str) -> None:
        said = f"; it said:\n{log_tail}" if log_tail else ", without a word"
        super().__init__(f"{name} does not start: {trouble}{said}")


class PartState(enum.StrEnum):
    """Where a part stands."""

    STARTING = "starting"
    """Its process runs and does not do its work yet."""
    RUNNING = "running"
    """It was ready, and its process runs."""
    WAITING = "waiting"
    """Its process died, and will be started again in a moment."""
    STOPPED = "stopped"
    """It was not started yet, or was stopped."""


class Keeper:
    """One part and its process, if any. `tick` must be called often."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.state = PartState.STOPPED
        self.restarts = 0
        self.was_ready = False
        self.trouble = ""
        """Why the last process ended, where it should not have."""
        self._log = log
        self._log_start_bytes = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._process_id: ProcessId | None = None
        self._failures = 0
        self._since = 0.0
        self._beat_ns = 0
        self._beat_at = 0.0

    @property
    def process_id(self) -> ProcessId | None:
        """The process that runs."""
        return self._process_id

    def start(self) -> None:
        """Starts the process; raises `StackError` where that is hopeless."""
        log, self._log_start_bytes = private_log(self._log)
        log.close()
        self._spawn()

    def tick(self) -> None:
        """Looks once; raises `StackError` where a part that never was ready is given up."""
        now = time.monotonic()
        if self.state is PartState.WAITING:
            if now >= self._since + self._pause_s():
                self._restart()
        elif self._process and self._process.poll() is not None:
            self._mourn(f"it ended with status {self._process.returncode}")
        elif self.state is PartState.STARTING:
            self._look_whether_ready(now)
        elif self._is_silent(now):
            self._mourn(f"it gave no sign of life for {self.part.silence_limit_s:.0f} s")
        elif self.state is PartState.RUNNING and now > self._since + STEADY_S:
            self._failures = 0

    def run_once(self, breathe: Callable[[], None], *, limit_s: float) -> int:
        """Runs a process that ends by itself; returns its exit status, -9 after `limit_s`.

        `breathe` is called while it runs, and may raise.
        """
        self.start()
        deadline = time.monotonic() + limit_s
        while self._process and self._process.poll() is None:
            if time.monotonic() > deadline:
                return -signal.SIGKILL
            breathe()
        return self._process.returncode if self._process else 0

    def ask_to_stop(self) -> None:
        """Sends the stop signal, and does not wait."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(self.part.stop_signal)

    def has_stopped(self) -> bool:
        """Whether the process is gone, which also takes away what it left."""
        if self._process:
            if self._process.poll() is None:
                return False
            self._bury()
        self.state = PartState.STOPPED
        return True

    def stop(self) -> None:
        """Stops the process, waits for that, and kills it where it takes too long."""
        self.ask_to_stop()
        deadline = time.monotonic() + self.part.stop_limit_s
        while not self.has_stopped():
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(LOOK_EVERY_S)

    def kill(self) -> None:
        """Ends the process and its children now."""
        if self._process:
            _kill_group(self._process.pid)
            self._process.wait()
            self._bury()
        self.state = PartState.STOPPED

    def tail(self) -> str:
        """The last lines that the part wrote since it was first started."""
        return tail(self._log, self._log_start_bytes)

    def _spawn(self) -> None:
        self.part.prepare()
        if self.part.heartbeat is not None:
            # So that one is missed that hangs before its first beat.
            with contextlib.suppress(OSError):
                self.part.heartbeat.touch()
        with _appending(self._log) as log:
            try:
                self._process = subprocess.Popen(
                    self.part.command,
                    env=dict(self.part.environ),
                    cwd=self._log.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Of its own, so that Ctrl-C reaches the supervisor alone, and a kill all of it.
                    start_new_session=True,
                    umask=0o077,
                    # Safe: whoever keeps parts has one thread, or its others hold no lock of libc.
                    preexec_fn=functools.partial(  # noqa: PLW1509
                        _begin, self.part.stop_signal, self.part.niceness
                    ),
                )
            except OSError as exc:
                program = self.part.command[0]
                raise StackError(f"{program} cannot be started: {exc.strerror}") from exc
        self._process_id = ProcessId.of(self._process.pid)
        self.state = PartState.STARTING
        self.trouble = ""
        self._since = time.monotonic()

    def _restart(self) -> None:
        self.restarts += 1
        try:
            self._spawn()
        except StackError as exc:
            # What is wrong (a full disk, say) may be put right while we go on trying.
            self._mourn(str(exc))

    def _look_whether_ready(self, now: float) -> None:
        if self._process and self.part.is_ready(self._process.pid):
            self.state = PartState.RUNNING
            self.was_ready = True
            self._since = self._beat_at = now
        elif now > self._since + self.part.start_limit_s:
            # Starting it again would only double the wait.
            self._failures = FIRST_TRIES
            self._mourn(f"it was not ready after {self.part.start_limit_s:.0f} s")

    def _is_silent(self, now: float) -> bool:
        """Whether its file stands still. That is told by our own clock, which nobody sets."""
        if self.state is not PartState.RUNNING or self.part.heartbeat is None:
            return False
        try:
            beat_ns = self.part.heartbeat.stat().st_mtime_ns
        except OSError:
            return False  # The disk was full when it was to be made.
        if beat_ns != self._beat_ns:
            self._beat_ns, self._beat_at = beat_ns, now
        return now > self._beat_at + self.part.silence_limit_s

    def _mourn(self, trouble: str) -> None:
        """Puts the next start off; gives up a part that never worked."""
        self.kill()
        self._failures += 1
        if not self.was_ready and self._failures >= FIRST_TRIES:
            raise PartFailedError(self.part.name, trouble, self.tail())
        self.state = PartState.WAITING
        self.trouble = trouble
        self._since = time.monotonic()

    def _pause_s(self) -> float:
        return float(min(FIRST_PAUSE_S * 2 ** (self._failures - 1), LONGEST_PAUSE_S))

    def _bury(self) -> None:
        if self._process:
            _kill_group(self._process.pid)
        self._process = self._process_id = None
        self.part.clean()


def private_log(path: Path) -> tuple[IO[bytes], int]:
    """The log, open for appending, and its size; one that has grown large is put aside first."""
    if path.exists() and path.stat().st_size > ROTATE_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    log = _appending(path)
    return log, log.seek(0, os.SEEK_END)


def tail(path: Path, after_bytes: int = 0, *, lines: int = TAIL_LINES, indent: str = "  ") -> str:
    """The last lines of a log, from what was written after its first `after_bytes`."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            # A log that was rotated meanwhile is new from its beginning.
            file.seek(max(after_bytes if after_bytes <= end else 0, end - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    written = [line for line in text.splitlines() if line.strip()]
    return "\n".join(indent + line for line in written[-lines:])


def _begin(stop_signal: signal.Signals, niceness: int) -> None:
    """Has the kernel stop this process when its parent dies, as it does when that is killed."""
    _libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(stop_signal), *(ctypes.c_ulong(0),) * 3)
    if niceness:
        _be_nice(niceness)


def _be_nice(niceness: int) -> None:
    """Has this session give way to others.

    Where the kernel shares processors among sessions (sched(7), "The autogroup feature"), how nice
    a process is counts only within its own, which here has no other part in it.
    """
    os.nice(niceness)
    for _ in range(AUTOGROUP_TRIES):
        try:
            AUTOGROUP.write_text(str(niceness), encoding="ascii")
        except BlockingIOError:
            time.sleep(AUTOGROUP_PAUSE_S)
        except OSError:
            return  # There is none, or /proc cannot be written to.
        else:
            return


def _appending(log: Path) -> IO[bytes]:
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
