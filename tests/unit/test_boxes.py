"""Boxes and faces, paired by hand."""

import pytest

from bench.evaluation.boxes import Tally, moved, tally, trimmed
from bench.photos import KnownFace, iou

ONE, OTHER = (0, 0, 100, 100), (300, 0, 400, 100)


def test_overlap_is_intersection_over_union() -> None:
    assert iou(ONE, ONE) == 1
    assert iou(ONE, OTHER) == 0
    assert iou(ONE, (50, 0, 150, 100)) == pytest.approx(1 / 3)
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_a_face_is_found_once_and_its_second_box_is_a_false_alarm() -> None:
    boxes = [(0, 0, 90, 90), (5, 5, 100, 100)]
    result = tally([KnownFace(box=ONE), KnownFace(box=OTHER)], boxes)
    assert result == Tally(found=1, faces=2, false=1)
    assert (result.recall, result.precision) == (0.5, 0.5)


def test_the_closest_pairs_are_made_first() -> None:
    between = (30, 0, 130, 100)
    result = tally([KnownFace(box=ONE), KnownFace(box=(50, 0, 150, 100))], [between, ONE])
    assert result.found == 2


def test_a_difficult_face_is_neither_found_nor_missed() -> None:
    faces = [KnownFace(box=ONE), KnownFace(box=OTHER, difficult=True)]
    assert tally(faces, [ONE]) == Tally(found=1, faces=1)
    assert tally(faces, [ONE, OTHER]) == Tally(found=1, faces=1, difficult_found=1)


def test_a_box_with_too_little_overlap_is_a_miss_and_a_false_alarm() -> None:
    assert tally([KnownFace(box=ONE)], [(50, 0, 150, 100)]) == Tally(faces=1, false=1)


def test_boxes_move_with_their_photo_and_end_at_its_edge() -> None:
    assert moved((1, 2, 3, 4), 10, 5, 7) == (15, 27, 35, 47)
    assert trimmed((-5, -5, 20, 20), 10, 12) == (0, 0, 10, 12)


def test_tallies_add_up() -> None:
    total = Tally(found=1, faces=2) + Tally(found=1, faces=1, false=3, difficult_found=1)
    assert total == Tally(found=2, faces=3, false=3, difficult_found=1)
    assert total.precision == 0.4
    assert Tally().precision == 1
