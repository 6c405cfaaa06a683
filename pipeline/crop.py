"""A face cut out of its photo, upright, as a small JPEG that tells nothing but its pixels."""

from io import BytesIO

import numpy as np
from PIL import Image

from pipeline.cut import Cut
from pipeline.faces import Box
from pipeline.photo import Colour, open_photo
from pipeline.scene import shrunk

_JPEG_QUALITY = 90


def face_crop(data: bytes, cut: Cut, *, max_pixels: int) -> bytes:
    """The face as a JPEG in sRGB, without EXIF data, profile or any other metadata.

    EXIF orientation is applied, then the cut's rotation. Raises `PhotoError`.
    """
    photo = open_photo(data, max_pixels=max_pixels, colour=Colour.SRGB)
    part = _with_margin(cut).trimmed(width_px=photo.width_px, height_px=photo.height_px)
    longest_px = max(photo.width_px, photo.height_px)
    side_px = max(part.right - part.left, part.bottom - part.top, 1)
    image = photo.reduced(-(-longest_px * cut.size_px // side_px))
    height, width = image.shape[:2]
    x, y = width / photo.width_px, height / photo.height_px
    left, top = min(int(part.left * x), width - 1), min(int(part.top * y), height - 1)
    right, bottom = max(round(part.right * x), left + 1), max(round(part.bottom * y), top + 1)
    upright = np.rot90(image[top:bottom, left:right], -cut.rotation // 90)
    # Made of an array: there is nothing else that could be written.
    out = BytesIO()
    made = Image.fromarray(shrunk(np.ascontiguousarray(upright), cut.size_px))
    made.save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


def _with_margin(cut: Cut) -> Box:
    box = cut.box
    x = round(cut.margin * (box.right - box.left))
    y = round(cut.margin * (box.bottom - box.top))
    return Box(left=box.left - x, top=box.top - y, right=box.right + x, bottom=box.bottom + y)
