"""Quotas of tenants, and the number of bytes that each has with us."""

import sqlalchemy as sa
from alembic import op

from db.migrations.row_security import secure_table

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Of a photo that has an object of ours for itself. One in an archive has its bytes there, and one
# in a bucket with a name is its owner's.
_BYTES = "CASE WHEN {0}.bucket IS NULL AND {0}.archive_id IS NULL THEN {0}.size_bytes ELSE 0 END"
_PHOTOS = """
    CREATE FUNCTION facebatch_tally_photos() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO storage_tally (tenant_id, change)
        SELECT tenant_id, CASE TG_OP WHEN 'INSERT' THEN sum(size_bytes) ELSE -sum(size_bytes) END
        FROM changed WHERE bucket IS NULL AND archive_id IS NULL
        GROUP BY tenant_id HAVING sum(size_bytes) <> 0;
        RETURN NULL;
    END
    $$
"""
_PHOTOS_TRIGGER = """
    CREATE TRIGGER tally_{event} AFTER {event} ON photo
    REFERENCING {rows} TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION facebatch_tally_photos()
"""
_MOVED = f"""
    CREATE FUNCTION facebatch_tally_moved_photo() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO storage_tally (tenant_id, change)
        VALUES (NEW.tenant_id, {_BYTES.format("NEW")} - {_BYTES.format("OLD")});
        RETURN NULL;
    END
    $$
"""  # noqa: S608 - put together from constants.
_MOVED_TRIGGER = f"""
    CREATE TRIGGER tally_moved AFTER UPDATE ON photo
    FOR EACH ROW WHEN ({_BYTES.format("NEW")} <> {_BYTES.format("OLD")})
    EXECUTE FUNCTION facebatch_tally_moved_photo()
"""
_ARCHIVE = """
    CREATE FUNCTION facebatch_tally_archive() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO storage_tally (tenant_id, change) VALUES (NEW.tenant_id, NEW.size_bytes);
        ELSE
            INSERT INTO storage_tally (tenant_id, change) VALUES (OLD.tenant_id, -OLD.size_bytes);
        END IF;
        RETURN NULL;
    END
    $$
"""
_ARCHIVE_TRIGGER = """
    CREATE TRIGGER tally_{event} AFTER {event} ON archive
    FOR EACH ROW EXECUTE FUNCTION facebatch_tally_archive()
"""
_UPLOAD = """
    CREATE FUNCTION facebatch_tally_upload() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        more bigint := 0;
        owner bigint;
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            owner := OLD.tenant_id;
            more := -OLD.expected_bytes;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            owner := NEW.tenant_id;
            more := more + NEW.expected_bytes;
        END IF;
        INSERT INTO storage_tally (tenant_id, change) VALUES (owner, more);
        RETURN NULL;
    END
    $$
"""
# Uploads of requests are made and ended with each of them, and expect nothing.
_UPLOAD_TRIGGER = """
    CREATE TRIGGER tally_{event} AFTER {event} ON upload
    FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION facebatch_tally_upload()
"""
_UPLOAD_CHANGES = {
    "INSERT": "NEW.expected_bytes <> 0",
    "UPDATE": "NEW.expected_bytes <> OLD.expected_bytes",
    "DELETE": "OLD.expected_bytes <> 0",
}
_COUNT = f"""
    INSERT INTO storage_tally (tenant_id, change)
    SELECT tenant_id, sum(bytes) FROM (
        SELECT tenant_id, {_BYTES.format("photo")} AS bytes FROM photo
        UNION ALL
        SELECT tenant_id, size_bytes FROM archive
    ) AS kept
    GROUP BY tenant_id HAVING sum(bytes) <> 0
"""  # noqa: S608 - put together from constants.


def upgrade() -> None:
    _make_tables()
    op.add_column(
        "upload",
        sa.Column("expected_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    for function in (_PHOTOS, _MOVED, _ARCHIVE, _UPLOAD):
        op.execute(function)
    # From here on nobody else changes what is counted until the commit.
    for event, rows in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(_PHOTOS_TRIGGER.format(event=event, rows=rows))
        op.execute(_ARCHIVE_TRIGGER.format(event=event))
    op.execute(_MOVED_TRIGGER)
    for event, when in _UPLOAD_CHANGES.items():
        op.execute(_UPLOAD_TRIGGER.format(event=event, when=when))
    op.execute(_COUNT)
    for table in ("quota", "storage_tally"):
        secure_table(table)
    op.execute("REVOKE INSERT, UPDATE, DELETE ON quota FROM facebatch_tenant")


def _make_tables() -> None:
    op.create_table(
        "quota",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("allowed", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("allowed >= 0", name=op.f("ck_quota_allowed")),
        sa.CheckConstraint(
            "kind IN ('bytes', 'open_photos', 'open_jobs')", name=op.f("ck_quota_kind")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_quota_tenant_id_tenant"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "kind", name=op.f("pk_quota")),
    )
    op.create_table(
        "storage_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_storage_tally_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_storage_tally")),
    )
    op.create_index(op.f("ix_storage_tally_tenant_id"), "storage_tally", ["tenant_id"])


def downgrade() -> None:
    for table, names in {
        "upload": _UPLOAD_CHANGES,
        "archive": ("INSERT", "DELETE"),
        "photo": ("INSERT", "DELETE", "moved"),
    }.items():
        for name in names:
            op.execute(f"DROP TRIGGER tally_{name} ON {table}")
    for name in ("upload", "archive", "moved_photo", "photos"):
        op.execute(f"DROP FUNCTION facebatch_tally_{name}()")
    op.drop_column("upload", "expected_bytes")
    op.drop_table("storage_tally")
    op.drop_table("quota")
