"""Tenants and models: the rows that everything else hangs on."""

import datetime as dt
import re
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import TenantExistsError, TenantNameError, TenantNotFoundError
from db.models import Model, Tenant
from pipeline.specs import EngineSpec

LOCAL_TENANT = "local"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantView:
    """A tenant."""

    id: int
    name: str
    created_at: dt.datetime


def create_tenant(session: Session, name: str) -> TenantView:
    """Makes a tenant; raises `TenantNameError` and `TenantExistsError`.

    Its name is a folder of the bucket and a claim of tokens: so it is plain.
    """
    if not _NAME.fullmatch(name):
        raise TenantNameError(
            "a tenant's name has 1 to 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter "
            "or a digit"
        )
    made = insert(Tenant).values(name=name).on_conflict_do_nothing().returning(Tenant.id)
    if session.scalars(made).one_or_none() is None:
        raise TenantExistsError("there is a tenant of this name already")
    return _view(session.scalars(select(Tenant).where(Tenant.name == name)).one())


def list_tenants(session: Session) -> list[TenantView]:
    """All tenants, by name."""
    return [_view(one) for one in session.scalars(select(Tenant).order_by(Tenant.name))]


def find_tenant(session: Session, name: str) -> int | None:
    """The id of the tenant called `name`, if there is one."""
    return session.scalars(select(Tenant.id).where(Tenant.name == name)).one_or_none()


def require_tenant(session: Session, name: str) -> int:
    """The id of the tenant called `name`; raises `TenantNotFoundError`."""
    if (tenant_id := find_tenant(session, name)) is None:
        raise TenantNotFoundError(
            "there is no tenant of this name; `facebatch tenants list` shows them, and "
            "`facebatch tenants create` makes one"
        )
    return tenant_id


def _view(tenant: Tenant) -> TenantView:
    return TenantView(id=tenant.id, name=tenant.name, created_at=tenant.created_at)


def ensure_tenant(session: Session, name: str) -> int:
    """The id of the tenant called `name`, which is made where it does not exist."""
    session.execute(insert(Tenant).values(name=name).on_conflict_do_nothing())
    return session.scalars(select(Tenant.id).where(Tenant.name == name)).one()


def ensure_model(session: Session, spec: EngineSpec) -> int:
    """The id of the model that `spec` describes, which is made where it does not exist."""
    found = select(Model.id).where(Model.engine == spec.name, Model.version == spec.version)
    if (model_id := session.scalars(found).one_or_none()) is not None:
        return model_id
    session.execute(
        insert(Model)
        .values(engine=spec.name, version=spec.version, dimension=spec.dimension)
        .on_conflict_do_nothing()
    )
    return session.scalars(found).one()
