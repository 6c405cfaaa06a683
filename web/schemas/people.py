"""Galleries and subjects, in and out."""

import datetime as dt
import uuid
from typing import Self

from pydantic import Field

from db.views import GalleryView, SubjectView
from web.schemas.base import MAX_ENGINE_CHARS, Incoming, Name, Outgoing


class GalleryIn(Incoming):
    """A gallery to create."""

    name: Name
    engine: str | None = Field(
        None,
        max_length=MAX_ENGINE_CHARS,
        description="The engine it is bound to for good. Default: `dlib`.",
    )


class EngineOut(Outgoing):
    """What made the embeddings; those of two engines or versions are never compared."""

    name: str
    version: str


class GalleryOut(Outgoing):
    """A gallery."""

    id: uuid.UUID
    name: str
    engine: EngineOut
    dimension: int = Field(description="Length of its embeddings.")
    subjects: int = Field(description="How many subjects it has.")
    templates: int = Field(description="How many templates they have together.")
    created_at: dt.datetime

    @classmethod
    def of(cls, view: GalleryView) -> Self:
        """From what the query returned."""
        return cls(
            id=view.id,
            name=view.name,
            engine=EngineOut(name=view.engine, version=view.engine_version),
            dimension=view.dimension,
            subjects=view.subject_count,
            templates=view.template_count,
            created_at=view.created_at,
        )


class GalleriesOut(Outgoing):
    """A page of galleries."""

    galleries: list[GalleryOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class SubjectIn(Incoming):
    """A subject to create, or its new name."""

    name: Name


class SubjectOut(Outgoing):
    """A subject."""

    id: uuid.UUID
    name: str
    gallery: uuid.UUID
    templates: int = Field(description="How many faces of it are enrolled.")
    created_at: dt.datetime

    @classmethod
    def of(cls, view: SubjectView) -> Self:
        """From what the query returned."""
        return cls(
            id=view.id,
            name=view.name,
            gallery=view.gallery_id,
            templates=view.template_count,
            created_at=view.created_at,
        )


class SubjectsOut(Outgoing):
    """A page of subjects."""

    subjects: list[SubjectOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")
