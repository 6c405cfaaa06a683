"""Thresholds that follow from a wanted error rate and the gallery's number of subjects."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("target_fmr", sa.Double(), nullable=True))
    op.add_column("job", sa.Column("target_fpir", sa.Double(), nullable=True))
    op.add_column("job", sa.Column("gallery_subjects", sa.BigInteger(), nullable=True))
    op.create_check_constraint(
        op.f("ck_job_target"), "job", "target_fmr IS NULL OR target_fpir IS NULL"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_job_target"), "job", type_="check")
    op.drop_column("job", "gallery_subjects")
    op.drop_column("job", "target_fpir")
    op.drop_column("job", "target_fmr")
