"""Chips of five points lie where they should, and show no detail that is too fine for them."""

import cv2
import numpy as np
import pytest

from pipeline.aligners.five_points import CHIP_SIDE_PX, PLACES, FivePointAligner
from pipeline.engine import Detection
from pipeline.faces import Box, Chip, RgbImage

SHIFT = (60.0, 40.0)


def _chip(image: RgbImage, points: np.ndarray) -> Chip:
    box = Box(left=0, top=0, right=image.shape[1], bottom=image.shape[0])
    detection = Detection(box=box, score=1.0, points=tuple(map(tuple, points.tolist())))
    landmarks, chip = FivePointAligner(face_px=None).align(image, detection)
    assert landmarks == detection.points
    return chip


@pytest.fixture
def smooth() -> RgbImage:
    noise = np.random.default_rng(1).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 4).astype(np.float64)
    return np.clip((blurred - 128) * 8 + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("times", [1, 2, 3, 5, 8])
def test_a_finer_photo_gives_the_same_chip(smooth: RgbImage, times: int) -> None:
    expected = smooth[40 : 40 + CHIP_SIDE_PX, 60 : 60 + CHIP_SIDE_PX]
    finer = cv2.resize(smooth, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    points = (np.array(PLACES) + SHIFT + 0.5) * times - 0.5
    off = np.abs(_chip(finer, points).astype(int) - expected)
    assert off.mean() < 2
    assert off.max() < 16


@pytest.mark.parametrize("times", [2.2, 4.4, 8.8])
def test_detail_too_fine_for_the_chip_becomes_its_mean(times: float) -> None:
    down, across = np.indices((int(200 * times), int(240 * times)))
    board = np.repeat(((down + across) % 2 * 255)[:, :, None], 3, axis=2).astype(np.uint8)
    chip = _chip(board, (np.array(PLACES) + SHIFT) * times)
    assert np.abs(chip.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_large_face_that_lies_on_its_side_is_turned(smooth: RgbImage, quarters: int) -> None:
    times = 4
    expected = smooth[40 : 40 + CHIP_SIDE_PX, 60 : 60 + CHIP_SIDE_PX]
    finer = cv2.resize(smooth, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    points = (np.array(PLACES) + SHIFT + 0.5) * times - 0.5
    for _ in range(quarters):
        points = np.stack([points[:, 1], finer.shape[1] - 1 - points[:, 0]], axis=1)
        finer = np.ascontiguousarray(np.rot90(finer))
    assert np.abs(_chip(finer, points).astype(int) - expected).mean() < 2


@pytest.mark.parametrize("at", [(-5000.0, 0.0), (0.0, 5000.0), (1900.0, 1500.0)])
def test_points_beyond_the_photo_give_a_chip_all_the_same(at: tuple[float, float]) -> None:
    image = np.full((1600, 1920, 3), 200, dtype=np.uint8)
    chip = _chip(image, np.array(PLACES) * 8 + at)
    assert chip.shape == (CHIP_SIDE_PX, CHIP_SIDE_PX, 3)
    assert set(np.unique(chip)) <= set(range(201))


def test_points_that_coincide_give_a_chip_all_the_same() -> None:
    chip = _chip(np.full((50, 50, 3), 7, dtype=np.uint8), np.full((5, 2), 20.0))
    assert chip.shape == (CHIP_SIDE_PX, CHIP_SIDE_PX, 3)
