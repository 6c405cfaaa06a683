"""The bucket of the object that a source named for an item, beside its key."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("item", sa.Column("source_bucket", sa.Text(), nullable=True))
    # Jobs that have ended take no source again.
    op.execute("""
        UPDATE item SET source_bucket = source.bucket
        FROM source, job
        WHERE source.id = item.source_id AND job.id = item.job_id
          AND job.state IN ('queued', 'running') AND item.source_key IS NOT NULL
    """)


def downgrade() -> None:
    op.drop_column("item", "source_bucket")
