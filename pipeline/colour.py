"""Pixels of every kind to RGB: as they are stored, or as sRGB by the profile they came with."""

from collections.abc import Callable
from enum import StrEnum
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipeline.blame import BROKEN
from pipeline.faces import RgbImage
from pipeline.matrix_profile import matrix_conversion


class Colour(StrEnum):
    """Which colours an engine wants."""

    SRGB = "srgb"
    """sRGB, whatever the photo's own colour space is."""
    STORED = "stored"
    """The stored numbers as `face_recognition.load_image_file` reads them: profiles are ignored."""


ToRgb = Callable[[Image.Image], RgbImage]
"""A strip of a photo to the same strip as RGB."""

_RELATIVE = ImageCms.Intent.RELATIVE_COLORIMETRIC
_BLACK_POINT = ImageCms.Flags.BLACKPOINTCOMPENSATION
_MAX_PROFILE_BYTES = 8_000_000  # The largest of printers' profiles have 3 million.
_PROFILE_CLASSES = frozenset({"scnr", "mntr", "prtr", "spac"})  # Not links, names or effects.

# In which modes a profile of a colour space can be applied, and what a strip becomes for it.
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_WORKING_MODES = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK", "LAB": "LAB"}  # Others: RGB.

_SAME_WITHIN = 2
_LEAST_CONTRAST = 64


def to_rgb(mode: str, icc_profile: bytes | None, colour: Colour) -> ToRgb:
    """How strips of this Pillow mode become RGB. Never fails for a profile's sake.

    A profile that is broken, absurd or made for another kind of pixels is passed over. A profile
    that says no other than sRGB costs half a millisecond and no work on the pixels.
    """
    working = _WORKING_MODES.get(mode, "RGB")
    if working == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        return _transforming(working, _transform(lab, working))
    if colour is Colour.STORED or not icc_profile:
        return _plain
    return _profiled(icc_profile, working) or _plain


def _plain(strip: Image.Image) -> RgbImage:
    return np.asarray(_in_mode(strip, "RGB"))


def _in_mode(strip: Image.Image, mode: str) -> Image.Image:
    strip.info.pop("transparency", None)  # Else `convert` warns that it is lost.
    return strip if strip.mode == mode else strip.convert(mode)


def _transforming(working: str, transform: ImageCms.ImageCmsTransform) -> ToRgb:
    def convert(strip: Image.Image) -> RgbImage:
        out = Image.new("RGB", strip.size)
        transform.transform.apply(_in_mode(strip, working).getim(), out.getim())
        return np.asarray(out)

    return convert


def _profiled(icc_profile: bytes, working: str) -> ToRgb | None:
    """What brings pixels from the profile to sRGB; None where that changes nothing or is absurd."""
    if len(icc_profile) > _MAX_PROFILE_BYTES:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc_profile))
        known = profile.profile
        if _SPACES.get(known.xcolor_space) != working or known.device_class not in _PROFILE_CLASSES:
            return None
        probe = _transform(profile, working, ImageCms.Flags.NOOPTIMIZE)  # 20 times faster to make.
        sample = _sample(working)
        expected = _transforming(working, probe)(sample)
        if not _changes_sensibly(sample, expected):
            return None
        fast = _fast(icc_profile, sample, expected) if working == "RGB" else None
        return fast or _transforming(working, _transform(profile, working))
    except (*BROKEN, MemoryError):
        return None


def _fast(icc_profile: bytes, sample: Image.Image, expected: RgbImage) -> ToRgb | None:
    """The same by the profile's curves and matrix, where it comes to the same on the sample."""
    try:
        convert = matrix_conversion(icc_profile)
        if convert is None or _most_off(convert(np.asarray(sample)), expected) > _SAME_WITHIN:
            return None
    except (*BROKEN, cv2.error):
        return None
    return lambda strip: convert(np.asarray(_in_mode(strip, "RGB")))


def _transform(
    profile: ImageCms.ImageCmsProfile,
    working: str,
    flags: ImageCms.Flags = ImageCms.Flags.NONE,
) -> ImageCms.ImageCmsTransform:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsTransform(
        profile, srgb, working, "RGB", _RELATIVE, flags=flags | _BLACK_POINT
    )


def _changes_sensibly(sample: Image.Image, after: RgbImage) -> bool:
    """Whether some colours change at all, and white is still far lighter than black."""
    black, white = (-1, 0) if sample.mode == "CMYK" else (0, -1)
    lightness = after.reshape(-1, 3).astype(np.int16).sum(axis=1)
    if lightness[white] - lightness[black] < 3 * _LEAST_CONTRAST:
        return False
    return sample.mode == "CMYK" or _most_off(_plain(sample), after) > _SAME_WITHIN


def _most_off(one: RgbImage, other: RgbImage) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


def _sample(working: str) -> Image.Image:
    """Colours all over the space, from all channels at 0 to all at 255."""
    channels = Image.getmodebands(working)
    steps = {1: 256, 3: 9, 4: 5}[channels]
    levels = np.linspace(0, 255, steps).astype(np.uint8)
    colours: NDArray[np.uint8] = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), axis=-1)
    pixels = colours.reshape(1, -1, channels)
    return Image.frombytes(working, (pixels.shape[1], 1), pixels.tobytes())
