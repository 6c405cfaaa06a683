"""Faces that are cut out of their photos."""

import sqlalchemy as sa
from alembic import op

from db.migrations.row_security import secure_table

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

STATES = ("queued", "running", "done", "failed")


def upgrade() -> None:
    state = sa.Enum(*STATES, name="state", native_enum=False, create_constraint=True, length=32)
    op.create_table(
        "crop",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("face_id", sa.BigInteger(), nullable=False),
        sa.Column("margin_percent", sa.SmallInteger(), nullable=False),
        sa.Column("size_px", sa.SmallInteger(), nullable=False),
        sa.Column("state", state, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        _moment("due_at", server_default=sa.text("now()"), nullable=False),
        _moment("dispatched_at", nullable=True),
        _moment("lease_until", nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        _moment("expires_at", nullable=False),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_crop_lease")
        ),
        sa.CheckConstraint(
            "(state = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_crop_error")
        ),
        sa.CheckConstraint("(state = 'done') = (data IS NOT NULL)", name=op.f("ck_crop_data")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "face_id"],
            ["face.tenant_id", "face.id"],
            name=op.f("fk_crop_tenant_id_face_id_face"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_crop_tenant_id_tenant"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crop")),
        sa.UniqueConstraint(
            *("face_id", "margin_percent", "size_px"),
            name=op.f("uq_crop_face_id_margin_percent_size_px"),
        ),
        # Pictures of faces are in no archive of the server's log.
        prefixes=["UNLOGGED"],
    )
    op.create_index(op.f("ix_crop_tenant_id_expires_at"), "crop", ["tenant_id", "expires_at"])
    op.create_index(
        "ix_crop_open",
        "crop",
        ["due_at"],
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    secure_table("crop")


def _moment(name: str, **more: object) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), **more)


def downgrade() -> None:
    op.drop_table("crop")
