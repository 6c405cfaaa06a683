"""Processes of a stack whose supervisor was killed."""

import contextlib
import signal
import time
from collections.abc import Iterable

import psutil

from cli.stack import postgres
from cli.stack.home import Home
from cli.stack.parts import MARKER
from cli.stack.state import read_state

STOP_LIMIT_S = 10.0
LOOK_EVERY_S = 0.05


def find_leftovers(home: Home) -> list[psutil.Process]:
    """The processes of this home's stack.

    They are known by their environment, by what the supervisor wrote down, and PostgreSQL's by
    their folder. Whoever calls this must hold the home, or bear that a new stack is among them.
    """
    found = {one.pid: one for one in psutil.process_iter() if _is_marked(one, home)}
    found |= {one.pid: one for one in postgres.leftovers(home)}
    view = read_state(home)
    for part in view.parts if view else ():
        if part.process and part.process.lives():
            with contextlib.suppress(psutil.Error):
                found[part.process.pid] = psutil.Process(part.process.pid)
    for own in (psutil.Process(), *psutil.Process().parents()):
        found.pop(own.pid, None)
    return list(found.values())


def stop_leftovers(home: Home) -> int:
    """Stops them, and returns how many there were; the caller holds the home."""
    found = find_leftovers(home)
    if not found:
        return 0
    for one in _parents_of_others(found):
        with contextlib.suppress(psutil.Error):
            one.send_signal(signal.SIGINT if one.name() == "postgres" else signal.SIGTERM)
    _wait(found)
    # Some may have been born since.
    stubborn = {*filter(_lives, found), *find_leftovers(home)}
    for one in stubborn:
        with contextlib.suppress(psutil.Error):
            one.kill()
    _wait(stubborn)
    return len(found)


def _wait(processes: Iterable[psutil.Process]) -> None:
    give_up_at = time.monotonic() + STOP_LIMIT_S
    while any(map(_lives, processes)) and time.monotonic() < give_up_at:
        time.sleep(LOOK_EVERY_S)


def _lives(process: psutil.Process) -> bool:
    """Whether it still does anything; in many containers nobody clears away what is dead."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _is_marked(process: psutil.Process, home: Home) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return bool(process.environ().get(MARKER) == str(home.path))
    return False


def _parents_of_others(found: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that have no parent among `found`: they stop their children themselves."""
    pids = {one.pid for one in found}
    tops = []
    for one in found:
        with contextlib.suppress(psutil.Error):
            if one.ppid() not in pids:
                tops.append(one)
    return tops
