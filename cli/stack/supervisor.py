"""The supervisor: starts the parts in order, restarts what dies, stops everything."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from cli.stack.errors import AlreadyRunningError, StackError
from cli.stack.home import Home, check_space, home_errors
from cli.stack.keeper import Keeper
from cli.stack.leftovers import stop_leftovers
from cli.stack.lock import FileLock
from cli.stack.parts import Part
from cli.stack.plan import Plan, check_redis, make_plan
from cli.stack.state import PartView, Phase, ProcessId, StackView, read_state, write_state
from cli.telling import counted
from db.settings import Settings

TICK_S = 0.1
LOCK_PATIENCE_S = 1.5
"""Others take the lock for a moment, to see whether it is held."""
PREPARE_LIMIT_S = 120.0
HURRY_S = 0.5
LOOK_FOR_USERS_EVERY_S = 1.0


class _StopRequested(Exception):  # noqa: N818 - no error.
    """Somebody wants the stack to stop."""


class Supervisor:
    """Runs one stack in one home until it is told to stop."""

    def __init__(self, settings: Settings, home: Home, *, temporary: bool) -> None:
        self._settings = settings
        self._home = home
        self._temporary = temporary
        self._stops = 0
        self._phase = Phase.STARTING
        self._api_url = ""
        self._secret_fingerprint = ""
        self._external: tuple[tuple[str, str], ...] = ()
        self._groups: list[list[Keeper]] = []
        self._told: StackView | None = None
        self._process = ProcessId.of(os.getpid()) or ProcessId(pid=os.getpid(), started_at=0)

    def run(self) -> None:
        """Serves until SIGINT or SIGTERM; raises `StackError` where the stack does not start."""
        with (
            home_errors(self._home.path),
            self._the_home(),
            self._signals(),
            FileLock(self._home.users_lock) as self._users,
        ):
            try:
                self._tell()
                self._start(self._plan())
                self._watch()
            except _StopRequested:
                pass
            finally:
                self._stop()
                self._home.state.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _the_home(self) -> Iterator[None]:
        with FileLock(self._home.supervisor_lock) as lock:
            if not lock.exclusive(for_s=LOCK_PATIENCE_S):
                view = read_state(self._home)
                where = f" at {view.api_url}" if view and view.api_url else ""
                raise AlreadyRunningError(
                    f"the stack of {self._home.path} is already running{where}; "
                    "`facebatch status` shows its parts, `facebatch down` stops it"
                )
            yield

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
            signal.SIGINT: self._on_stop,
            signal.SIGTERM: self._on_stop,
            signal.SIGHUP: self._on_stop,
            signal.SIGUSR1: self._on_keep,
        }
        before = {one: signal.signal(one, handler) for one, handler in handlers.items()}
        if before[signal.SIGHUP] is signal.SIG_IGN:  # It was started with nohup.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _on_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _on_keep(self, _signal: int, _frame: FrameType | None) -> None:
        self._temporary = False

    def _plan(self) -> Plan:
        check_space(self._home)
        found = stop_leftovers(self._home)
        if found:
            _say(
                f"stopped {counted(found, 'process', 'processes')} that an earlier stack had left "
                "behind"
            )
        check_redis(self._settings)
        plan = make_plan(self._settings, self._home)
        self._api_url, self._external = plan.api_url, plan.external
        self._secret_fingerprint = plan.secret_fingerprint
        self._groups = [
            [Keeper(part, self._home.log(part.name)) for part in group] for group in plan.groups
        ]
        return plan

    def _start(self, plan: Plan) -> None:
        stores, workers, web = self._groups
        self._start_group(stores)
        self._prepare(plan.preparation)
        self._start_group([*workers, *web])
        self._phase = Phase.READY
        self._tell()
        _say(f"the API listens at {self._api_url} (docs: {self._api_url}/docs)")

    def _start_group(self, group: Sequence[Keeper]) -> None:
        began_at = time.monotonic()
        for keeper in group:
            keeper.start()
        waiting = list(group)
        while waiting:
            self._breathe()
            for keeper in [one for one in waiting if one.was_ready]:
                _say(f"{keeper.part.name} is ready ({time.monotonic() - began_at:.1f} s)")
                waiting.remove(keeper)

    def _prepare(self, part: Part) -> None:
        """Runs the preparation to its end; raises `StackError`."""
        keeper = Keeper(part, self._home.log(part.name))
        try:
            returncode = keeper.run_once(self._breathe, limit_s=PREPARE_LIMIT_S)
        finally:
            keeper.kill()
        if returncode != 0:
            said = keeper.tail().strip().removeprefix("facebatch: ")
            raise StackError(
                f"the stores could not be made ready: {said or f'status {returncode}'}"
                + "".join(f"\n  {name} is the one at {where}" for name, where in self._external)
            )

    def _watch(self) -> None:
        """Restarts what dies, until the stop; a temporary stack stops once nobody uses it."""
        look_at = time.monotonic() + LOOK_FOR_USERS_EVERY_S
        while True:
            self._breathe()
            if self._temporary and time.monotonic() > look_at:
                look_at = time.monotonic() + LOOK_FOR_USERS_EVERY_S
                if self._users.exclusive():
                    return

    def _breathe(self) -> None:
        """Waits a moment and looks at every part; raises `_StopRequested`, `StackError`."""
        time.sleep(TICK_S)
        if self._stops:
            raise _StopRequested
        for keeper in self._keepers():
            before = keeper.state
            keeper.tick()
            if keeper.state is not before and keeper.trouble:
                _say(f"{keeper.part.name}: {keeper.trouble}; starting it again")
        self._tell()

    def _stop(self) -> None:
        """Stops the parts in reverse order; those of a group at the same time."""
        self._phase = Phase.STOPPING
        self._tell()
        for group in reversed(self._groups):
            for keeper in reversed(group):
                keeper.ask_to_stop()
            asked_at = time.monotonic()
            for keeper in reversed(group):
                while not keeper.has_stopped():
                    limit_s = HURRY_S if self._stops > 1 else keeper.part.stop_limit_s
                    if time.monotonic() > asked_at + limit_s:
                        _say(f"{keeper.part.name} does not stop, and is killed")
                        keeper.kill()
                    time.sleep(TICK_S / 2)
                self._tell()
        stop_leftovers(self._home)

    def _keepers(self) -> list[Keeper]:
        return [keeper for group in self._groups for keeper in group]

    def _tell(self) -> None:
        """Writes the state down for others where it has changed."""
        view = StackView(
            supervisor=self._process,
            phase=self._phase,
            temporary=self._temporary,
            api_url=self._api_url,
            parts=tuple(
                [_external_view(name, address) for name, address in self._external]
                + [_view(keeper) for keeper in self._keepers()]
            ),
            secret_fingerprint=self._secret_fingerprint,
        )
        if view == self._told:
            return
        # A full disk must not take down what still runs.
        with contextlib.suppress(OSError):
            write_state(self._home, view)
            self._told = view


def _external_view(name: str, address: str) -> PartView:
    return PartView(name=name, state="external", process=None, restarts=0, address=address)


def _view(keeper: Keeper) -> PartView:
    return PartView(
        name=keeper.part.name,
        state=keeper.state.value,
        process=keeper.process_id,
        restarts=keeper.restarts,
        address=keeper.part.address,
    )


def _say(line: str) -> None:
    # Whoever read these lines may have gone away.
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
