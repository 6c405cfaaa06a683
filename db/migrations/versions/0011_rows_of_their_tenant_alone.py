"""Row-level security: a tenant's rows are nobody else's, whatever a query asks for."""

from db.migrations.row_security import release_table, secure_table, secure_tenants, share_table

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = (
    "archive",
    "archive_copy",
    "candidate",
    "doomed_object",
    "embedding",
    "event",
    "export",
    "extracting",
    "extraction",
    "face",
    "gallery",
    "item",
    "job",
    "job_gallery",
    "photo",
    "source",
    "subject",
    "template",
    "upload",
)


def upgrade() -> None:
    secure_tenants()
    share_table("model")
    for name in TABLES:
        secure_table(name)


def downgrade() -> None:
    for name in ("tenant", "model", *TABLES):
        release_table(name)
