"""Faces that are found again keep all that they are, and get their quality."""

import numpy as np
import pytest

from pipeline.face_quality import Pose, Quality, QualityLimit
from pipeline.faces import Box, Face, PhotoFaces
from pipeline.measuring import measured

NO_POSE = Pose(yaw=0, pitch=0, roll=0)


def face(left: int, overall: float | None, *, side: int = 100) -> Face:
    return Face(
        box=Box(left=left, top=0, right=left + side, bottom=side),
        landmarks=((float(left), 1.0),) * 5,
        score=1.0,
        quality=None
        if overall is None
        else Quality(
            overall=overall,
            limit=QualityLimit.SIZE,
            sharpness=1.0,
            width_px=side,
            pose=NO_POSE,
        ),
        embedding=np.full(3, left, dtype=np.float32),
    )


def photo(*faces: Face, rotation: int = 0) -> PhotoFaces:
    return PhotoFaces(width_px=640, height_px=480, rotation=rotation, faces=faces)


def qualities(known: PhotoFaces, anew: PhotoFaces) -> list[float | None]:
    found = measured(known, anew).faces
    return [one.quality.overall if one.quality else None for one in found]


def test_each_face_gets_the_quality_of_the_one_that_lies_where_it_lies() -> None:
    known = photo(face(0, None), face(300, None), face(500, None))
    anew = photo(face(490, 0.5), face(3, 0.7), face(120, 0.1), face(302, 0.6))
    assert qualities(known, anew) == [0.7, 0.6, 0.5]


@pytest.mark.parametrize(
    ("again", "found"),
    [
        ((), None),
        ((face(33, 0.5),), 0.5),
        ((face(34, 0.5),), None),
        ((face(0, 0.5, side=70),), None),
    ],
)
def test_a_face_that_is_not_found_again_gets_none(
    again: tuple[Face, ...], found: float | None
) -> None:
    assert qualities(photo(face(0, None)), photo(*again)) == [found]


def test_a_quality_that_is_known_stays() -> None:
    assert qualities(photo(face(0, 0.9)), photo(face(0, 0.1))) == [0.9]


def test_all_else_stays_as_it_was() -> None:
    known, anew = photo(face(0, None)), photo(face(5, 0.5), rotation=90)
    (one,), (was,) = measured(known, anew).faces, known.faces
    assert (one.box, one.landmarks, one.score) == (was.box, was.landmarks, was.score)
    assert np.array_equal(one.embedding, was.embedding)
    assert measured(known, anew).rotation == 0
