"""The migrations make the tables that the models describe."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from db.models import Base
from db.prepare import migrate, prepare_database
from db.session import Database, transaction
from db.settings import SettingsError


def test_the_migrations_agree_with_the_models(owners: Database) -> None:
    with owners.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert differences == []


def test_migrating_again_changes_nothing(owners: Database) -> None:
    migrate(owners)
    migrate(owners)


def test_the_schema_of_a_later_version_is_refused_in_a_sentence(owners: Database) -> None:
    with transaction(owners) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SettingsError, match="another version of facebatch"):
        prepare_database(owners)
