"""Archives that go when a photo in them must, and uploads that clients send past us."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("archive", sa.Column("sha256", sa.LargeBinary(), nullable=True))
    op.add_column("upload", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "archive_copy",
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "archive_id"],
            ["archive.tenant_id", "archive.id"],
            name=op.f("fk_archive_copy_tenant_id_archive_id_archive"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "photo_id"],
            ["photo.tenant_id", "photo.id"],
            name=op.f("fk_archive_copy_tenant_id_photo_id_photo"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_archive_copy_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("photo_id", "archive_id", name=op.f("pk_archive_copy")),
    )
    op.create_index(
        op.f("ix_archive_copy_archive_id"), "archive_copy", ["archive_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_archive_copy_archive_id"), table_name="archive_copy")
    op.drop_table("archive_copy")
    op.drop_column("upload", "expires_at")
    op.drop_column("archive", "sha256")
