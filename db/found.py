"""What was found in photos becomes rows: extractions, faces, embeddings, all at once."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from db.faces import face_values
from db.search import vector_literal
from pipeline.faces import PhotoFaces

PhotoOfModel = tuple[uuid.UUID, int]
"""The ids of a photo and of a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownExtraction:
    """An extraction's rows: the face and embedding ids by the face's ordinal."""

    extraction_id: int
    faces: dict[int, tuple[int, int]] = field(default_factory=dict)


_EXTRACTIONS = text("""
    INSERT INTO extraction
        (tenant_id, photo_id, model_id, width_px, height_px, rotation, orientation, taken_at)
    SELECT photo.tenant_id, photo.id, found.model_id,
           found.width_px, found.height_px, found.rotation, found.orientation, found.taken_at
    FROM unnest(CAST(CAST(:photos AS text[]) AS uuid[]), CAST(:models AS smallint[]),
                CAST(:widths AS bigint[]), CAST(:heights AS bigint[]),
                CAST(:rotations AS smallint[]), CAST(:orientations AS smallint[]),
                CAST(:taken_at AS text[]))
        AS found (photo_id, model_id, width_px, height_px, rotation, orientation, taken_at)
    JOIN photo ON photo.id = found.photo_id
    ORDER BY photo.id
    ON CONFLICT (photo_id, model_id) DO NOTHING
    RETURNING id, photo_id, model_id
""")
_COLUMNS = {
    **dict.fromkeys(("left_px", "top_px", "right_px", "bottom_px", "width_px"), "bigint"),
    **dict.fromkeys(("score", "quality", "sharpness", "yaw", "pitch", "roll"), "real"),
    "quality_limit": "text",
}
"""The face's columns that hold one value, and PostgreSQL's names of their types."""
_NAMES = ", ".join(_COLUMNS)
_ARRAYS = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS.items())
_FACES = text(f"""
    WITH found AS (
        SELECT *
        FROM unnest(CAST(:extractions AS bigint[]), CAST(:ordinals AS smallint[]),
                    CAST(:landmarks AS text[]), CAST(:vectors AS text[]), {_ARRAYS})
            AS found (extraction_id, ordinal, landmarks_px, vector, {_NAMES})
    ), fresh AS (
        INSERT INTO face (tenant_id, extraction_id, ordinal, landmarks_px, {_NAMES})
        SELECT extraction.tenant_id, extraction_id, ordinal, CAST(landmarks_px AS real[]),
               {", ".join(f"found.{name}" for name in _COLUMNS)}
        FROM found JOIN extraction ON extraction.id = found.extraction_id
        RETURNING id, tenant_id, extraction_id, ordinal
    ), embedded AS (
        INSERT INTO embedding (tenant_id, face_id, model_id, vector)
        SELECT fresh.tenant_id, fresh.id, extraction.model_id, CAST(found.vector AS vector)
        FROM fresh
        JOIN found USING (extraction_id, ordinal)
        JOIN extraction ON extraction.id = fresh.extraction_id
        RETURNING id, face_id
    )
    SELECT fresh.extraction_id, fresh.ordinal, fresh.id AS face_id, embedded.id AS embedding_id
    FROM fresh JOIN embedded ON embedded.face_id = fresh.id
""")  # noqa: S608 - put together from constants.


def write_found(
    session: Session, found: Mapping[PhotoOfModel, PhotoFaces]
) -> dict[PhotoOfModel, KnownExtraction]:
    """Writes what each photo shows, and returns the extractions that are new, with their faces.

    What another worker has written meanwhile stays as it is, and is left out.
    """
    if not found:
        return {}
    fresh = _new_extractions(session, found)
    columns: dict[str, list[object]] = defaultdict(list)
    for key, extraction_id in fresh.items():
        for ordinal, face in enumerate(found[key].faces):
            values = face_values(face)
            columns["extractions"].append(extraction_id)
            columns["ordinals"].append(ordinal)
            columns["landmarks"].append(_array_literal(values.pop("landmarks_px")))
            columns["vectors"].append(vector_literal(face.embedding))
            for name in _COLUMNS:
                columns[name].append(values[name])
    written = {key: KnownExtraction(extraction_id=one) for key, one in fresh.items()}
    if columns:
        _note_faces(written.values(), session.execute(_FACES, dict(columns)))
    return written


def _note_faces(
    extractions: Iterable[KnownExtraction], rows: Iterable[Row[*tuple[Any, ...]]]
) -> None:
    by_id = {one.extraction_id: one for one in extractions}
    for row in rows:
        by_id[row.extraction_id].faces[row.ordinal] = (row.face_id, row.embedding_id)


def _new_extractions(
    session: Session, found: Mapping[PhotoOfModel, PhotoFaces]
) -> dict[PhotoOfModel, int]:
    # In order of the photo, so that two workers with the same photos do not wait in a ring.
    keys = sorted(found)
    rows = session.execute(
        _EXTRACTIONS,
        {
            "photos": [str(photo_id) for photo_id, _ in keys],
            "models": [model_id for _, model_id in keys],
            "widths": [found[key].width_px for key in keys],
            "heights": [found[key].height_px for key in keys],
            "rotations": [found[key].rotation for key in keys],
            "orientations": [found[key].shot.orientation for key in keys],
            "taken_at": [found[key].shot.taken_at for key in keys],
        },
    )
    return {(row.photo_id, row.model_id): row.id for row in rows}


def _array_literal(values: object) -> str:
    assert isinstance(values, list)  # noqa: S101 - the flattened landmarks.
    return "{" + ",".join(map(str, values)) + "}"


_IDS = text("""
    SELECT extraction.photo_id, extraction.model_id, extraction.id AS extraction_id
    FROM unnest(CAST(CAST(:photos AS text[]) AS uuid[]), CAST(:models AS smallint[]))
        AS wanted (photo_id, model_id)
    JOIN extraction USING (photo_id, model_id)
""")
_FACE_IDS = text("""
    SELECT face.extraction_id, face.ordinal, face.id AS face_id, embedding.id AS embedding_id
    FROM face
    JOIN extraction ON extraction.id = face.extraction_id
    JOIN embedding ON embedding.face_id = face.id AND embedding.model_id = extraction.model_id
    WHERE face.extraction_id = ANY(CAST(:extractions AS bigint[]))
""")


def extraction_ids(
    session: Session, wanted: Iterable[PhotoOfModel], *, with_faces: Iterable[PhotoOfModel]
) -> dict[PhotoOfModel, KnownExtraction]:
    """The extractions of photos by models, those of `with_faces` with their faces' ids."""
    keys = sorted(set(wanted))
    if not keys:
        return {}
    rows = session.execute(
        _IDS,
        {"photos": [str(photo_id) for photo_id, _ in keys], "models": [one for _, one in keys]},
    )
    known = {
        (row.photo_id, row.model_id): KnownExtraction(extraction_id=row.extraction_id)
        for row in rows
    }
    searched = [known[key] for key in set(with_faces)]
    if searched:
        ids = sorted(one.extraction_id for one in searched)
        _note_faces(searched, session.execute(_FACE_IDS, {"extractions": ids}))
    return known
