"""Faces that were found before, so that no photo is searched twice by one model."""

from collections.abc import Iterable

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Embedding, Extraction, Face
from pipeline.faces import Box, PhotoFaces
from pipeline.faces import Face as FoundFace


def load_extractions(session: Session, extraction_ids: Iterable[int]) -> dict[int, PhotoFaces]:
    """The faces of each extraction by its id; one that is gone meanwhile is left out."""
    wanted = set(extraction_ids)
    sizes = session.execute(
        select(Extraction.id, Extraction.width_px, Extraction.height_px).where(
            Extraction.id.in_(wanted)
        )
    ).all()
    faces: dict[int, list[FoundFace]] = {row.id: [] for row in sizes}
    rows = session.execute(
        select(Face, Embedding.vector)
        .join(Embedding, Embedding.face_id == Face.id)
        .where(Face.extraction_id.in_(wanted))
        .order_by(Face.extraction_id, Face.ordinal)
    )
    for face, vector in rows:
        flat = face.landmarks_px
        faces[face.extraction_id].append(
            FoundFace(
                box=Box(
                    left=face.left_px,
                    top=face.top_px,
                    right=face.right_px,
                    bottom=face.bottom_px,
                ),
                landmarks=tuple(zip(flat[::2], flat[1::2], strict=True)),
                score=face.score,
                embedding=np.asarray(vector, dtype=np.float32),
            )
        )
    return {
        row.id: PhotoFaces(
            width_px=row.width_px, height_px=row.height_px, faces=tuple(faces[row.id])
        )
        for row in sizes
    }
