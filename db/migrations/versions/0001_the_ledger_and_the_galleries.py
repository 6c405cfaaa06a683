"""The ledger and the galleries."""

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Where only a superuser may create it, the operator has done so before.
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.create_table(
        "model",
        sa.Column("id", sa.SmallInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("dimension", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
        sa.UniqueConstraint("engine", "version", name=op.f("uq_model_engine_version")),
    )
    op.create_table(
        "tenant",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant")),
        sa.UniqueConstraint("name", name=op.f("uq_tenant_name")),
    )
    op.create_table(
        "doomed_object",
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_doomed_object_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("object_key", name=op.f("pk_doomed_object")),
    )
    op.create_table(
        "gallery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_gallery_model_id_model")),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_gallery_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gallery")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_gallery_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_gallery_tenant_id_name")),
    )
    op.create_table(
        "photo",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_photo_tenant_id_tenant"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo")),
        sa.UniqueConstraint("object_key", name=op.f("uq_photo_object_key")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_photo_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "sha256", name=op.f("uq_photo_tenant_id_sha256")),
    )
    op.create_table(
        "upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_upload_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
    )
    op.create_index(op.f("ix_upload_created_at"), "upload", ["created_at"], unique=False)
    op.create_table(
        "extraction",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("photo_id", sa.Uuid(), nullable=False),
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column("width_px", sa.BigInteger(), nullable=False),
        sa.Column("height_px", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.id"], name=op.f("fk_extraction_model_id_model")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "photo_id"],
            ["photo.tenant_id", "photo.id"],
            name=op.f("fk_extraction_tenant_id_photo_id_photo"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_extraction_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_extraction")),
        sa.UniqueConstraint("photo_id", "model_id", name=op.f("uq_extraction_photo_id_model_id")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_extraction_tenant_id_id")),
    )
    op.create_table(
        "subject",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("gallery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "gallery_id"],
            ["gallery.tenant_id", "gallery.id"],
            name=op.f("fk_subject_tenant_id_gallery_id_gallery"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_subject_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject")),
        sa.UniqueConstraint("gallery_id", "name", name=op.f("uq_subject_gallery_id_name")),
        sa.UniqueConstraint("number", name=op.f("uq_subject_number")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_subject_tenant_id_id")),
    )
    op.create_table(
        "face",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("extraction_id", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.SmallInteger(), nullable=False),
        sa.Column("left_px", sa.BigInteger(), nullable=False),
        sa.Column("top_px", sa.BigInteger(), nullable=False),
        sa.Column("right_px", sa.BigInteger(), nullable=False),
        sa.Column("bottom_px", sa.BigInteger(), nullable=False),
        sa.Column("landmarks_px", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.Column("score", sa.REAL(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "extraction_id"],
            ["extraction.tenant_id", "extraction.id"],
            name=op.f("fk_face_tenant_id_extraction_id_extraction"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_face_tenant_id_tenant"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_face")),
        sa.UniqueConstraint("extraction_id", "ordinal", name=op.f("uq_face_extraction_id_ordinal")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_face_tenant_id_id")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "enrol",
                "identify",
                "verify",
                "detect",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "running",
                "succeeded",
                "partially_failed",
                "failed",
                "cancelled",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column("gallery_id", sa.Uuid(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("threshold_distance", sa.Double(), nullable=False),
        sa.Column("top_k", sa.SmallInteger(), nullable=False),
        sa.Column(
            "multiple_faces",
            sa.Enum(
                "refuse",
                "largest",
                name="multiple_faces",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("n_items", sa.BigInteger(), nullable=False),
        sa.Column("n_done", sa.BigInteger(), nullable=False),
        sa.Column("n_no_face", sa.BigInteger(), nullable=False),
        sa.Column("n_failed", sa.BigInteger(), nullable=False),
        sa.Column("n_cancelled", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(kind = 'detect') = (gallery_id IS NULL)", name=op.f("ck_job_gallery")),
        sa.CheckConstraint(
            "n_done + n_no_face + n_failed + n_cancelled <= n_items", name=op.f("ck_job_counters")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_job_model_id_model")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "gallery_id"],
            ["gallery.tenant_id", "gallery.id"],
            name=op.f("fk_job_tenant_id_gallery_id_gallery"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subject_id"],
            ["subject.tenant_id", "subject.id"],
            name=op.f("fk_job_tenant_id_subject_id_subject"),
            ondelete="SET NULL (subject_id)",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_job_tenant_id_tenant"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_job_tenant_id_id")),
    )
    op.create_index(op.f("ix_job_gallery_id"), "job", ["gallery_id"], unique=False)
    op.create_index(op.f("ix_job_subject_id"), "job", ["subject_id"], unique=False)
    op.create_index(
        "ix_job_unsealed",
        "job",
        ["changed_at"],
        unique=False,
        postgresql_where=sa.text("sealed_at IS NULL"),
    )
    op.create_table(
        "embedding",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("face_id", sa.BigInteger(), nullable=False),
        sa.Column("model_id", sa.SmallInteger(), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.vector.VECTOR(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.id"], name=op.f("fk_embedding_model_id_model")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "face_id"],
            ["face.tenant_id", "face.id"],
            name=op.f("fk_embedding_tenant_id_face_id_face"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_embedding_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embedding")),
        sa.UniqueConstraint("face_id", "model_id", name=op.f("uq_embedding_face_id_model_id")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_embedding_tenant_id_id")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["job.tenant_id", "job.id"],
            name=op.f("fk_event_tenant_id_job_id_job"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_event_tenant_id_tenant"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("job_id", "type", name=op.f("uq_event_job_id_type")),
    )
    op.create_table(
        "item",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("photo_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("new_subject", sa.Text(), nullable=True),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "running",
                "done",
                "no_face",
                "failed",
                "cancelled",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column(
            "due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("extraction_id", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_item_error")
        ),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_item_lease")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "extraction_id"],
            ["extraction.tenant_id", "extraction.id"],
            name=op.f("fk_item_tenant_id_extraction_id_extraction"),
            ondelete="SET NULL (extraction_id)",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"],
            ["job.tenant_id", "job.id"],
            name=op.f("fk_item_tenant_id_job_id_job"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "photo_id"],
            ["photo.tenant_id", "photo.id"],
            name=op.f("fk_item_tenant_id_photo_id_photo"),
            ondelete="SET NULL (photo_id)",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subject_id"],
            ["subject.tenant_id", "subject.id"],
            name=op.f("fk_item_tenant_id_subject_id_subject"),
            ondelete="SET NULL (subject_id)",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_item_tenant_id_tenant"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item")),
        sa.UniqueConstraint("job_id", "client_id", name=op.f("uq_item_job_id_client_id")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_item_tenant_id_id")),
    )
    op.create_index(
        "ix_item_due",
        "item",
        ["due_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NULL"),
    )
    op.create_index(op.f("ix_item_extraction_id"), "item", ["extraction_id"], unique=False)
    op.create_index(op.f("ix_item_job_id_id"), "item", ["job_id", "id"], unique=False)
    op.create_index(
        "ix_item_lease",
        "item",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(op.f("ix_item_photo_id"), "item", ["photo_id"], unique=False)
    op.create_index(
        "ix_item_sent",
        "item",
        ["dispatched_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_item_subject_id"),
        "item",
        ["subject_id"],
        unique=False,
        postgresql_where=sa.text("subject_id IS NOT NULL"),
    )
    op.create_table(
        "candidate",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("face_id", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("distance", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "face_id"],
            ["face.tenant_id", "face.id"],
            name=op.f("fk_candidate_tenant_id_face_id_face"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "item_id"],
            ["item.tenant_id", "item.id"],
            name=op.f("fk_candidate_tenant_id_item_id_item"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subject_id"],
            ["subject.tenant_id", "subject.id"],
            name=op.f("fk_candidate_tenant_id_subject_id_subject"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_candidate_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("item_id", "face_id", "rank", name=op.f("pk_candidate")),
    )
    op.create_index(op.f("ix_candidate_face_id"), "candidate", ["face_id"], unique=False)
    op.create_index(op.f("ix_candidate_subject_id"), "candidate", ["subject_id"], unique=False)
    op.create_table(
        "template",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("gallery_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("embedding_id", sa.BigInteger(), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.vector.VECTOR(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "embedding_id"],
            ["embedding.tenant_id", "embedding.id"],
            name=op.f("fk_template_tenant_id_embedding_id_embedding"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "gallery_id"],
            ["gallery.tenant_id", "gallery.id"],
            name=op.f("fk_template_tenant_id_gallery_id_gallery"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subject_id"],
            ["subject.tenant_id", "subject.id"],
            name=op.f("fk_template_tenant_id_subject_id_subject"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_template_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template")),
        sa.UniqueConstraint(
            "subject_id", "embedding_id", name=op.f("uq_template_subject_id_embedding_id")
        ),
    )
    op.create_index(op.f("ix_template_embedding_id"), "template", ["embedding_id"], unique=False)
    op.create_index(op.f("ix_template_gallery_id"), "template", ["gallery_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_template_gallery_id"), table_name="template")
    op.drop_index(op.f("ix_template_embedding_id"), table_name="template")
    op.drop_table("template")
    op.drop_index(op.f("ix_candidate_subject_id"), table_name="candidate")
    op.drop_index(op.f("ix_candidate_face_id"), table_name="candidate")
    op.drop_table("candidate")
    op.drop_index(
        op.f("ix_item_subject_id"),
        table_name="item",
        postgresql_where=sa.text("subject_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_item_sent",
        table_name="item",
        postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NOT NULL"),
    )
    op.drop_index(op.f("ix_item_photo_id"), table_name="item")
    op.drop_index("ix_item_lease", table_name="item", postgresql_where=sa.text("state = 'running'"))
    op.drop_index(op.f("ix_item_job_id_id"), table_name="item")
    op.drop_index(op.f("ix_item_extraction_id"), table_name="item")
    op.drop_index(
        "ix_item_due",
        table_name="item",
        postgresql_where=sa.text("state = 'queued' AND dispatched_at IS NULL"),
    )
    op.drop_table("item")
    op.drop_table("event")
    op.drop_table("embedding")
    op.drop_index(
        "ix_job_unsealed", table_name="job", postgresql_where=sa.text("sealed_at IS NULL")
    )
    op.drop_index(op.f("ix_job_subject_id"), table_name="job")
    op.drop_index(op.f("ix_job_gallery_id"), table_name="job")
    op.drop_table("job")
    op.drop_table("face")
    op.drop_table("subject")
    op.drop_table("extraction")
    op.drop_index(op.f("ix_upload_created_at"), table_name="upload")
    op.drop_table("upload")
    op.drop_table("photo")
    op.drop_table("gallery")
    op.drop_table("doomed_object")
    op.drop_table("tenant")
    op.drop_table("model")
