"""Subjects: the people of a gallery."""

import uuid
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.errors import DuplicateSubjectError, SubjectNotFoundError
from db.galleries import gallery_model
from db.ids import new_id
from db.models import Subject, Template
from db.views import SubjectView

DUPLICATE = "the gallery has a subject of this name; choose another name"
_NOT_IN_IT = "there is no such subject in the gallery"


def create_subject(
    session: Session, tenant_id: int, gallery_id: uuid.UUID, *, name: str
) -> SubjectView:
    """Makes a subject; raises `GalleryNotFoundError` or `DuplicateSubjectError`."""
    gallery_model(session, tenant_id, gallery_id)
    made = insert_subject(session, tenant_id, gallery_id, name=name)
    if made is None:
        raise DuplicateSubjectError(DUPLICATE)
    return get_subject(session, tenant_id, gallery_id, made)


def insert_subject(
    session: Session, tenant_id: int, gallery_id: uuid.UUID, *, name: str
) -> uuid.UUID | None:
    """The new subject's id, or None where the name is taken."""
    return session.scalars(
        insert(Subject)
        .values(id=new_id(), tenant_id=tenant_id, gallery_id=gallery_id, name=name)
        .on_conflict_do_nothing(index_elements=["gallery_id", "name"])
        .returning(Subject.id)
    ).one_or_none()


def get_subject(
    session: Session, tenant_id: int, gallery_id: uuid.UUID, subject_id: uuid.UUID
) -> SubjectView:
    """The subject; raises `SubjectNotFoundError`, for one of another gallery too."""
    return _found(
        session, _subjects(tenant_id).where(_in(gallery_id), Subject.id == subject_id), _NOT_IN_IT
    )


def find_subject(session: Session, tenant_id: int, subject_id: uuid.UUID) -> SubjectView:
    """The subject, of whichever gallery; raises `SubjectNotFoundError`."""
    query = _subjects(tenant_id).where(Subject.id == subject_id)
    return _found(session, query, "there is no such subject")


def numbered_subject(
    session: Session, tenant_id: int, gallery_id: uuid.UUID, number: int
) -> SubjectView:
    """The gallery's subject of this number; raises `SubjectNotFoundError`."""
    return _found(
        session, _subjects(tenant_id).where(_in(gallery_id), Subject.number == number), _NOT_IN_IT
    )


def hold_subject(
    session: Session, tenant_id: int, gallery_id: uuid.UUID, subject_id: uuid.UUID
) -> SubjectView:
    """The subject, which nobody changes or enrols for before the commit.

    Raises `SubjectNotFoundError`.
    """
    query = select(Subject.id).where(
        Subject.tenant_id == tenant_id, Subject.gallery_id == gallery_id, Subject.id == subject_id
    )
    session.execute(query.with_for_update())
    return get_subject(session, tenant_id, gallery_id, subject_id)


def list_subjects(
    session: Session,
    tenant_id: int,
    gallery_id: uuid.UUID,
    *,
    name: str | None = None,
    after: uuid.UUID | None = None,
    limit: int = 100,
) -> list[SubjectView]:
    """Subjects by id, those behind `after`, at most `limit`; with `name`, that one alone.

    Raises `GalleryNotFoundError`.
    """
    gallery_model(session, tenant_id, gallery_id)
    query = _subjects(tenant_id).where(_in(gallery_id)).order_by(Subject.id).limit(limit)
    if name is not None:
        query = query.where(Subject.name == name)
    if after is not None:
        query = query.where(Subject.id > after)
    return [SubjectView(**row._mapping) for row in session.execute(query)]


def rename_subject(
    session: Session, tenant_id: int, gallery_id: uuid.UUID, subject_id: uuid.UUID, *, name: str
) -> SubjectView:
    """Gives the subject another name; raises `SubjectNotFoundError`, `DuplicateSubjectError`."""
    get_subject(session, tenant_id, gallery_id, subject_id)
    taken = select(Subject.id).where(
        Subject.gallery_id == gallery_id, Subject.name == name, Subject.id != subject_id
    )
    # Asked first: a server writes the statements that it refuses, and with them names, to its log.
    if session.scalars(taken).one_or_none() is not None:
        raise DuplicateSubjectError(DUPLICATE)
    statement = update(Subject).where(
        Subject.tenant_id == tenant_id,
        Subject.gallery_id == gallery_id,
        Subject.id == subject_id,
    )
    # Somebody may take the name between the two.
    try:
        with session.begin_nested():
            session.execute(statement.values(name=name))
    except IntegrityError as exc:
        raise DuplicateSubjectError(DUPLICATE) from exc
    return get_subject(session, tenant_id, gallery_id, subject_id)


def _found(session: Session, query: Select[*tuple[Any, ...]], otherwise: str) -> SubjectView:
    row = session.execute(query).one_or_none()
    if row is None:
        raise SubjectNotFoundError(otherwise)
    return SubjectView(**row._mapping)


def _in(gallery_id: uuid.UUID) -> ColumnElement[bool]:
    return Subject.gallery_id == gallery_id


def _subjects(tenant_id: int) -> Select[*tuple[Any, ...]]:
    templates = (
        select(func.count())
        .where(Template.tenant_id == tenant_id, Template.subject_id == Subject.id)
        .scalar_subquery()
    )
    return select(
        Subject.id,
        Subject.number,
        Subject.name,
        Subject.gallery_id,
        templates.label("template_count"),
        Subject.created_at,
    ).where(Subject.tenant_id == tenant_id)


def require_subjects(
    session: Session, tenant_id: int, gallery_id: uuid.UUID | None, wanted: set[uuid.UUID]
) -> None:
    """That the gallery has all of the subjects, which then stay until the commit.

    Raises `SubjectNotFoundError`.
    """
    if not wanted:
        return
    # KEY SHARE: they may be renamed meanwhile, not deleted.
    query = select(Subject.id).where(
        Subject.tenant_id == tenant_id, Subject.gallery_id == gallery_id, Subject.id.in_(wanted)
    )
    if len(session.scalars(query.with_for_update(read=True, key_share=True)).all()) < len(wanted):
        raise SubjectNotFoundError(_NOT_IN_IT)
