"""The database of a deployment, and its secret key, for commands that say who may call.

They ask no API: the first key must come from somewhere.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import click
from pydantic import SecretStr

from cli.stack.database import used_database
from cli.stack.errors import StackError
from cli.stack.home import existing_home, home_of
from cli.stack.passwords import SECRET_KEY, has_password, password
from cli.stack.state import live_state
from db.derived_keys import Purpose, derived_key, fingerprint
from db.prepare import prepare_database
from db.session import Database, Role, Session, make_database, retried
from db.settings import Settings, load_settings
from db.tenants import LOCAL_TENANT, require_tenant

T = TypeVar("T")
TENANT = click.option(
    "--tenant",
    default=LOCAL_TENANT,
    show_default=True,
    metavar="NAME",
    help="Whose keys: see `facebatch tenants`.",
)


def on_database(work: Callable[[Session], T]) -> T:
    """What `work` returns, once it is committed. Raises `StackError`, `FaceBatchError`."""
    with _database(load_settings()) as database:
        return retried(database, work)


def on_tenant(tenant: str, work: Callable[[Session, int], T]) -> T:
    """Likewise, for a tenant that there is; raises `TenantNotFoundError` too."""
    return on_database(lambda session: work(session, require_tenant(session, tenant)))


def with_hashing_key(tenant: str, work: Callable[[Session, int, bytes], T]) -> T:
    """Likewise, with what keys are hashed with; raises `SettingsError` where that is unknown."""
    settings = load_settings()
    with _database(settings) as database:
        hashing_key = derived_key(_with_secret(settings), Purpose.API_KEYS)
        return retried(
            database, lambda session: work(session, require_tenant(session, tenant), hashing_key)
        )


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    with used_database(settings) as database_url:
        owner = make_database(database_url, role=Role.OWNER)
        database = make_database(database_url, role=Role.SYSTEM)
        try:
            prepare_database(owner)
            yield database
        finally:
            owner.dispose()
            database.dispose()


def _with_secret(settings: Settings) -> Settings:
    """The settings with the secret key of the server that is to know the keys.

    That is the setting's, or else that of this home's stack. Raises `SettingsError` where there is
    none, and `StackError` where the stack that runs has another.
    """
    home = existing_home(home_of(settings))
    view = live_state(home) if home else None
    if settings.secret_key is None and home and view and has_password(home, SECRET_KEY):
        settings = settings.model_copy(update={"secret_key": SecretStr(password(home, SECRET_KEY))})
    settings.require_secret_key()
    if home and view and view.secret_fingerprint != fingerprint(settings):
        raise StackError(
            f"the stack that runs in {home.path} has another FACEBATCH_SECRET_KEY, and would not "
            "know the key; set it here as it was set for the stack"
        )
    return settings
