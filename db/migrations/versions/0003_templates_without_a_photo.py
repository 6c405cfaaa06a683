"""Templates that were imported, and come from no photo."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("template", "embedding_id", nullable=True)


def downgrade() -> None:
    # Refused while there are imported templates: nothing but the user may delete them.
    op.alter_column("template", "embedding_id", nullable=False)
