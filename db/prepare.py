"""Makes the stores ready: schema, tenant and bucket. Running it again changes nothing.

Run as `python -m db.prepare`, before anything else starts.
"""

import gc
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.roles import ensure_roles
from db.session import Database, Role, make_database, transaction
from db.settings import Settings, SettingsError, load_settings
from db.snapshots.reading import rewrite_later_templates
from db.storage import ObjectStore
from db.tenants import LOCAL_TENANT, ensure_model, ensure_tenant
from pipeline.errors import FaceBatchError
from pipeline.specs import ENGINE_SPECS

MIGRATION_LOCK = 0x66616365  # Any number; it says "face".


def migrate(database: Database) -> None:
    """Brings roles and schema to the latest revision; several may call it at once.

    Raises `SettingsError` where the roles are missing, and may not be made.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        ensure_roles(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def prepare(settings: Settings) -> None:
    """Schema, models, tenant `local` and bucket; raises `FaceBatchError`."""
    settings.require_stores()
    database = make_database(settings.database or "", role=Role.OWNER)
    try:
        prepare_database(database)
    finally:
        database.dispose()
    ObjectStore.from_settings(settings).ensure_bucket()


def prepare_database(database: Database) -> None:
    """Schema, models and tenant `local`; raises `FaceBatchError`."""
    with transaction(database) as session:
        session.execute(text("SELECT 1"))
    try:
        migrate(database)
    except DBAPIError as exc:
        raise SettingsError("the database cannot take our schema") from exc
    except CommandError as exc:
        raise SettingsError("the database is one of another version of facebatch") from exc
    with transaction(database) as session:
        ensure_tenant(session, LOCAL_TENANT)
        # Requests find them, and may make none.
        for spec in ENGINE_SPECS.values():
            ensure_model(session, spec)
        rewrite_later_templates(session)


def main() -> int:
    """Prepares the stores that the environment names; 1 with a line on stderr where it can't."""
    try:
        prepare(load_settings())
    except FaceBatchError as exc:
        sys.stderr.write(f"facebatch: {exc}{_reason(exc)}\n")
        return 1
    return 0


def _reason(exc: FaceBatchError) -> str:
    """What the store itself said, in one line; whoever starts the stack has to put it right."""
    said = str(getattr(exc.__cause__, "orig", exc.__cause__) or "").strip()
    return ": " + said.splitlines()[0] if said else ""


if __name__ == "__main__":
    status = main()
    gc.freeze()  # What is left goes with the process; to look through it takes a second.
    sys.exit(status)
