"""Exports of results into the bucket, and how the pixels of photos lie in their files."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FORMATS = ("jsonl", "csv", "parquet", "xmp", "subjects.jsonl", "subjects.csv")
STATES = ("queued", "running", "done", "failed")


def upgrade() -> None:
    op.add_column(
        "extraction",
        sa.Column("orientation", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_extraction_orientation"), "extraction", "orientation BETWEEN 1 AND 8"
    )
    op.create_table(
        "export",
        *_columns(),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_export_lease")
        ),
        sa.CheckConstraint(
            "(state = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_export_error")
        ),
        sa.CheckConstraint(
            "(state = 'done') = (object_key IS NOT NULL)", name=op.f("ck_export_object")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["job.tenant_id", "job.id"],
            name=op.f("fk_export_tenant_id_job_id_job"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_export_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export")),
    )
    op.create_index(op.f("ix_export_job_id_id"), "export", ["job_id", "id"])
    op.create_index(op.f("ix_export_expires_at"), "export", ["expires_at"])
    op.create_index(
        "ix_export_open",
        "export",
        ["due_at"],
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )


def _columns() -> list[sa.Column]:
    def text_of(name: str, values: tuple[str, ...]) -> sa.Enum:
        return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)

    def moment(name: str, *, nullable: bool) -> sa.Column:
        now = None if nullable or name == "expires_at" else sa.text("now()")
        return sa.Column(name, sa.DateTime(timezone=True), server_default=now, nullable=nullable)

    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("format", text_of("format", FORMATS), nullable=False),
        sa.Column("unknown_faces", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("state", text_of("state", STATES), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        moment("due_at", nullable=False),
        moment("dispatched_at", nullable=True),
        moment("lease_until", nullable=True),
        sa.Column("job_ended", sa.Boolean(), nullable=True),
        sa.Column("n_written", sa.BigInteger(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        moment("created_at", nullable=False),
        moment("finished_at", nullable=True),
        moment("expires_at", nullable=False),
    ]


def downgrade() -> None:
    op.drop_table("export")
    op.drop_constraint(op.f("ck_extraction_orientation"), "extraction", type_="check")
    op.drop_column("extraction", "orientation")
