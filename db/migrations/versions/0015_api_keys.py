"""Keys with which a tenant's programs call the HTTP API."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.migrations.row_security import secure_table

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        *(
            sa.Column(name, sa.DateTime(timezone=True), nullable=True)
            for name in ("expires_at", "last_used_at", "revoked_at")
        ),
        sa.Column("replaced_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "cardinality(scopes) > 0 "
            "AND scopes <@ ARRAY['read', 'submit', 'manage', 'admin']::text[]",
            name=op.f("ck_api_key_scopes"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_api_key_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "replaced_by"],
            ["api_key.tenant_id", "api_key.id"],
            name=op.f("fk_api_key_tenant_id_replaced_by_api_key"),
            ondelete="SET NULL (replaced_by)",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_api_key_tenant_id_id")),
        sa.UniqueConstraint("handle", name=op.f("uq_api_key_handle")),
    )
    secure_table("api_key")


def downgrade() -> None:
    op.drop_table("api_key")
