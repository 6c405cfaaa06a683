"""Embedding across photos: faces gather until they fill a batch."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.engine import EMBED_BATCH_CHIPS, Engine
from pipeline.faces import DetectedPhoto, PhotoFaces

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class EmbedBatches(Generic[Key]):
    """Photos of one engine, whose faces are embedded together as soon as they fill a batch.

    A photo alone fills the embedder badly, and all photos of a folder fill the memory.
    """

    engine: Engine
    _waiting: list[tuple[Key, DetectedPhoto]] = field(default_factory=list)
    _faces: int = 0

    def add(self, key: Key, photo: DetectedPhoto) -> Iterator[tuple[Key, PhotoFaces]]:
        """Takes a photo in; gives those that are done with it, in the order in which they came."""
        self._waiting.append((key, photo))
        self._faces += len(photo.faces)
        if self._faces >= EMBED_BATCH_CHIPS:
            yield from self.rest()

    def rest(self) -> Iterator[tuple[Key, PhotoFaces]]:
        """Embeds what waits."""
        waiting, self._waiting, self._faces = self._waiting, [], 0
        embedded = self.engine.embed([photo for _, photo in waiting])
        for (key, _), faces in zip(waiting, embedded, strict=True):
            yield key, faces
