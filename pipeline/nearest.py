"""Which rows of large matrices are nearest to some probes: matrix products, piece by piece."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
PIECE_ROWS = 4096
"""Rows whose distances are computed at once: their products with 150 probes stay in the cache."""
MERGE_FROM = 4
"""So many times what is kept is gathered before it is sorted out again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrix:
    """Some of the rows that are searched."""

    vectors: Floats
    """Shape (n, dimension)."""
    squares: Floats
    """Each row's squared length, shape (n,); infinite for one that is never to be found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NearestRows:
    """The nearest rows of one probe, nearest first."""

    rows: Ints
    """Their numbers, counted over all matrices in their order, shape (m,)."""
    squared: npt.NDArray[np.float64]
    """The squared distances, shape (m,), but for rounding: see `rounding`."""
    beyond: float
    """What the squared distance of every other row is at least, but for rounding."""


def nearest_rows(matrices: Iterable[Matrix], probes: Floats, *, count: int) -> list[NearestRows]:
    """For each probe, shape (n, dimension), the `count` nearest of all rows by L2.

    A squared distance is |v|^2 - 2 v p + |p|^2, so that a matrix product does nearly all of the
    work. Never more than a piece of the distances is in memory.
    """
    best = _Best(len(probes), count)
    doubled = -2 * probes
    first = 0
    for matrix in matrices:
        for start in range(0, len(matrix.vectors), PIECE_ROWS):
            piece = slice(start, start + PIECE_ROWS)
            scores = doubled @ matrix.vectors[piece].T
            scores += matrix.squares[piece]
            best.add(scores, first + start)
        first += len(matrix.vectors)
    return best.of(np.einsum("nd,nd->n", probes, probes, dtype=np.float64))


def rounding(dimension: int, longest: float, probe_length: float) -> float:
    """By how much a squared distance of `nearest_rows` differs from another's at the most.

    The other is computed in float32 as well, in whichever order. `longest` is the length of the
    longest row. Source: Higham, Accuracy and Stability of Numerical Algorithms, 3.1; a sum of n
    products is off by n u at the most, of the sum of their absolute values. There are three such
    sums here and one there, and the lengths themselves bound all of them.
    """
    return float(4 * dimension * np.finfo(np.float32).eps * (longest + probe_length) ** 2)


class _Best:
    """The rows of the least scores, for each probe, of those that were added."""

    def __init__(self, probes: int, count: int) -> None:
        self._count = count
        self._limits = np.full(probes, np.inf, dtype=np.float32)
        """What a score must be below to be among the least."""
        self._probes = np.empty(0, dtype=np.int64)
        self._rows = np.empty(0, dtype=np.int64)
        self._scores = np.empty(0, dtype=np.float32)
        self._gathered: list[tuple[Ints, Ints, Floats]] = []
        self._n_gathered = 0

    def add(self, scores: Floats, first: int) -> None:
        """Scores of shape (probes, rows), the rows numbered from `first`."""
        found = np.flatnonzero(scores < self._limits[:, None])
        enough = MERGE_FROM * self._count * len(self._limits)
        if len(found) > enough and scores.shape[1] > self._count:
            found = self._least(scores)
        if not len(found):
            return
        probes, rows = np.divmod(found, scores.shape[1])
        self._gathered.append((probes, rows + first, scores.ravel()[found]))
        self._n_gathered += len(found)
        if self._n_gathered > enough:
            self._merge()

    def _least(self, scores: Floats) -> Ints:
        """Positions of each probe's least scores, in the flattened array."""
        columns = np.argpartition(scores, self._count - 1, axis=1)[:, : self._count]
        places = (columns + np.arange(len(scores))[:, None] * scores.shape[1]).ravel()
        found: Ints = places[scores.ravel()[places] < np.repeat(self._limits, self._count)]
        return found

    def _merge(self) -> None:
        probes = np.concatenate([self._probes, *(one[0] for one in self._gathered)])
        rows = np.concatenate([self._rows, *(one[1] for one in self._gathered)])
        scores = np.concatenate([self._scores, *(one[2] for one in self._gathered)])
        order = np.lexsort((scores, probes))
        probes = probes[order]
        places = np.arange(len(order)) - np.searchsorted(probes, probes)
        kept = places < self._count
        self._probes, order = probes[kept], order[kept]
        self._rows, self._scores = rows[order], scores[order]
        last = places[kept] == self._count - 1
        self._limits[self._probes[last]] = self._scores[last]
        self._gathered, self._n_gathered = [], 0

    def of(self, squares: npt.NDArray[np.float64]) -> list[NearestRows]:
        """What is best now, with the probes' squared lengths added to the scores."""
        self._merge()
        ends = np.searchsorted(self._probes, np.arange(len(squares) + 1))
        return [
            NearestRows(
                rows=self._rows[ends[n] : ends[n + 1]],
                squared=self._scores[ends[n] : ends[n + 1]] + squares[n],
                beyond=float(self._limits[n] + squares[n]),
            )
            for n in range(len(squares))
        ]
