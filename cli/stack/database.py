"""The database that a stack uses, for commands that write to it themselves."""

import contextlib
from collections.abc import Iterator

from cli.stack import postgres
from cli.stack.errors import StackError
from cli.stack.home import Home, existing_home, home_of
from cli.stack.plan import host_of
from cli.stack.session import running_stack
from cli.stack.state import PartView, live_state
from db.settings import Settings

EXTERNAL = "external"


@contextlib.contextmanager
def used_database(settings: Settings) -> Iterator[str]:
    """The address of the database: the one that is set, or else that of this home's stack.

    Where it is the stack's, one that runs is used, or one is started and stopped at the end.
    Raises `StackError`, also where the stack that runs uses another database than the one set.
    """
    if settings.database is not None:
        _check_running(settings, settings.database)
        yield settings.database
        return
    with running_stack(settings):
        home = existing_home(home_of(settings))
        yield _own_address(home)


def _check_running(settings: Settings, database_url: str) -> None:
    home = existing_home(home_of(settings))
    part = _database_part(home)
    if home and part and (part.state != EXTERNAL or part.address != host_of(database_url)):
        raise StackError(
            f"DATABASE_URL (or DB_HOST) names the database at {host_of(database_url)}, and the "
            f"stack that runs in {home.path} uses another one; stop it with `facebatch down`, or "
            "unset the variable"
        )


def _own_address(home: Home | None) -> str:
    part = _database_part(home)
    if home is None or part is None:
        raise StackError("the local stack stopped at this very moment; try again")
    if part.state == EXTERNAL:
        raise StackError(
            f"the stack that runs in {home.path} uses the database at {part.address}; set "
            "DATABASE_URL (or DB_HOST) here too, as it was set for the stack"
        )
    return postgres.database_url(home, int(part.address.rpartition(":")[2]))


def _database_part(home: Home | None) -> PartView | None:
    """The database as the stack that runs in the home has it; None where none runs."""
    view = live_state(home) if home else None
    parts = view.parts if view else ()
    return next((part for part in parts if part.name == postgres.NAME), None)
