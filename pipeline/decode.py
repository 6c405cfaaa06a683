"""From a file's bytes to an upright RGB array, or to the one error that says what is wrong."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from pipeline.errors import (
    EmptyFileError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
    UnsupportedFormatError,
)
from pipeline.faces import RgbImage
from pipeline.formats import ACCEPTED, PhotoFormat, accepted_format, other_format

# Pillow's readers are called by name, not through `Image.open`: no reader but these five ever sees
# a stranger's bytes, and its check for decompression bombs, which warns and has a limit that only a
# global can move, gives way to ours. (The TIFF and WebP readers call it themselves: they refuse
# more than 178 megapixels whatever our limit is.)
_READERS: dict[PhotoFormat, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}

# Pillow does not promise which errors broken bytes raise. A reader is a parser that trusts its
# input, so whatever Python raises on nonsense comes out of it: bad lookups, bad numbers, bad types,
# attributes of tags that are not there. All of it means one thing here, and a photo that raised
# something else would take its whole chunk down. Programming errors of our own would hide behind
# this list, so nothing but Pillow's calls stands inside the `try` blocks that use it.
_BROKEN = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_TOO_LARGE = (MemoryError, Image.DecompressionBombError)

_PLAIN_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
_GREY_16_MODES = {"I;16", "I;16L", "I;16B", "I;16N"}
_STRIP_PIXELS = 250_000  # Fits a core's cache: half the time of one copy in whole.


def decode(data: bytes, *, max_pixels: int) -> RgbImage:
    """The photo in `data` as an upright array (height, width, 3), uint8, RGB.

    JPEG, PNG, WebP, TIFF or BMP, known by its bytes. EXIF orientation is applied. Of an animation
    or a file of several pages, the first. Transparency is dropped: the colours below it are the
    photo's, as face_recognition reads them, and files with an unused alpha of zero are common.
    16-bit greys keep their upper 8 bits. A plain photo has the very pixels of
    `face_recognition.load_image_file`.

    Raises, each with what to do: `EmptyFileError`, `NotAnImageError`, `UnsupportedFormatError`,
    `ImageTooLargeError` (more than `max_pixels`, before decoding), `TruncatedImageError`. Nothing
    else, whatever the bytes.
    """
    image = _opened(data, max_pixels)
    _load(image)
    method = _orientation(image)
    pixels = _to_rgb(image)
    image.close()
    return np.ascontiguousarray(_turned(pixels, method))


def _opened(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """The image with its header read, and its size and mode found to be what we take."""
    photo_format = _known_format(data)
    try:
        image = _READERS[photo_format](BytesIO(data))
    except _TOO_LARGE as exc:
        raise ImageTooLargeError("the image is far too large; send a smaller one") from exc
    except _BROKEN as exc:
        raise _broken(photo_format) from exc
    width_px, height_px = image.size
    if width_px * height_px > max_pixels:
        raise ImageTooLargeError(
            f"{width_px} x {height_px} pixels are more than the {max_pixels} allowed; "
            "send a smaller image"
        )
    if width_px < 1 or height_px < 1:
        raise _broken(photo_format)
    if image.mode not in _PLAIN_MODES | _GREY_16_MODES:
        raise UnsupportedFormatError(
            f"{photo_format} with pixels of kind {image.mode} is not supported; "
            "save it with 8 or 16 bits per channel"
        )
    return image


def _known_format(data: bytes) -> PhotoFormat:
    if not data:
        raise EmptyFileError("the file is empty; send the photo's bytes")
    photo_format = accepted_format(data)
    if photo_format:
        return photo_format
    other = other_format(data)
    if other:
        raise UnsupportedFormatError(f"{other}s are not supported; save it as {ACCEPTED}")
    raise NotAnImageError(f"the file is no image that we know; send {ACCEPTED}")


def _load(image: ImageFile.ImageFile) -> None:
    """Decodes all pixels."""
    try:
        image.load()
    except _TOO_LARGE as exc:
        raise ImageTooLargeError("the image needs too much memory; send a smaller one") from exc
    except _BROKEN as exc:
        raise _broken(image.format or "image") from exc


def _broken(photo_format: str) -> TruncatedImageError:
    return TruncatedImageError(
        f"the {photo_format} breaks off or is damaged; send the whole file, or save it anew"
    )


def _orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or the EXIF data is broken.

    Read here and not through `ImageOps.exif_transpose`, which also rewrites the EXIF data, and so
    fails on photos whose pixels are fine. Pillow has turned a TIFF when it was loaded.
    """
    try:
        value: object = image.getexif().get(ExifTags.Base.Orientation)
    except (*_BROKEN, MemoryError):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: ImageFile.ImageFile) -> RgbImage:
    """The pixels (height, width, 3) as stored, copied out by strips to save a second full copy."""
    width_px, height_px = image.size
    pixels = np.empty((height_px, width_px, 3), dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // width_px)
    for top in range(0, height_px, rows):
        bottom = min(top + rows, height_px)
        pixels[top:bottom] = _strip_to_rgb(image.crop((0, top, width_px, bottom)))
    return pixels


def _strip_to_rgb(strip: Image.Image) -> RgbImage:
    if strip.mode in _GREY_16_MODES:
        grey = (np.asarray(strip) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    strip.info.pop("transparency", None)  # Else `convert` warns that it is lost.
    return np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))


def _turned(pixels: RgbImage, orientation: int) -> RgbImage:
    """`pixels` turned upright from the EXIF `orientation` (CIPA DC-008, table 4.6.4 A)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
