"""Answers about single faces: verified, detected, searched for, and those of classic endpoints."""

from typing import ClassVar, Literal
from uuid import UUID

from facebatch.client.models.base import Answer, Engine, Page, Who
from facebatch.client.models.jobs import Basis, Threshold
from facebatch.client.models.results import Box, Landmarks, Quality, SeenFace


class Verification(Answer):
    """Whether two faces are of one person."""

    match: bool
    distance: float | None
    threshold: Threshold
    engine: Engine
    face: SeenFace
    reference: SeenFace | None
    subject: Who | None


class DetectedFace(Answer):
    """A face of a photo that was not kept."""

    face: int
    box: Box
    landmarks: Landmarks
    score: float
    quality: Quality | None


class Detection(Answer):
    """The faces of a photo that was not kept."""

    engine: str
    width: int
    height: int
    orientation: int | None
    rotation: int | None
    faces: tuple[DetectedFace, ...]
    faces_left_out: int


class FoundFace(Answer):
    """The face of a photo that is the nearest."""

    face: int
    id: int
    box: Box


class FoundPhoto(Answer):
    """A photo that shows whom was searched."""

    name: str
    client_id: str | None
    key: str | None
    sha256: str | None
    taken_at: str | None
    face: FoundFace
    distance: float


class Search(Page[FoundPhoto]):
    """A page of the photos that show somebody, the nearest first."""

    FIELD: ClassVar = "photos"

    job: UUID
    probe: SeenFace | None
    subject: Who | None
    engine: Engine
    faces: int
    """How many were searched."""
    threshold: Threshold
    photos: tuple[FoundPhoto, ...]


class User(Answer):
    """Who is registered for recognition, in short."""

    id: int
    name: str


class Registered(Answer):
    """A user who was registered."""

    status: Literal["success"]
    message: str
    user_id: int
    name: str
    embedding_dimension: int


class Recognized(Answer):
    """Which registered user a photo shows."""

    status: Literal["match", "no_match"]
    message: str
    distance: float | None
    confidence: float | None
    matched_user: User | None
    threshold: float
    fmr: float | None
    fmr_basis: Basis | None
    fpir: float | None
    fnmr: float | None
    advice: str | None


class Stats(Answer):
    """How many users are registered."""

    total_users: int
    threshold: float
    embedding_dimension: int


class Health(Answer):
    """All parts of the server answer."""

    status: Literal["healthy"]
    database: Literal["connected", "disconnected"]
    threshold: float
    embedding_dimension: int
