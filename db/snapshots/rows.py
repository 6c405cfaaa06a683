"""The templates of one gallery, as a process has them in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.nearest import Floats, Ints, Matrix, NearestRows, nearest_rows, rounding

BLOCK_BYTES = 8_388_608
"""Vectors that are kept in one piece. The system maps so large ones one by one, gives a page only
once somebody writes to it, and has all of them back when the piece is let go."""
OTHER_BYTES = 24
"""Of a template beside its vector: id, subject, length, and its share of what is around."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Templates as they were read."""

    ids: Ints
    subjects: Ints
    """A number for each subject. Two may share one, which costs a little time and nothing else."""
    vectors: Floats
    """Shape (n, dimension)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominees:
    """Templates among which those of a probe's nearest subjects are, if they are still there."""

    ids: tuple[int, ...]
    beyond: float
    """All other templates in memory have a larger squared distance than this."""


class _Block:
    def __init__(self, rows: int, dimension: int) -> None:
        self.ids = np.empty(rows, dtype=np.int64)
        self.subjects = np.empty(rows, dtype=np.int64)
        self.vectors = np.empty((rows, dimension), dtype=np.float32)
        self.squares = np.empty(rows, dtype=np.float32)
        self.filled = 0

    @property
    def room(self) -> int:
        return len(self.ids) - self.filled

    def add(self, batch: Batch, part: slice) -> None:
        vectors = batch.vectors[part]
        end = self.filled + len(vectors)
        here = slice(self.filled, end)
        self.ids[here], self.subjects[here] = batch.ids[part], batch.subjects[part]
        self.vectors[here] = vectors
        self.squares[here] = np.einsum("nd,nd->n", vectors, vectors)
        self.filled = end

    def wipe(self, which: npt.NDArray[np.bool_]) -> int:
        places = np.flatnonzero(which & np.isfinite(self.squares[: self.filled]))
        self.squares[places] = np.inf
        self.vectors[places] = 0
        return len(places)


class Rows:
    """Grows, and forgets; not to be searched and changed by two threads at once."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.wiped = 0
        """Rows that were forgotten and still take their place."""
        self._blocks: list[_Block] = []
        self._longest_squared = 0.0

    def __len__(self) -> int:
        return sum(block.filled for block in self._blocks)

    @property
    def size_bytes(self) -> int:
        """What the rows take."""
        return len(self) * row_bytes(self.dimension)

    def add(self, batch: Batch) -> None:
        """Takes the templates in."""
        start = 0
        while start < len(batch.ids):
            if not self._blocks or not self._blocks[-1].room:
                rows = max(1, BLOCK_BYTES // (4 * self.dimension))
                self._blocks.append(_Block(rows, self.dimension))
            end = min(len(batch.ids), start + self._blocks[-1].room)
            self._blocks[-1].add(batch, slice(start, end))
            start = end
        squares = np.einsum("nd,nd->n", batch.vectors, batch.vectors)
        self._longest_squared = max(self._longest_squared, float(squares.max(initial=0.0)))

    def forget(self, ids: Ints) -> int:
        """Wipes the templates out, as many of them as are here; returns how many that were."""
        return self._wipe(ids, gone=True)

    def keep_only(self, ids: Ints) -> int:
        """Wipes all others out; returns how many that were."""
        return self._wipe(ids, gone=False)

    def _wipe(self, ids: Ints, *, gone: bool) -> int:
        wiped = sum(
            block.wipe(np.isin(block.ids[: block.filled], ids, invert=not gone))
            for block in self._blocks
        )
        self.wiped += wiped
        return wiped

    def clear(self) -> None:
        """Wipes everything out and lets it go."""
        for block in self._blocks:
            block.vectors[: block.filled] = 0
        self._blocks.clear()
        self.wiped = 0

    def nominees(self, probes: Floats, *, subjects: int, depth: int) -> list[Nominees]:
        """For each probe, shape (n, dimension), the templates of its `subjects` nearest subjects.

        They are looked for among the `depth` nearest templates, so they may be fewer.
        """
        found = nearest_rows(self._matrices(), probes, count=depth)
        longest = self._longest_squared**0.5
        return [
            self._nominees(one, subjects, rounding(self.dimension, longest, float(length)))
            for one, length in zip(found, np.linalg.norm(probes, axis=1), strict=True)
        ]

    def _matrices(self) -> Iterator[Matrix]:
        for block in self._blocks:
            filled = slice(block.filled)
            yield Matrix(vectors=block.vectors[filled], squares=block.squares[filled])

    def _nominees(self, found: NearestRows, subjects: int, rounding_: float) -> Nominees:
        whose = self._values(found.rows, [block.subjects for block in self._blocks])
        taken = _until_there_are(subjects, whose.tolist())
        beyond = found.squared[taken] if taken < len(found.rows) else found.beyond
        ids = self._values(found.rows[:taken], [block.ids for block in self._blocks])
        return Nominees(ids=tuple(ids.tolist()), beyond=float(beyond) - rounding_)

    def _values(self, rows: Ints, columns: Sequence[Ints]) -> Ints:
        """What the column has at each of the rows."""
        if not columns:
            return np.empty(0, dtype=np.int64)
        # All blocks but the last are full.
        size = len(columns[0])
        values = np.empty(len(rows), dtype=np.int64)
        for number in np.unique(rows // size):
            here = rows // size == number
            values[here] = columns[number][rows[here] % size]
        return values


def row_bytes(dimension: int) -> int:
    """What a template takes in memory."""
    return 4 * dimension + OTHER_BYTES


def _until_there_are(subjects: int, whose: Sequence[int]) -> int:
    """How many of the first there must be, for so many subjects."""
    seen: set[int] = set()
    for taken, subject in enumerate(whose, start=1):
        seen.add(subject)
        if len(seen) == subjects:
            return taken
    return len(whose)
