"""Sources of many photos at once, and jobs that can be paused, ranked and tried again."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_archives()
    _add_photos()
    _add_jobs()
    _add_galleries_of_jobs()
    _add_sources()
    _add_items()
    _add_events()
    _add_extractions()


def downgrade() -> None:
    _remove_extractions()
    _remove_events()
    _remove_items()
    _remove_sources()
    _remove_galleries_of_jobs()
    _remove_jobs()
    _remove_photos()
    _remove_archives()


def _add_archives() -> None:
    op.create_table(
        "archive",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_archive_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archive")),
        sa.UniqueConstraint("object_key", name=op.f("uq_archive_object_key")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_archive_tenant_id_id")),
    )


def _remove_archives() -> None:
    op.drop_table("archive")


def _add_photos() -> None:
    op.add_column("photo", sa.Column("bucket", sa.Text(), nullable=True))
    op.add_column("photo", sa.Column("etag", sa.Text(), nullable=True))
    op.add_column("photo", sa.Column("archive_id", sa.Uuid(), nullable=True))
    op.add_column("photo", sa.Column("entry_offset", sa.BigInteger(), nullable=True))
    op.add_column("photo", sa.Column("entry_packed_bytes", sa.BigInteger(), nullable=True))
    op.add_column("photo", sa.Column("entry_method", sa.SmallInteger(), nullable=True))
    op.add_column("photo", sa.Column("entry_crc32", sa.BigInteger(), nullable=True))
    op.add_column("photo", sa.Column("entry_name", sa.Text(), nullable=True))
    op.alter_column("photo", "sha256", existing_type=sa.LargeBinary(), nullable=True)
    op.drop_constraint(op.f("uq_photo_object_key"), "photo", type_="unique")
    op.create_index(
        op.f("ix_photo_archive_id"),
        "photo",
        ["archive_id"],
        unique=False,
        postgresql_where=sa.text("archive_id IS NOT NULL"),
    )
    op.create_index(
        "ix_photo_foreign_object",
        "photo",
        ["tenant_id", "bucket", "object_key"],
        unique=False,
        postgresql_where=sa.text("bucket IS NOT NULL AND entry_offset IS NULL"),
    )
    op.create_index(
        "uq_photo_own_object",
        "photo",
        ["object_key"],
        unique=True,
        postgresql_where=sa.text("bucket IS NULL AND archive_id IS NULL"),
    )
    op.create_foreign_key(
        op.f("fk_photo_tenant_id_archive_id_archive"),
        "photo",
        "archive",
        ["tenant_id", "archive_id"],
        ["tenant_id", "id"],
        ondelete="NO ACTION",
    )
    op.create_check_constraint(
        op.f("ck_photo_owner"), "photo", "bucket IS NULL OR archive_id IS NULL"
    )
    op.create_check_constraint(
        op.f("ck_photo_archive"), "photo", "archive_id IS NULL OR entry_offset IS NOT NULL"
    )
    op.create_check_constraint(
        op.f("ck_photo_entry"),
        "photo",
        "num_nulls(entry_offset, entry_packed_bytes, entry_method, entry_crc32, entry_name) "
        "IN (0, 5)",
    )


def _remove_photos() -> None:
    # What was listed and not read, or lies in an archive, has no place in the tables of before.
    op.execute(
        "DELETE FROM photo WHERE sha256 IS NULL OR bucket IS NOT NULL OR archive_id IS NOT NULL"
    )
    op.drop_constraint(op.f("ck_photo_entry"), "photo", type_="check")
    op.drop_constraint(op.f("ck_photo_archive"), "photo", type_="check")
    op.drop_constraint(op.f("ck_photo_owner"), "photo", type_="check")
    op.drop_constraint(op.f("fk_photo_tenant_id_archive_id_archive"), "photo", type_="foreignkey")
    op.drop_index(
        "uq_photo_own_object",
        table_name="photo",
        postgresql_where=sa.text("bucket IS NULL AND archive_id IS NULL"),
    )
    op.drop_index(
        "ix_photo_foreign_object",
        table_name="photo",
        postgresql_where=sa.text("bucket IS NOT NULL AND entry_offset IS NULL"),
    )
    op.drop_index(
        op.f("ix_photo_archive_id"),
        table_name="photo",
        postgresql_where=sa.text("archive_id IS NOT NULL"),
    )
    op.create_unique_constraint(op.f("uq_photo_object_key"), "photo", ["object_key"])
    op.alter_column("photo", "sha256", existing_type=sa.LargeBinary(), nullable=False)
    op.drop_column("photo", "entry_name")
    op.drop_column("photo", "entry_crc32")
    op.drop_column("photo", "entry_method")
    op.drop_column("photo", "entry_packed_bytes")
    op.drop_column("photo", "entry_offset")
    op.drop_column("photo", "archive_id")
    op.drop_column("photo", "etag")
    op.drop_column("photo", "bucket")


def _add_jobs() -> None:
    op.add_column(
        "job", sa.Column("priority", sa.SmallInteger(), server_default=sa.text("1"), nullable=False)
    )
    op.add_column("job", sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "job", sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "job", sa.Column("round", sa.Integer(), server_default=sa.text("1"), nullable=False)
    )
    op.add_column(
        "job",
        sa.Column("n_sources_open", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("job", sa.Column("mark_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("job", sa.Column("mark_ended", sa.BigInteger(), nullable=True))
    op.add_column("job", sa.Column("before_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("job", sa.Column("before_ended", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_job_cancelling",
        "job",
        ["cancel_requested_at"],
        unique=False,
        postgresql_where=sa.text(
            "cancel_requested_at IS NOT NULL AND state IN ('queued', 'running')"
        ),
    )
    op.create_index(
        "ix_job_open",
        "job",
        ["tenant_id", "priority", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_check_constraint(op.f("ck_job_priority"), "job", "priority BETWEEN 0 AND 2")
    op.create_check_constraint(op.f("ck_job_sources"), "job", "n_sources_open >= 0")


def _remove_jobs() -> None:
    op.drop_constraint(op.f("ck_job_sources"), "job", type_="check")
    op.drop_constraint(op.f("ck_job_priority"), "job", type_="check")
    op.drop_index(
        "ix_job_open", table_name="job", postgresql_where=sa.text("state IN ('queued', 'running')")
    )
    op.drop_index(
        "ix_job_cancelling",
        table_name="job",
        postgresql_where=sa.text(
            "cancel_requested_at IS NOT NULL AND state IN ('queued', 'running')"
        ),
    )
    op.drop_column("job", "before_ended")
    op.drop_column("job", "before_at")
    op.drop_column("job", "mark_ended")
    op.drop_column("job", "mark_at")
    op.drop_column("job", "n_sources_open")
    op.drop_column("job", "round")
    op.drop_column("job", "cancel_requested_at")
    op.drop_column("job", "paused_at")
    op.drop_column("job", "priority")


def _add_galleries_of_jobs() -> None:
    op.create_table(
        "job_gallery",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("gallery_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "gallery_id"],
            ["gallery.tenant_id", "gallery.id"],
            name=op.f("fk_job_gallery_tenant_id_gallery_id_gallery"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["job.tenant_id", "job.id"],
            name=op.f("fk_job_gallery_tenant_id_job_id_job"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_job_gallery_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "gallery_id", name=op.f("pk_job_gallery")),
    )
    op.create_index(op.f("ix_job_gallery_gallery_id"), "job_gallery", ["gallery_id"], unique=False)


def _remove_galleries_of_jobs() -> None:
    op.drop_index(op.f("ix_job_gallery_gallery_id"), table_name="job_gallery")
    op.drop_table("job_gallery")


def _add_sources() -> None:
    op.create_table(
        "source",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "archive",
                "prefix",
                "manifest",
                "job",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("bucket", sa.Text(), nullable=True),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("archive_id", sa.Uuid(), nullable=True),
        sa.Column("from_job_id", sa.Uuid(), nullable=True),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "running",
                "done",
                "failed",
                "cancelled",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("n_items", sa.BigInteger(), nullable=False),
        sa.Column("n_skipped", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column(
            "due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_source_error")
        ),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_source_lease")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "archive_id"],
            ["archive.tenant_id", "archive.id"],
            name=op.f("fk_source_tenant_id_archive_id_archive"),
            ondelete="NO ACTION",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "from_job_id"],
            ["job.tenant_id", "job.id"],
            name=op.f("fk_source_tenant_id_from_job_id_job"),
            ondelete="SET NULL (from_job_id)",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["job.tenant_id", "job.id"],
            name=op.f("fk_source_tenant_id_job_id_job"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_source_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_source_tenant_id_id")),
    )
    op.create_index(
        op.f("ix_source_archive_id"),
        "source",
        ["archive_id"],
        unique=False,
        postgresql_where=sa.text("archive_id IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_source_from_job_id"),
        "source",
        ["from_job_id"],
        unique=False,
        postgresql_where=sa.text("from_job_id IS NOT NULL"),
    )
    op.create_index(op.f("ix_source_job_id"), "source", ["job_id"], unique=False)
    op.create_index(
        "ix_source_open",
        "source",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )


def _remove_sources() -> None:
    op.drop_index(
        "ix_source_open",
        table_name="source",
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.drop_index(op.f("ix_source_job_id"), table_name="source")
    op.drop_index(
        op.f("ix_source_from_job_id"),
        table_name="source",
        postgresql_where=sa.text("from_job_id IS NOT NULL"),
    )
    op.drop_index(
        op.f("ix_source_archive_id"),
        table_name="source",
        postgresql_where=sa.text("archive_id IS NOT NULL"),
    )
    op.drop_table("source")


def _add_items() -> None:
    op.add_column("item", sa.Column("source_id", sa.Uuid(), nullable=True))
    op.add_column("item", sa.Column("source_key", sa.Text(), nullable=True))
    op.add_column("item", sa.Column("last_fault", sa.Text(), nullable=True))
    op.drop_index(
        op.f("ix_item_due"),
        table_name="item",
        postgresql_where="(((state)::text = 'queued'::text) AND (dispatched_at IS NULL))",
    )
    op.create_index(
        "ix_item_due",
        "item",
        ["job_id", "due_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NULL"),
    )
    op.create_index(
        "ix_item_failed",
        "item",
        ["job_id", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'failed'"),
    )
    op.create_index(
        "ix_item_running",
        "item",
        ["job_id"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        op.f("ix_item_source_id"),
        "item",
        ["source_id"],
        unique=False,
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_item_tenant_id_source_id_source"),
        "item",
        "source",
        ["tenant_id", "source_id"],
        ["tenant_id", "id"],
        ondelete="SET NULL (source_id)",
    )


def _remove_items() -> None:
    op.drop_constraint(op.f("fk_item_tenant_id_source_id_source"), "item", type_="foreignkey")
    op.drop_index(
        op.f("ix_item_source_id"),
        table_name="item",
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_item_running", table_name="item", postgresql_where=sa.text("state = 'running'")
    )
    op.drop_index("ix_item_failed", table_name="item", postgresql_where=sa.text("state = 'failed'"))
    op.drop_index(
        "ix_item_due",
        table_name="item",
        postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NULL"),
    )
    op.create_index(
        op.f("ix_item_due"),
        "item",
        ["due_at", "id"],
        unique=False,
        postgresql_where="(((state)::text = 'queued'::text) AND (dispatched_at IS NULL))",
    )
    op.drop_column("item", "last_fault")
    op.drop_column("item", "source_key")
    op.drop_column("item", "source_id")


def _add_events() -> None:
    op.add_column(
        "event", sa.Column("round", sa.Integer(), server_default=sa.text("1"), nullable=False)
    )
    op.drop_constraint(op.f("uq_event_job_id_type"), "event", type_="unique")
    op.create_unique_constraint(
        op.f("uq_event_job_id_type_round"), "event", ["job_id", "type", "round"]
    )


def _remove_events() -> None:
    op.execute("DELETE FROM event WHERE round > 1")
    op.drop_constraint(op.f("uq_event_job_id_type_round"), "event", type_="unique")
    op.create_unique_constraint(op.f("uq_event_job_id_type"), "event", ["job_id", "type"])
    op.drop_column("event", "round")


def _add_extractions() -> None:
    op.add_column("extraction", sa.Column("taken_at", sa.Text(), nullable=True))


def _remove_extractions() -> None:
    op.drop_column("extraction", "taken_at")
