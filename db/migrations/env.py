"""Runs migrations on the connection that db.prepare (or a test) hands over."""

from alembic import context

from db.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
