"""What tables are made of: names of constraints, kinds of columns, foreign keys."""

import datetime as dt
import enum
import uuid
from typing import Annotated

from sqlalchemy import (
    BigInteger,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Uuid,
    func,
)
from sqlalchemy.orm import mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

BigId = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
UuidId = Annotated[uuid.UUID, mapped_column(Uuid, primary_key=True)]
TenantId = Annotated[int, mapped_column(BigInteger, ForeignKey("tenant.id", ondelete="CASCADE"))]
Created = Annotated[dt.datetime, mapped_column(server_default=func.now())]


def one_of(states: type[enum.StrEnum], name: str) -> Enum:
    """A text column that admits the values of `states` alone."""
    return Enum(
        states,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


def belongs_to(parent: str, column: str, ondelete: str) -> ForeignKeyConstraint:
    """A foreign key that also binds the tenant, so that no row can point into another's."""
    # SET NULL must name its column: the tenant is never unset.
    action = f"SET NULL ({column})" if ondelete == "SET NULL" else ondelete
    return ForeignKeyConstraint(
        ["tenant_id", column], [f"{parent}.tenant_id", f"{parent}.id"], ondelete=action
    )
