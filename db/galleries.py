"""Galleries."""

import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import BigInteger, Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import GalleryExistsError, GalleryNotFoundError
from db.ids import new_id
from db.models import Gallery, Model, SubjectTally, Template
from db.tenants import ensure_model
from db.views import GalleryView
from pipeline.specs import EngineSpec

CLASSIC_GALLERY = "classic"
"""Where the classic endpoints keep their users."""


def create_gallery(session: Session, tenant_id: int, *, name: str, spec: EngineSpec) -> GalleryView:
    """Makes a gallery; raises `GalleryExistsError` where the tenant has one of that name."""
    model_id = ensure_model(session, spec)
    made = session.scalars(
        insert(Gallery)
        .values(id=new_id(), tenant_id=tenant_id, name=name, model_id=model_id)
        .on_conflict_do_nothing(index_elements=["tenant_id", "name"])
        .returning(Gallery.id)
    ).one_or_none()
    if made is None:
        raise GalleryExistsError("a gallery of this name exists; choose another name")
    return get_gallery(session, tenant_id, made)


def ensure_gallery(session: Session, tenant_id: int, *, name: str, spec: EngineSpec) -> uuid.UUID:
    """The id of the gallery called `name`, which is made where it does not exist."""
    found = select(Gallery.id).where(Gallery.tenant_id == tenant_id, Gallery.name == name)
    if (gallery_id := session.scalars(found).one_or_none()) is not None:
        return gallery_id
    session.execute(
        insert(Gallery)
        .values(id=new_id(), tenant_id=tenant_id, name=name, model_id=ensure_model(session, spec))
        .on_conflict_do_nothing(index_elements=["tenant_id", "name"])
    )
    return session.scalars(found).one()


def get_gallery(session: Session, tenant_id: int, gallery_id: uuid.UUID) -> GalleryView:
    """The gallery with its counts; raises `GalleryNotFoundError`."""
    row = session.execute(_galleries(tenant_id).where(Gallery.id == gallery_id)).one_or_none()
    if row is None:
        raise GalleryNotFoundError("there is no such gallery")
    return GalleryView(**row._mapping)


def gallery_engine(session: Session, tenant_id: int, gallery_id: uuid.UUID) -> tuple[str, str]:
    """The name and version of the gallery's engine, without counting.

    Raises `GalleryNotFoundError`.
    """
    query = select(Model.engine, Model.version).join(Gallery, Gallery.model_id == Model.id)
    found = query.where(Gallery.tenant_id == tenant_id, Gallery.id == gallery_id)
    if (row := session.execute(found).one_or_none()) is None:
        raise GalleryNotFoundError("there is no such gallery")
    return row.engine, row.version


def named_gallery(session: Session, tenant_id: int, name: str) -> tuple[uuid.UUID, str] | None:
    """The id of the gallery called `name` and the name of its engine; None where there is none."""
    query = select(Gallery.id, Model.engine).join(Model, Gallery.model_id == Model.id)
    found = query.where(Gallery.tenant_id == tenant_id, Gallery.name == name)
    return None if (row := session.execute(found).one_or_none()) is None else (row.id, row.engine)


def gallery_model(session: Session, tenant_id: int, gallery_id: uuid.UUID) -> int:
    """The id of the gallery's model, without counting; raises `GalleryNotFoundError`."""
    query = select(Gallery.model_id).where(Gallery.tenant_id == tenant_id, Gallery.id == gallery_id)
    if (model_id := session.scalars(query).one_or_none()) is None:
        raise GalleryNotFoundError("there is no such gallery")
    return model_id


def gallery_models(
    session: Session, tenant_id: int, gallery_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, tuple[int, str]]:
    """The id and the engine of each gallery's model; raises `GalleryNotFoundError`."""
    query = (
        select(Gallery.id, Gallery.model_id, Model.engine)
        .join(Model, Model.id == Gallery.model_id)
        .where(Gallery.tenant_id == tenant_id, Gallery.id.in_(gallery_ids))
    )
    found = {row.id: (row.model_id, row.engine) for row in session.execute(query)}
    if len(found) < len(gallery_ids):
        raise GalleryNotFoundError("there is no such gallery")
    return found


def list_galleries(
    session: Session,
    tenant_id: int,
    *,
    name: str | None = None,
    after: uuid.UUID | None = None,
    limit: int = 100,
) -> list[GalleryView]:
    """Galleries by id, those behind `after`, at most `limit`; with `name`, that one alone."""
    query = _galleries(tenant_id).order_by(Gallery.id).limit(limit)
    if name is not None:
        query = query.where(Gallery.name == name)
    if after is not None:
        query = query.where(Gallery.id > after)
    return [GalleryView(**row._mapping) for row in session.execute(query)]


def _galleries(tenant_id: int) -> Select[*tuple[Any, ...]]:
    subjects = (
        select(func.coalesce(func.sum(SubjectTally.change), 0).cast(BigInteger))
        .where(SubjectTally.tenant_id == tenant_id, SubjectTally.gallery_id == Gallery.id)
        .scalar_subquery()
    )
    templates = (
        select(func.count())
        .where(Template.tenant_id == tenant_id, Template.gallery_id == Gallery.id)
        .scalar_subquery()
    )
    return (
        select(
            Gallery.id,
            Gallery.name,
            Model.engine,
            Model.version.label("engine_version"),
            Model.dimension,
            Gallery.created_at,
            subjects.label("subject_count"),
            templates.label("template_count"),
        )
        .join(Model, Model.id == Gallery.model_id)
        .where(Gallery.tenant_id == tenant_id)
    )
