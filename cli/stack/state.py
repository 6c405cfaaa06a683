"""What the supervisor tells others, in a file of its home."""

import contextlib
import dataclasses
import enum
import json
from dataclasses import dataclass

import psutil

from cli.stack.home import Home, write_private
from cli.stack.lock import FileLock

SAME_START_S = 2.0
"""Two readings of a process's start may differ by so much when the clock is set meanwhile."""


class Phase(enum.StrEnum):
    """Where a stack stands."""

    STARTING = "starting"
    """Its parts are being started for the first time."""
    READY = "ready"
    """All parts were ready once; those that die are restarted."""
    STOPPING = "stopping"
    """Its parts are being stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """A process, told from later ones of the same number by its start."""

    pid: int
    started_at: float

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """The process that has this number now, if any; one that has ended is none."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                return cls(pid=pid, started_at=process.create_time())
        return None

    def lives(self) -> bool:
        """Whether the process still runs."""
        now = ProcessId.of(self.pid)
        return now is not None and abs(now.started_at - self.started_at) < SAME_START_S


@dataclass(frozen=True, slots=True, kw_only=True)
class PartView:
    """A part as others see it."""

    name: str
    state: str
    process: ProcessId | None
    restarts: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackView:
    """A stack as others see it."""

    supervisor: ProcessId
    phase: Phase
    temporary: bool
    """It stops when nobody uses it any more."""
    api_url: str
    parts: tuple[PartView, ...]
    secret_fingerprint: str = ""
    """Of the secret key that its parts have; empty before that is known."""


def write_state(home: Home, view: StackView) -> None:
    """Replaces what was told before."""
    write_private(home.state, json.dumps(dataclasses.asdict(view), indent=1) + "\n")


def read_state(home: Home) -> StackView | None:
    """What the supervisor told last, whether it lives or not; None where that is nothing."""
    try:
        told = json.loads(home.state.read_text(encoding="utf-8"))
        return StackView(
            supervisor=ProcessId(**told["supervisor"]),
            phase=Phase(told["phase"]),
            temporary=bool(told["temporary"]),
            api_url=str(told["api_url"]),
            parts=tuple(_part(part) for part in told["parts"]),
            secret_fingerprint=str(told.get("secret_fingerprint", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def live_state(home: Home) -> StackView | None:
    """What a living supervisor told last; None where there is none."""
    if not is_supervised(home):
        return None
    view = read_state(home)
    return view if view and view.supervisor.lives() else None


def is_supervised(home: Home) -> bool:
    """Whether some process holds this home."""
    if not home.supervisor_lock.exists():
        return False
    with FileLock(home.supervisor_lock) as lock:
        return not lock.shared()


def _part(told: dict[str, object]) -> PartView:
    process = told.pop("process")
    return PartView(
        process=ProcessId(**process) if isinstance(process, dict) else None,
        **told,  # type: ignore[arg-type]
    )
