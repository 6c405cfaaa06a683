"""For large galleries: the transaction that wrote a template, and the number of subjects."""

import sqlalchemy as sa
from alembic import op

from db.migrations.row_security import secure_table

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# A gallery that is being deleted is not there any more when its subjects go with it.
_FUNCTION = """
    CREATE FUNCTION facebatch_tally_subjects() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO subject_tally (tenant_id, gallery_id, change)
        SELECT gallery.tenant_id, gallery.id,
               CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
        FROM changed JOIN gallery ON gallery.id = changed.gallery_id
        GROUP BY gallery.id;
        RETURN NULL;
    END
    $$
"""
_TRIGGER = """
    CREATE TRIGGER tally_{event} AFTER {event} ON subject
    REFERENCING {rows} TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION facebatch_tally_subjects()
"""
_COUNT = """
    INSERT INTO subject_tally (tenant_id, gallery_id, change)
    SELECT tenant_id, gallery_id, count(*) FROM subject GROUP BY tenant_id, gallery_id
"""


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
    op.create_table(
        "subject_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("gallery_id", sa.Uuid(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_subject_tally_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject_tally")),
    )
    op.create_index(op.f("ix_subject_tally_gallery_id"), "subject_tally", ["gallery_id"])
    op.execute(_FUNCTION)
    # From here on nobody else changes subjects until the commit.
    op.execute(_TRIGGER.format(event="INSERT", rows="NEW"))
    op.execute(_TRIGGER.format(event="DELETE", rows="OLD"))
    op.execute(_COUNT)
    secure_table("subject_tally")


def downgrade() -> None:
    op.execute("DROP TRIGGER tally_DELETE ON subject")
    op.execute("DROP TRIGGER tally_INSERT ON subject")
    op.execute("DROP FUNCTION facebatch_tally_subjects()")
    op.drop_table("subject_tally")
    op.create_index(op.f("ix_template_gallery_id"), "template", ["gallery_id"])
    op.drop_index(op.f("ix_template_gallery_id_written_by"), table_name="template")
    op.drop_column("template", "written_by")
