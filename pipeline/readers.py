"""Files of every accepted format, opened: the header first, then the pixels, strip by strip.

Pillow's readers are called by name, not through `Image.open`: no reader but these ever sees a
stranger's bytes, nothing is registered for the whole process, and Pillow's check for decompression
bombs, which warns and has a limit that only a global can move, gives way to ours. (The TIFF and
WebP readers call it themselves: they refuse more than 178 megapixels whatever our limit is.)

Everything here may raise whatever Pillow and libheif raise; `pipeline.blame` makes errors of it.
"""

import ctypes
import logging
import warnings
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import cv2
import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from pipeline.av1 import coded_pixels
from pipeline.blame import BROKEN
from pipeline.errors import UnsupportedFormatError
from pipeline.exif import shot_of
from pipeline.formats import PhotoFormat
from pipeline.guards import exif_after_pixels, without_png_metadata
from pipeline.shot import NOT_TOLD, Shot

if TYPE_CHECKING:
    from pillow_heif import HeifFile

# A worker has one process for each core; a decoder's own threads would only stand in their way,
# and each of them wants memory.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# Pillow remarks on broken files by warnings, and in its log, where it quotes them too; OpenCV on
# standard error. What matters becomes an error here, and a stranger's bytes belong in no log.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

GREY_16_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"})


_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF 6.0, section 15.


def _silence_libtiff() -> None:
    """Keeps libtiff from writing its remarks on broken files to standard error.

    Pillow passes on no way to do that; so its own copy of the library, which the wheels for Linux
    and macOS bring along, is told directly. Elsewhere the remarks stay.
    """
    home = Path(Image.__file__).parent
    for folder in (home.parent / "pillow.libs", home / ".dylibs"):
        for path in folder.glob("libtiff*"):
            library = ctypes.CDLL(str(path))
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)


_silence_libtiff()


class Reader(Protocol):
    """One photo: its header is read, and its pixels once `load` was called."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as stored; after a reduced `load`, of what was loaded."""

    @property
    def largest_px(self) -> int:
        """Pixels of the largest picture that decoding makes on its way; 0 where all tell truly."""

    @property
    def orientation(self) -> int:
        """How the stored pixels lie: the EXIF orientation, 1 (upright) to 8."""

    @property
    def shot(self) -> Shot:
        """What EXIF data tells; its orientation is the file's, whoever it is that turns it."""

    @property
    def mode(self) -> str:
        """The kind of pixels, in Pillow's words."""

    @property
    def icc_profile(self) -> bytes | None:
        """The colour profile that came with the pixels, unchecked."""

    def load(self, reduction: int) -> None:
        """Decodes the pixels; a JPEG's at 1/`reduction` of its size, rounded up."""

    def strip(self, top: int, bottom: int) -> Image.Image:
        """Rows of the stored pixels, 16-bit grey brought down to 8 bits."""


def open_reader(photo_format: PhotoFormat, data: bytes) -> Reader:
    """Reads the header of `data`.

    Raises `UnsupportedFormatError` for kinds of pixels that we do not take.
    """
    if photo_format == "HEIC":
        return HeifReader(data)
    if photo_format == "WebP":
        return WebPReader(data)
    return PillowReader(photo_format, data)


class _LeanAvif(AvifImagePlugin.AvifImageFile):
    """Lets the decoder and its planes go before the image itself takes memory."""

    def load_prepare(self) -> None:
        del self._decoder
        super().load_prepare()


_PILLOW: dict[PhotoFormat, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "AVIF": _LeanAvif,
}


class PillowReader:
    """A photo that Pillow reads."""

    def __init__(self, photo_format: PhotoFormat, data: bytes) -> None:
        self._image = _pillow_image(photo_format, data)
        if self._image.mode not in _MODES | GREY_16_MODES:
            raise UnsupportedFormatError(
                f"{photo_format} with pixels of kind {self._image.mode} is not supported; "
                "save it with 8 or 16 bits per channel"
            )
        self.largest_px = coded_pixels(data) if photo_format == "AVIF" else self._tile_px()
        if photo_format == "PNG" and (exif := exif_after_pixels(data)):
            self._image.info.setdefault("exif", exif)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; a TIFF's when it is upright already."""
        return self._image.size

    @property
    def orientation(self) -> int:
        """The EXIF orientation; 1 where there is none or the EXIF data is broken.

        Read here and not through `ImageOps.exif_transpose`, which also rewrites the EXIF data, and
        so fails on photos whose pixels are fine. Pillow turns a TIFF itself when it loads it, and
        says of AVIF what the file's own boxes say, which go before EXIF.
        """
        if isinstance(self._image, TiffImagePlugin.TiffImageFile):
            return 1
        return self._stored_orientation

    @cached_property
    def shot(self) -> Shot:
        """To be asked for before the pixels are loaded: a TIFF is closed then."""
        orientation = self._stored_orientation
        try:
            return shot_of(Image.Image.getexif(self._image), orientation=orientation)
        except (*BROKEN, MemoryError):
            return NOT_TOLD

    @cached_property
    def _stored_orientation(self) -> int:
        try:
            # The method of all images: that of PNG decodes, to look for EXIF behind the pixels.
            value: object = Image.Image.getexif(self._image).get(ExifTags.Base.Orientation)
        except (*BROKEN, MemoryError):
            return 1
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    @property
    def mode(self) -> str:
        """Pillow's mode; L for 16-bit grey, as the strips have it."""
        return "L" if self._image.mode in GREY_16_MODES else self._image.mode

    @property
    def icc_profile(self) -> bytes | None:
        """The ICC profile of the file's header."""
        profile: object = self._image.info.get("icc_profile")
        return profile if isinstance(profile, bytes) else None

    def load(self, reduction: int) -> None:
        """Decodes all pixels; a JPEG's at 1/`reduction` of its size, rounded up."""
        if reduction > 1 and isinstance(self._image, JpegImagePlugin.JpegImageFile):
            width_px, height_px = self._image.size
            wanted = max(1, width_px // reduction), max(1, height_px // reduction)
            self._image.draft(None, wanted)
        self._image.load()

    def strip(self, top: int, bottom: int) -> Image.Image:
        """Rows of the stored pixels, 16-bit grey brought down to 8 bits."""
        strip = self._image.crop((0, top, self._image.width, bottom))
        if strip.mode not in GREY_16_MODES:
            return strip
        return Image.fromarray((np.asarray(strip) >> self._surplus_bits()).astype(np.uint8))

    def _tile_px(self) -> int:
        """Pixels of a TIFF's tiles: a small picture may have a huge one."""
        if not isinstance(self._image, TiffImagePlugin.TiffImageFile):
            return 0
        width_px: int = self._image.tag_v2.get(_TILE_WIDTH, 0)
        height_px: int = self._image.tag_v2.get(_TILE_LENGTH, 0)
        return width_px * height_px

    def _surplus_bits(self) -> int:
        """How many bits more than 8 the samples of a grey picture have."""
        bits: object = 16
        if isinstance(self._image, TiffImagePlugin.TiffImageFile):
            bits = self._image.tag_v2.get(ExifTags.Base.BitsPerSample, (16,))[0]
        return 4 if bits == 12 else 8


def _pillow_image(photo_format: PhotoFormat, data: bytes) -> ImageFile.ImageFile:
    try:
        return _PILLOW[photo_format](BytesIO(data))
    except BROKEN:
        if photo_format != "PNG":
            raise
    # Pillow gives up for the sake of a damaged remark or a profile of more than a megabyte.
    return PngImagePlugin.PngImageFile(BytesIO(without_png_metadata(data)))


class WebPReader:
    """A WebP: Pillow reads its header, and OpenCV its pixels.

    The pixels are the same, but Pillow takes every WebP for an animation, and needs 12 bytes for a
    pixel where OpenCV needs 6.
    """

    mode = "RGB"  # Transparency is gone by then.
    largest_px = 0

    def __init__(self, data: bytes) -> None:
        header = PillowReader("WebP", data)
        self.size, self.orientation = header.size, header.orientation
        self.shot = header.shot
        self.icc_profile = header.icc_profile
        self._data = data

    def load(self, reduction: int) -> None:  # noqa: ARG002 - of JPEG alone.
        """Decodes all pixels."""
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(np.frombuffer(self._data, dtype=np.uint8), flags)
        width_px, height_px = self.size
        if decoded is None or decoded.shape != (height_px, width_px, 3):
            raise ValueError("no picture of the size that the header tells")
        self._pixels = decoded.astype(np.uint8, copy=False)

    def strip(self, top: int, bottom: int) -> Image.Image:
        """Rows of the stored pixels."""
        return Image.fromarray(self._pixels[top:bottom])


class HeifReader:
    """A photo that libheif reads: it turns and mirrors by itself, and EXIF has no say in it."""

    orientation = 1
    largest_px = 0  # libheif refuses what is not of the size that it claims.

    def __init__(self, data: bytes) -> None:
        file = _heif_file(data)
        self._image = file[file.primary_index]
        self.size = self._image.size
        self.mode = self._image.mode.replace("a", "A")  # Premultiplied; alpha is dropped.
        if self.mode not in _MODES:
            raise UnsupportedFormatError(
                f"HEIC with pixels of kind {self.mode} is not supported; save it as JPEG or PNG"
            )

    @property
    def shot(self) -> Shot:
        """The time alone: whoever reads HEIC turns it by its boxes and sees it upright."""
        data = self._image.info.get("exif")
        if not isinstance(data, bytes):
            return NOT_TOLD
        exif = Image.Exif()
        try:
            exif.load(data)
        except (*BROKEN, MemoryError):
            return NOT_TOLD
        return shot_of(exif, orientation=1)

    @property
    def icc_profile(self) -> bytes | None:
        """The ICC profile of the picture."""
        profile = self._image.info.get("icc_profile")
        return profile if isinstance(profile, bytes) else None

    def load(self, reduction: int) -> None:  # noqa: ARG002 - of JPEG alone.
        """Decodes all pixels."""
        try:
            data = self._image.data
        except (RuntimeError, ValueError) as exc:
            if "nsupported" in str(exc):  # libheif has no other way to tell.
                raise UnsupportedFormatError(
                    "HEIC of this kind is not supported; save it as JPEG or PNG"
                ) from exc
            raise
        width_px, height_px = self._image.size
        if (width_px, height_px) != self.size:
            raise ValueError("the picture is not of the size that its header tells")
        self._stride = self._image.stride
        self._rows = memoryview(data)

    def strip(self, top: int, bottom: int) -> Image.Image:
        """Rows of the upright pixels."""
        size = (self.size[0], bottom - top)
        rows = self._rows[top * self._stride : bottom * self._stride]
        args = ("raw", self.mode, self._stride, 1)
        return Image.frombytes(self.mode, size, cast("bytes", rows), *args)


def _heif_file(data: bytes) -> "HeifFile":
    # Imported where it is needed: many workers never see such a photo, and its libraries are under
    # licences for which a redistributor may want to leave it out (docs/dependencies.md).
    try:
        from pillow_heif import HeifFile, options
    except ImportError as exc:
        raise UnsupportedFormatError(
            "HEIC is not supported by this installation; save it as JPEG or PNG"
        ) from exc
    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    return HeifFile(BytesIO(data), convert_hdr_to_8bit=True, remove_stride=False)
