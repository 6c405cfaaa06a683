"""Faces that were found before, so that no photo is searched twice by one model."""

from collections.abc import Iterable

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.faces import box_of, quality_of
from db.models import Embedding, Extraction, Face
from pipeline.faces import Face as FoundFace
from pipeline.faces import PhotoFaces
from pipeline.shot import Shot


def load_extractions(session: Session, extraction_ids: Iterable[int]) -> dict[int, PhotoFaces]:
    """The faces of each extraction by its id; one that is gone meanwhile is left out."""
    wanted = set(extraction_ids)
    sizes = session.execute(
        select(
            *(Extraction.id, Extraction.width_px, Extraction.height_px),
            *(Extraction.rotation, Extraction.orientation, Extraction.taken_at),
        ).where(Extraction.id.in_(wanted))
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
                box=box_of(face),
                landmarks=tuple(zip(flat[::2], flat[1::2], strict=True)),
                score=face.score,
                quality=quality_of(face),
                embedding=np.asarray(vector, dtype=np.float32),
            )
        )
    return {
        row.id: PhotoFaces(
            width_px=row.width_px,
            height_px=row.height_px,
            rotation=row.rotation,
            shot=Shot(taken_at=row.taken_at, orientation=row.orientation),
            faces=tuple(faces[row.id]),
        )
        for row in sizes
    }
