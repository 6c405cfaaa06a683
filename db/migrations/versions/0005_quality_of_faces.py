"""The quality of faces, photos that had to be turned, and what a job asks of a face."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

QUALITY = (
    ("quality", sa.REAL()),
    ("quality_limit", sa.Text()),
    ("sharpness", sa.REAL()),
    ("width_px", sa.BigInteger()),
    ("yaw", sa.REAL()),
    ("pitch", sa.REAL()),
    ("roll", sa.REAL()),
)


def upgrade() -> None:
    for name, kind in QUALITY:
        op.add_column("face", sa.Column(name, kind, nullable=True))
    op.create_check_constraint(
        op.f("ck_face_quality"),
        "face",
        "num_nulls(quality, quality_limit, sharpness, width_px, yaw, pitch, roll) IN (0, 7)",
    )
    op.add_column(
        "extraction",
        sa.Column("rotation", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_extraction_rotation"), "extraction", "rotation IN (0, 90, 180, 270)"
    )
    op.add_column(
        "job", sa.Column("min_face_px", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column(
        "job", sa.Column("min_quality", sa.Double(), server_default=sa.text("0"), nullable=False)
    )
    op.create_check_constraint(
        op.f("ck_job_face_limits"), "job", "min_face_px >= 0 AND min_quality BETWEEN 0 AND 1"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_job_face_limits"), "job", type_="check")
    op.drop_column("job", "min_quality")
    op.drop_column("job", "min_face_px")
    op.drop_constraint(op.f("ck_extraction_rotation"), "extraction", type_="check")
    op.drop_column("extraction", "rotation")
    op.drop_constraint(op.f("ck_face_quality"), "face", type_="check")
    for name, _ in reversed(QUALITY):
        op.drop_column("face", name)
