"""Stopping a stack from another process, and saying how it stands."""

import contextlib
import os
import signal
import time

from cli.stack.errors import StackError
from cli.stack.home import Home
from cli.stack.keeper import PartState
from cli.stack.leftovers import find_leftovers, stop_leftovers
from cli.stack.lock import FileLock
from cli.stack.state import Phase, StackView, live_state
from cli.telling import counted

STOP_LIMIT_S = 120.0
LOOK_EVERY_S = 0.1


def stop_stack(home: Home) -> bool:
    """Stops the stack of this home and what earlier ones left; False where nothing ran.

    Returns when nothing runs any more; raises `StackError` where that takes too long.
    """
    view = live_state(home)
    if view is not None:
        stop_supervisor(view)
    with FileLock(home.supervisor_lock) as lock:
        # A supervisor that is just starting, or a `down` beside us, gives it up soon enough.
        if not lock.exclusive(for_s=STOP_LIMIT_S):
            raise StackError(f"the stack of {home.path} does not stop; see {home.logs}")
        found = stop_leftovers(home)
        home.state.unlink(missing_ok=True)
    return view is not None or found > 0


def stop_supervisor(view: StackView) -> None:
    """Tells the supervisor to stop and waits until it is gone; raises `StackError`."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(view.supervisor.pid, signal.SIGTERM)
    give_up_at = time.monotonic() + STOP_LIMIT_S
    while view.supervisor.lives():
        if time.monotonic() > give_up_at:
            raise StackError(f"the supervisor (process {view.supervisor.pid}) does not stop")
        time.sleep(LOOK_EVERY_S)


def is_healthy(view: StackView) -> bool:
    """Whether every part runs."""
    return view.phase is Phase.READY and all(
        part.state in {PartState.RUNNING, "external"} for part in view.parts
    )


def describe(home: Home | None) -> tuple[str, bool]:
    """How the stack stands, for people, and whether all is well."""
    view = live_state(home) if home else None
    if view is not None:
        return _described(view), is_healthy(view)
    orphans = find_leftovers(home) if home else []
    if orphans:
        are_left = "is left" if len(orphans) == 1 else "are left"
        return (
            f"The supervisor is gone, and {counted(len(orphans), 'process', 'processes')} of its "
            f"stack {are_left}; "
            "`facebatch up` starts anew, `facebatch down` stops what is left."
        ), False
    return "The stack is not running; `facebatch up` starts it.", False


def _described(view: StackView) -> str:
    rows = [("PART", "STATE", "PID", "RESTARTS", "ADDRESS")]
    rows += [
        (
            part.name,
            part.state,
            str(part.process.pid) if part.process else "-",
            str(part.restarts),
            part.address,
        )
        for part in view.parts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += ["", f"The stack is {view.phase}. The API: {view.api_url or '-'}"]
    return "\n".join(lines)
