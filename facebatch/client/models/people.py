"""Galleries and subjects."""

import datetime as dt
from typing import ClassVar
from uuid import UUID

from facebatch.client.models.base import Engine, Page, Tagged


class Gallery(Tagged):
    """A searchable set of people, bound to one engine."""

    id: UUID
    name: str
    engine: Engine
    dimension: int
    """Length of its embeddings."""
    subjects: int
    """How many it has."""
    templates: int
    """How many they have together."""
    created_at: dt.datetime


class Galleries(Page[Gallery]):
    """A page of galleries."""

    FIELD: ClassVar = "galleries"

    galleries: tuple[Gallery, ...]


class Subject(Tagged):
    """A person of a gallery."""

    id: UUID
    name: str
    gallery: UUID
    templates: int
    """How many faces are enrolled."""
    created_at: dt.datetime


class Subjects(Page[Subject]):
    """A page of subjects."""

    FIELD: ClassVar = "subjects"

    subjects: tuple[Subject, ...]
