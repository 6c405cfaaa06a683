"""Embedding across photos: faces gather until they fill a batch."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.engine import EMBED_BATCH_CHIPS, Engine
from pipeline.faces import DetectedPhoto, PhotoFaces

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class EmbedBatches(Generic[Key]):
    """Photos of one engine, which wait until there are faces enough to embed them together.

    A photo alone fills the embedder badly, and all photos of a folder fill the memory.
    """

    _waiting: list[tuple[Key, DetectedPhoto]] = field(default_factory=list)
    _faces: int = 0

    def add(self, key: Key, photo: DetectedPhoto) -> list[tuple[Key, DetectedPhoto]]:
        """Takes a photo in; gives all that wait, in their order, once their faces fill a batch."""
        self._waiting.append((key, photo))
        self._faces += len(photo.faces)
        return self.rest() if self._faces >= EMBED_BATCH_CHIPS else []

    def rest(self) -> list[tuple[Key, DetectedPhoto]]:
        """Gives all that wait."""
        waiting, self._waiting, self._faces = self._waiting, [], 0
        return waiting


def embed_each(engine: Engine, photos: Sequence[DetectedPhoto]) -> list[PhotoFaces | Exception]:
    """For each photo its faces, or what embedding it raised; all are embedded together.

    Where that fails, each is tried alone: which photo it was that cannot be embedded, an embedder
    does not say, and it must not take the others along.
    """
    try:
        return [*engine.embed(photos)]
    except Exception:  # noqa: BLE001 - what comes again for a photo alone is handed on.
        return [_alone(engine, photo) for photo in photos]


def _alone(engine: Engine, photo: DetectedPhoto) -> PhotoFaces | Exception:
    try:
        (faces,) = engine.embed([photo])
    except Exception as exc:  # noqa: BLE001 - the border of one photo; the caller logs.
        return exc
    return faces
