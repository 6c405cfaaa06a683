"""Embedding across photos: faces gather until they fill a batch."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.engine import EMBED_BATCH_CHIPS
from pipeline.faces import DetectedPhoto

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
