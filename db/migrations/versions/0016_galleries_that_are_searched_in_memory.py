"""The transaction that wrote a template, for galleries that are searched in memory."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Stable, not volatile: templates that are there get this transaction's number, and no row of
    # the table is written anew for it.
    op.add_column(
        "template",
        sa.Column(
            "written_by",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
    )
    op.create_index(
        op.f("ix_template_gallery_id_written_by"), "template", ["gallery_id", "written_by"]
    )
    op.drop_index(op.f("ix_template_gallery_id"), table_name="template")


def downgrade() -> None:
    op.create_index(op.f("ix_template_gallery_id"), "template", ["gallery_id"])
    op.drop_index(op.f("ix_template_gallery_id_written_by"), table_name="template")
    op.drop_column("template", "written_by")
