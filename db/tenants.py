"""Tenants and models: the rows that everything else hangs on."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import Model, Tenant
from pipeline.specs import EngineSpec

LOCAL_TENANT = "local"


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
