"""What a part of the stack is: a process, how to start it, and how to know that it is ready."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MARKER = "LOCAL_FACEBATCH_STACK"
"""Names the home in the environment of every process of a stack: so orphans are found again."""


def nothing() -> None:
    """For parts that need no preparation or cleaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of the stack. Nothing in it changes while the stack runs."""

    name: str
    command: tuple[str, ...]
    """Never with a secret in it: everybody can read it."""
    environ: Mapping[str, str]
    """The whole environment."""
    is_ready: Callable[[int], bool]
    """Whether the process with this id does its work; called often, and must not wait long."""
    address: str = "-"
    """For people; without secrets."""
    prepare: Callable[[], None] = nothing
    """Called before every start; raises `StackError`."""
    clean: Callable[[], None] = nothing
    """Called after the end of the process."""
    niceness: int = 0
    """Above 0, others come first where there are not cores enough."""
    stop_signal: signal.Signals = signal.SIGTERM
    start_limit_s: float = 60.0
    """A process that is not ready after this long is taken for stuck."""
    stop_limit_s: float = 15.0
    """A process that does not stop within this long is killed."""
    heartbeat: Path | None = None
    """The file that the process touches while it is well, where it is one that does."""
    silence_limit_s: float = 30.0
    """A process that has not touched it for this long hangs, and is started again."""


def bare_environ(home: Path, *, user_home: Path | None = None) -> dict[str, str]:
    """An environment for a server that has no need of ours."""
    kept = ("PATH", "LANG", "TZ", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "HOME": str(user_home or home),
        MARKER: str(home),
    }


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs `module` in this very Python."""
    return (sys.executable, "-m", module, *arguments)
