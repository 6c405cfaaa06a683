"""Jobs that are deleted after a while."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("delete_after", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        op.f("ix_job_delete_after"),
        "job",
        ["delete_after"],
        unique=False,
        postgresql_where=sa.text("delete_after IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_job_delete_after"), table_name="job")
    op.drop_column("job", "delete_after")
