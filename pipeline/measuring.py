"""Qualities for faces that were found before qualities were kept."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.faces import Box, Face, PhotoFaces

SAME_FACE_OVERLAP = 0.5
"""Two boxes that share so much of their common area are of one face."""


def measured(known: PhotoFaces, anew: PhotoFaces) -> PhotoFaces:
    """`known`, each face with the quality that the same face has in `anew`.

    `anew` is the same photo, searched once more by the same engine. The faces stay those that they
    were, with their boxes and embeddings: templates and results refer to them. One that has a
    quality, or is not found again, stays as it is.
    """
    faces = tuple(_measured(face, anew.faces) for face in known.faces)
    return replace(known, faces=faces)


def _measured(face: Face, anew: Sequence[Face]) -> Face:
    again = max(anew, key=lambda one: _overlap(face.box, one.box), default=None)
    if face.quality or again is None or _overlap(face.box, again.box) < SAME_FACE_OVERLAP:
        return face
    return replace(face, quality=again.quality)


def _overlap(one: Box, other: Box) -> float:
    """The area that both have, divided by that which either has (IoU)."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area_px(one) + _area_px(other) - shared)


def _area_px(box: Box) -> int:
    return (box.right - box.left) * (box.bottom - box.top)
