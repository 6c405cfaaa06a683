"""Webhooks: events that outlive their job, endpoints, deliveries and their attempts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import SchemaItem

from db.migrations.row_security import secure_table

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = (
    *("webhook_endpoint", "webhook_watch", "callback_secret"),
    *("webhook_delivery", "webhook_attempt"),
)
TYPES = (
    *("job.completed", "job.failed", "job.progress", "match.found"),
    *("endpoint.disabled", "endpoint.test"),
)
REASONS = ("owner", "gone", "failing")
STATES = ("waiting", "sending", "delivered", "failed")


def upgrade() -> None:
    op.add_column("job", sa.Column("callback_url", sa.Text(), nullable=True))
    op.add_column(
        "job", sa.Column("is_quiet", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column(
        "tenant",
        sa.Column("event_sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    _make_endpoints()
    _extend_events()
    _make_deliveries()
    for name in TABLES:
        secure_table(name)


def _text_of(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def _moment(name: str, *, nullable: bool = True) -> sa.Column:
    now = None if nullable else sa.text("now()")
    return sa.Column(name, sa.DateTime(timezone=True), server_default=now, nullable=nullable)


def _tenant_of(table: str) -> list[SchemaItem]:
    return [
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f(f"fk_{table}_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
    ]


def _belongs_to(table: str, parent: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id", column],
        [f"{parent}.tenant_id", f"{parent}.id"],
        name=op.f(f"fk_{table}_tenant_id_{column}_{parent}"),
        ondelete="CASCADE",
    )


def _secrets(table: str) -> list[SchemaItem]:
    return [
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("previous_secret", sa.LargeBinary(), nullable=True),
        _moment("previous_until"),
        sa.CheckConstraint(
            "(previous_secret IS NULL) = (previous_until IS NULL)",
            name=op.f(f"ck_{table}_previous_secret"),
        ),
    ]


def _make_endpoints() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_tenant_of("webhook_endpoint"),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event_types", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("disabled_reason", _text_of("disabled_reason", REASONS), nullable=True),
        _moment("disabled_at"),
        _moment("failing_since"),
        _moment("last_failed_at"),
        *_secrets("webhook_endpoint"),
        _moment("created_at", nullable=False),
        _moment("changed_at", nullable=False),
        sa.CheckConstraint(
            "is_enabled = (disabled_reason IS NULL)", name=op.f("ck_webhook_endpoint_enabled")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_webhook_endpoint_tenant_id_id")),
    )
    op.create_table(
        "webhook_watch",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        *_tenant_of("webhook_watch"),
        _belongs_to("webhook_watch", "webhook_endpoint", "endpoint_id"),
        _belongs_to("webhook_watch", "subject", "subject_id"),
        sa.PrimaryKeyConstraint("endpoint_id", "subject_id", name=op.f("pk_webhook_watch")),
    )
    op.create_index(op.f("ix_webhook_watch_subject_id"), "webhook_watch", ["subject_id"])
    op.create_table(
        "callback_secret",
        *_tenant_of("callback_secret"),
        *_secrets("callback_secret"),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_callback_secret")),
    )


def _extend_events() -> None:
    op.drop_constraint(op.f("fk_event_tenant_id_job_id_job"), "event", type_="foreignkey")
    op.drop_constraint(op.f("uq_event_job_id_type_round"), "event", type_="unique")
    op.alter_column("event", "job_id", nullable=True)
    op.alter_column("event", "type", type_=sa.String(32))
    types = ", ".join(f"'{one}'" for one in TYPES)
    op.create_check_constraint(op.f("ck_event_type"), "event", f"type IN ({types})")
    for column in (
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("item_id", sa.BigInteger(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("callback_url", sa.Text(), nullable=True),
        sa.Column(
            "data", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
    ):
        op.add_column("event", column)
    # What was told of jobs before tells of their last round.
    op.execute("""
        UPDATE event SET data = jsonb_build_object(
            'kind', job.kind, 'state', job.state, 'round', event.round,
            'counts', jsonb_build_object(
                'total', n_items, 'done', n_done, 'no_face', n_no_face, 'failed', n_failed,
                'cancelled', n_cancelled))
        FROM job WHERE job.id = event.job_id
    """)
    op.create_unique_constraint(op.f("uq_event_tenant_id_id"), "event", ["tenant_id", "id"])
    op.create_unique_constraint(op.f("uq_event_number"), "event", ["number"])
    for parent, column in (("subject", "subject_id"), ("webhook_endpoint", "endpoint_id")):
        op.create_foreign_key(
            op.f(f"fk_event_tenant_id_{column}_{parent}"),
            "event",
            parent,
            ["tenant_id", column],
            ["tenant_id", "id"],
            ondelete="CASCADE",
        )
        op.create_index(
            op.f(f"ix_event_{column}"),
            "event",
            [column],
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    _index_events()


def _index_events() -> None:
    for name, columns, unique, where in (
        (
            "uq_event_of_job_end",
            ["job_id", "type", "round"],
            True,
            "type IN ('job.completed', 'job.failed')",
        ),
        ("uq_event_of_match", ["item_id", "subject_id"], True, "type = 'match.found'"),
        ("ix_event_new", ["number"], False, "sequence IS NULL"),
        ("ix_event_job_of_match", ["job_id"], False, "type = 'match.found'"),
        ("ix_event_tenant_id_created_at", ["tenant_id", "created_at"], False, None),
        ("ix_event_created_at", ["created_at"], False, None),
    ):
        condition = None if where is None else sa.text(where)
        op.create_index(name, "event", columns, unique=unique, postgresql_where=condition)


def _make_deliveries() -> None:
    table = "webhook_delivery"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        *_tenant_of(table),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("callback_url", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("state", _text_of("state", STATES), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        _moment("due_at", nullable=False),
        _moment("lease_until"),
        sa.Column("error_code", sa.Text(), nullable=True),
        _moment("created_at", nullable=False),
        _moment("finished_at"),
        sa.CheckConstraint(
            "(state = 'sending') = (lease_until IS NOT NULL)", name=op.f(f"ck_{table}_lease")
        ),
        sa.CheckConstraint(
            "(endpoint_id IS NULL) = (callback_url IS NOT NULL)", name=op.f(f"ck_{table}_target")
        ),
        _belongs_to(table, "event", "event_id"),
        _belongs_to(table, "webhook_endpoint", "endpoint_id"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f(f"uq_{table}_tenant_id_id")),
        sa.UniqueConstraint(
            "endpoint_id", "event_id", name=op.f(f"uq_{table}_endpoint_id_event_id")
        ),
    )
    for name, columns, unique, where in (
        (f"uq_{table}_callback", ["event_id"], True, "endpoint_id IS NULL"),
        (f"ix_{table}_event_id", ["event_id"], False, None),
        (f"ix_{table}_endpoint_id_id", ["endpoint_id", "id"], False, None),
        (
            f"ix_{table}_waiting",
            ["tenant_id", "lane", "due_at", "id"],
            False,
            "state = 'waiting'",
        ),
        (f"ix_{table}_sending", ["lease_until"], False, "state = 'sending'"),
    ):
        condition = None if where is None else sa.text(where)
        op.create_index(name, table, columns, unique=unique, postgresql_where=condition)
    op.create_table(
        "webhook_attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        *_tenant_of("webhook_attempt"),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        _belongs_to("webhook_attempt", table, "delivery_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempt")),
    )
    op.create_index(
        op.f("ix_webhook_attempt_delivery_id_id"), "webhook_attempt", ["delivery_id", "id"]
    )


def downgrade() -> None:
    for table in ("webhook_attempt", "webhook_delivery", "callback_secret", "webhook_watch"):
        op.drop_table(table)
    op.execute("""
        DELETE FROM event
        WHERE type <> 'job.completed' OR NOT EXISTS (SELECT FROM job WHERE job.id = job_id)
    """)
    for column in (
        *("number", "sequence", "item_id", "subject_id", "endpoint_id", "callback_url", "data"),
    ):
        op.drop_column("event", column)
    op.drop_index("uq_event_of_job_end", "event")
    op.drop_index("ix_event_tenant_id_created_at", "event")
    op.drop_index("ix_event_created_at", "event")
    op.drop_index("ix_event_job_of_match", "event")
    op.drop_constraint(op.f("uq_event_tenant_id_id"), "event", type_="unique")
    op.drop_constraint(op.f("ck_event_type"), "event", type_="check")
    op.alter_column("event", "type", type_=sa.Text())
    op.alter_column("event", "job_id", nullable=False)
    op.create_unique_constraint(
        op.f("uq_event_job_id_type_round"), "event", ["job_id", "type", "round"]
    )
    op.create_foreign_key(
        op.f("fk_event_tenant_id_job_id_job"),
        "event",
        "job",
        ["tenant_id", "job_id"],
        ["tenant_id", "id"],
        ondelete="CASCADE",
    )
    op.drop_table("webhook_endpoint")
    op.drop_column("tenant", "event_sequence")
    op.drop_column("job", "is_quiet")
    op.drop_column("job", "callback_url")
