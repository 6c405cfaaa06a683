"""Using a stack from a command: the one that runs, or one that is started for it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from cli.progress import Step, steps_for
from cli.stack.app_parts import settings_environ
from cli.stack.control import stop_supervisor
from cli.stack.errors import StackError
from cli.stack.home import Home, home_errors, home_of, open_home
from cli.stack.keeper import PartState, private_log, tail
from cli.stack.lock import FileLock
from cli.stack.parts import python
from cli.stack.state import Phase, StackView, live_state
from db.settings import Settings

START_LIMIT_S = 300.0
KEEP_LIMIT_S = 10.0
LOOK_EVERY_S = 0.1
ERROR_PREFIX = "facebatch: "


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStack:
    """A stack that is ready."""

    api_url: str


@contextlib.contextmanager
def running_stack(settings: Settings) -> Iterator[RunningStack]:
    """The stack of these settings' home: the one that runs, else one that is started here.

    One that was started here, or by another user of this function, is stopped by the last user.
    Raises `StackError`.
    """
    home = open_home(home_of(settings))
    with _as_user(home) as users:
        try:
            view = _ensure_up(settings, home, temporary=True)
            with interrupts_told():
                yield RunningStack(api_url=view.api_url)
        finally:
            _leave(home, users)


def start_detached(settings: Settings) -> RunningStack:
    """Makes sure that a stack runs, and goes on when we and our terminal are gone.

    Raises `StackError`.
    """
    home = open_home(home_of(settings))
    with _as_user(home):
        view = _ensure_up(settings, home, temporary=False)
        if view.temporary:
            _keep(home, view)
    return RunningStack(api_url=view.api_url)


@contextlib.contextmanager
def _as_user(home: Home) -> Iterator[FileLock]:
    """Keeps temporary stacks from stopping; waits for one that is about to stop."""
    with contextlib.ExitStack() as opened:
        with home_errors(home.path):
            users = opened.enter_context(FileLock(home.users_lock))
        if not users.shared(for_s=START_LIMIT_S):
            raise StackError(f"the stack of {home.path} is stopping, and does not come to an end")
        yield users


@contextlib.contextmanager
def interrupts_told() -> Iterator[None]:
    """Says at once that an interrupt was heard: stopping takes seconds."""
    try:
        yield
    except KeyboardInterrupt:
        _say("interrupted; run it again to go on")
        raise


def _say(message: str) -> None:
    # Stopping must go on where nobody hears of it: a terminal that hangs up is gone.
    with contextlib.suppress(OSError):
        print(f"{ERROR_PREFIX}{message}", file=sys.stderr, flush=True)


def _leave(home: Home, users: FileLock) -> None:
    """Stops a temporary stack where we were its last user."""
    if not users.exclusive():
        return
    view = live_state(home)
    if view is not None and view.temporary:
        _say("stopping the local stack")
        stop_supervisor(view)


def _keep(home: Home, view: StackView) -> None:
    """Makes a temporary stack a lasting one."""
    os.kill(view.supervisor.pid, signal.SIGUSR1)
    give_up_at = time.monotonic() + KEEP_LIMIT_S
    while True:
        now = live_state(home)
        if now is None or time.monotonic() > give_up_at:
            raise StackError(f"the stack of {home.path} stopped at this very moment; try again")
        if not now.temporary:
            return
        time.sleep(LOOK_EVERY_S)


def _ensure_up(settings: Settings, home: Home, *, temporary: bool) -> StackView:
    """A stack that is ready; shows what it waits for."""
    view = live_state(home)
    if view is not None and view.phase is Phase.READY:
        return view
    starter = _Starter(settings, home, temporary=temporary)
    try:
        with interrupts_told():
            return _wait_until_ready(home, starter)
    except BaseException:
        starter.stop()
        raise


def _wait_until_ready(home: Home, starter: "_Starter") -> StackView:
    give_up_at = time.monotonic() + START_LIMIT_S
    with contextlib.ExitStack() as shown:
        step: Step | None = None
        while time.monotonic() < give_up_at:
            view = live_state(home)
            if view is None:
                starter.start_or_raise()
            elif view.phase is Phase.READY:
                if step:
                    step.at(len(view.parts))
                return view
            elif view.parts:
                step = step or shown.enter_context(
                    Step(steps_for(sys.stderr), "starting the local stack, parts", len(view.parts))
                )
                step.at(sum(part.state in {PartState.RUNNING, "external"} for part in view.parts))
            time.sleep(LOOK_EVERY_S)
    raise StackError(
        f"the local stack was not ready after {START_LIMIT_S:.0f} s; the last lines of its log:\n"
        + tail(home.log("supervisor"))
    )


class _Starter:
    """A supervisor of our own in the background, if one is needed."""

    def __init__(self, settings: Settings, home: Home, *, temporary: bool) -> None:
        self._settings = settings
        self._home = home
        self._temporary = temporary
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start_bytes = 0

    def start_or_raise(self) -> None:
        """Called while no stack runs: starts one, once; raises `StackError` where that ended."""
        if self._process is None:
            self._start()
        elif self._process.poll() is not None:
            raise StackError(self._last_words())

    def stop(self) -> None:
        """Stops what was started here and did not get ready."""
        if self._process and self._process.poll() is None:
            _say("stopping the local stack")
            self._process.terminate()
            self._process.wait()

    def _start(self) -> None:
        with home_errors(self._home.path):
            log, self._log_start_bytes = private_log(self._home.log("supervisor"))
        hidden = ["--temporary"] if self._temporary else []
        with log:
            self._process = subprocess.Popen(
                python("cli.main", "up", *hidden),
                # The home itself: another spelling of it would be another home to its parts.
                env=settings_environ(self._settings) | {"FACEBATCH_HOME": str(self._home.path)},
                cwd=self._home.path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _last_words(self) -> str:
        """The error that the supervisor wrote, or else the end of its log."""
        text = tail(self._home.log("supervisor"), self._log_start_bytes, lines=30, indent="")
        _, found, message = text.rpartition("\n" + ERROR_PREFIX)
        if text.startswith(ERROR_PREFIX) and not found:
            return text.removeprefix(ERROR_PREFIX)
        return message if found else f"the local stack does not start; it said:\n{text}"
