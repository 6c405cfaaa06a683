"""What the classic endpoints answer, as their clients know it."""

from typing import Literal

from pydantic import Field

from pipeline.error_curve import Basis
from web.schemas.base import Outgoing

Part = Literal["connected", "disconnected"]


class IndexOut(Outgoing):
    """The endpoints."""

    service: Literal["facebatch"]
    version: str
    endpoints: dict[str, str] = Field(description="What each is for.")


class HealthOut(Outgoing):
    """All parts answer."""

    status: Literal["healthy"]
    database: Part
    threshold: float = Field(description="Distance up to which two faces are one person.")
    embedding_dimension: int


class PartsOut(Outgoing):
    """Which parts answer."""

    database: Part
    storage: Part
    queue: Part


class UnhealthyOut(Outgoing):
    """Some parts do not answer."""

    status: Literal["unhealthy"]
    database: Part
    threshold: float
    embedding_dimension: int
    parts: PartsOut


class StatsOut(Outgoing):
    """How many users are registered."""

    total_users: int
    threshold: float
    embedding_dimension: int


class RegisteredOut(Outgoing):
    """A user who was registered."""

    status: Literal["success"]
    message: str
    user_id: int
    name: str
    embedding_dimension: int


class UserOut(Outgoing):
    """A user, in short."""

    id: int
    name: str


class RecognizedOut(Outgoing):
    """Whom the largest face of a photo shows."""

    status: Literal["match", "no_match"]
    message: str
    distance: float | None = Field(description="To the nearest user; null where there is none.")
    confidence: float | None = Field(description="1 - distance, and at least 0.")
    matched_user: UserOut | None
    threshold: float
    fmr: float | None = Field(description="Expected false match rate at this threshold.")
    fmr_basis: Basis | None = Field(description="What `fmr` rests on.")
    fpir: float | None = Field(description="Expected share of strangers that match anybody.")
    fnmr: float | None = Field(description="Expected share of true matches that are missed.")
    advice: str | None = Field(description="What to do where many are missed.")
