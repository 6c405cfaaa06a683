"""Profiles of displays, as phones and cameras use them: three curves and a matrix (ICC.1:2022).

Little CMS reads them too, and says here whether we have read them well; but it takes 15 ns for a
pixel, and this 4.
"""

import struct
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.faces import RgbImage

Floats = NDArray[np.float64]

_MOST = 65_535  # Light is counted in so many steps.
# The XYZ of sRGB's red, green and blue under D50 (IEC 61966-2-1, adapted by Bradford's method).
_SRGB = np.array(
    [
        [0.4360747, 0.2225045, 0.0139322],
        [0.3850649, 0.7168786, 0.0971045],
        [0.1430804, 0.0606169, 0.7141733],
    ]
)


def matrix_conversion(icc_profile: bytes) -> Callable[[RgbImage], RgbImage] | None:
    """What brings (height, width, 3) from such a profile to sRGB; None where it is another kind.

    May raise `struct.error`, `ValueError`, `ArithmeticError` or `LookupError` for a broken profile.
    """
    tags = _tags(icc_profile)
    if not {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"} <= tags.keys():
        return None
    primaries = np.array([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")])
    to_srgb = (primaries @ np.linalg.inv(_SRGB)).T
    curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    to_light = np.round(np.stack(curves, axis=-1).clip(0, 1) * _MOST).astype(np.uint16)
    to_light = to_light[np.newaxis]
    from_light = _srgb_of_light()

    def convert(pixels: RgbImage) -> RgbImage:
        light = cv2.transform(cv2.LUT(pixels, to_light), to_srgb)
        return from_light.take(light.astype(np.uint16, copy=False))

    return convert


@cache
def _srgb_of_light() -> NDArray[np.uint8]:
    light = np.arange(_MOST + 1) / _MOST
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(curve * 255).astype(np.uint8)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    table = (struct.unpack_from(">4sII", profile, 132 + 12 * n) for n in range(min(count, 100)))
    return {name: profile[start : start + size] for name, start, size in table}


def _xyz(tag: bytes) -> list[float]:
    return [value / 65_536 for value in struct.unpack_from(">3i", tag, 8)]


def _curve(tag: bytes) -> Floats:
    """How much light each of the 256 numbers stands for."""
    numbers: Floats = np.arange(256) / 255
    if tag.startswith(b"para"):
        return _parametric(tag, numbers)
    if not tag.startswith(b"curv"):
        raise ValueError("a curve of another kind")
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return numbers
    if count == 1:
        gamma: int = struct.unpack_from(">H", tag, 12)[0]
        return _power(numbers, gamma / 256)
    table = np.frombuffer(tag, dtype=">u2", count=count, offset=12) / _MOST
    return np.interp(numbers, np.linspace(0, 1, count), table)


def _parametric(tag: bytes, x: Floats) -> Floats:
    (kind,) = struct.unpack_from(">H", tag, 8)
    count = (1, 3, 4, 5, 7)[kind]
    given: list[float] = [value / 65_536 for value in struct.unpack_from(f">{count}i", tag, 12)]
    gamma, a, b, c, d, e, f = given + [0.0] * (7 - count)
    if kind == 0:
        return _power(x, gamma)
    power = _power(np.maximum(a * x + b, 0), gamma)
    if kind < 3:
        return np.where(x >= -b / a, power, 0) + c
    return np.where(x >= d, power + e, c * x + f)


def _power(base: Floats, exponent: float) -> Floats:
    power: Floats = np.power(base, exponent)
    return power
