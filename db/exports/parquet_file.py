"""Faces as Parquet, for workers and the command: the web server has no pyarrow."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from db.exports.lines import Line, face_rows
from db.exports.sink import Sink
from db.exports.tables import FACE_COLUMNS, Kind

GROUP_ROWS = 4096
"""Rows that are held back until there are enough to be written together."""
SCHEMA_VERSION = "2"

_CANDIDATE = pa.struct(
    [
        ("rank", pa.int32()),
        ("subject_id", pa.string()),
        ("subject", pa.string()),
        ("gallery", pa.string()),
        ("distance", pa.float64()),
    ]
)
_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.MOMENT: pa.timestamp("us", tz="UTC"),
    Kind.CANDIDATES: pa.list_(_CANDIDATE),
    Kind.POINTS: pa.list_(pa.list_(pa.float64())),
}
SCHEMA = pa.schema(
    [(name, _TYPES[kind]) for name, kind in FACE_COLUMNS.items()],
    metadata={"facebatch.results": SCHEMA_VERSION},
)


def parquet_chunks(pages: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    """A job's faces with the columns of CSV, in groups of rows."""
    sink = Sink()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        for group in _groups(pages):
            writer.write_table(_table(group))
            group.clear()  # The next one would be in memory beside it.
            yield from sink.pieces()
    yield from sink.pieces()


def _groups(pages: Iterable[Sequence[Line]]) -> Iterator[list[Line]]:
    rows: list[Line] = []
    for page in pages:
        for line in page:
            rows.extend(face_rows(line))
            if len(rows) >= GROUP_ROWS:
                yield rows
                rows = []
    if rows:
        yield rows


def _table(rows: Sequence[Line]) -> pa.Table:
    columns = [
        pa.array([_value(row[name], kind) for row in rows], SCHEMA.field(name).type)
        for name, kind in FACE_COLUMNS.items()
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _value(value: Any, kind: Kind) -> Any:
    if kind is Kind.MOMENT and value is not None:
        return dt.datetime.fromisoformat(value)
    return value
