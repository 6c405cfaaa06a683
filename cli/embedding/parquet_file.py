"""Faces as Parquet: a column for each field, written as they come."""

import json
from collections.abc import Sequence
from typing import BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cli.embedding.face_file import Failure
from cli.embedding.rows import LANDMARKS, Rows
from pipeline.engine_spec import EngineSpec

GROUP_ROWS = 16_384
"""Rows that are held back until there are enough to be written together."""


class ParquetFile:
    """Writes rows in groups.

    The engine and the failed photos stand in the schema's metadata, as JSON.
    """

    def __init__(self, file: BinaryIO, spec: EngineSpec, photos: Sequence[str]) -> None:
        self._spec = spec
        self._photos = photos
        self._held: list[Rows] = []
        self._held_count = 0
        self._schema = _schema(spec)
        self._writer = pq.ParquetWriter(file, self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, rows: Rows) -> None:
        """See `FaceFile`."""
        self._held.append(rows)
        self._held_count += len(rows)
        if self._held_count >= GROUP_ROWS:
            self._write()

    def finish(self, failures: Sequence[Failure]) -> None:
        """See `FaceFile`."""
        if self._held_count:
            self._write()
        failed = [{"photo": _text(one.photo), "code": one.code} for one in failures]
        self._writer.add_key_value_metadata({"failed": json.dumps(failed)})

    def _write(self) -> None:
        rows = np.concatenate(self._held)
        self._held, self._held_count = [], 0
        names = [_text(self._photos[number]) for number in rows["photo"]]
        columns = [pa.array(names, pa.string())]
        columns += [pa.array(rows["box"][:, side].copy()) for side in range(4)]
        columns += [
            pa.array(rows[name].copy())
            for name in ("score", "quality", "rotation", "photo_width", "photo_height")
        ]
        columns += [_lists(rows["landmarks"], 2 * LANDMARKS)]
        columns += [_lists(rows["embedding"], self._spec.dimension)]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))


def _lists(values: Rows, length: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), length)


def _text(photo: str) -> str:
    """Parquet's text is UTF-8: bytes of a file name that are none are written out, as in CSV."""
    return photo.encode("utf-8", "backslashreplace").decode()


def _schema(spec: EngineSpec) -> pa.Schema:
    whole, real = pa.int32(), pa.float32()
    return pa.schema(
        [
            ("photo", pa.string()),
            *((side, whole) for side in ("left", "top", "right", "bottom")),
            ("score", real),
            ("quality", real),
            ("rotation", pa.int16()),
            ("photo_width", whole),
            ("photo_height", whole),
            ("landmarks", pa.list_(real, 2 * LANDMARKS)),
            ("embedding", pa.list_(real, spec.dimension)),
        ],
        metadata={
            "engine": spec.name,
            "engine_version": spec.version,
            "dimension": str(spec.dimension),
        },
    )
