"""The nearest rows by matrix products are those that all distances give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import nearest
from pipeline.nearest import Matrix, nearest_rows, rounding


def matrices(sizes: list[int], dimension: int, draw: np.random.Generator) -> list[Matrix]:
    made = []
    for size in sizes:
        vectors = draw.normal(size=(size, dimension)).astype(np.float32)
        made.append(Matrix(vectors=vectors, squares=np.einsum("nd,nd->n", vectors, vectors)))
    return made


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 90), max_size=4),
    probes=st.integers(1, 7),
    count=st.integers(1, 120),
    piece=st.integers(1, 50),
    seed=st.integers(0, 1000),
)
def test_they_are_the_nearest_in_their_order(
    sizes: list[int], probes: int, count: int, piece: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    made = matrices(sizes, 16, draw)
    asked = draw.normal(size=(probes, 16)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "PIECE_ROWS", piece)
        found = nearest_rows(made, asked, count=count)
    every = np.concatenate([np.empty((0, 16)), *(one.vectors for one in made)]).astype(np.float64)
    for probe, one in zip(asked.astype(np.float64), found, strict=True):
        squared = ((every - probe) ** 2).sum(axis=1)
        order = np.argsort(squared)
        assert one.rows.tolist() == order[:count].tolist()
        assert one.squared == pytest.approx(squared[order[:count]], abs=1e-4)
        rest = squared[order[count:]]
        assert (rest > one.beyond - 1e-4).all()
        if len(order) < count:
            assert one.beyond == np.inf


def test_rows_of_infinite_length_are_never_found() -> None:
    (matrix,) = matrices([200], 8, np.random.default_rng(1))
    matrix.squares[50:] = np.inf
    (found,) = nearest_rows([matrix], matrix.vectors[60:61], count=100)
    assert sorted(found.rows.tolist()) == list(range(50))
    assert found.beyond == np.inf


@pytest.mark.parametrize("dimension", [128, 512, 1024])
@pytest.mark.parametrize("length", [1.0, 1000.0])
def test_rounding_is_within_its_bound(dimension: int, length: float) -> None:
    draw = np.random.default_rng(dimension)
    vectors = draw.normal(size=(500, dimension))
    # All in nearly the same place: the differences are small, and the lengths are not.
    vectors = 1 + 0.01 * vectors
    vectors = (length * vectors / np.linalg.norm(vectors, axis=1)[:, None]).astype(np.float32)
    matrix = Matrix(vectors=vectors, squares=np.einsum("nd,nd->n", vectors, vectors))
    (found,) = nearest_rows([matrix], vectors[:1], count=500)
    exact = ((vectors.astype(np.float64) - vectors[0].astype(np.float64)) ** 2).sum(axis=1)
    off = np.abs(found.squared - exact[found.rows])
    assert off.max() < rounding(dimension, length, length)
