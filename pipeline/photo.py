"""A photo as engines want it: its header first, then all pixels or fewer, always upright RGB."""

import numpy as np

from pipeline.blame import blaming, broken
from pipeline.colour import Colour, to_rgb
from pipeline.errors import (
    EmptyFileError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedFormatError,
)
from pipeline.faces import RgbImage
from pipeline.formats import ACCEPTED, PhotoFormat, accepted_format, other_format
from pipeline.guards import plainly_broken
from pipeline.readers import Reader, open_reader

__all__ = ["Colour", "Photo", "open_photo"]

_STRIP_PIXELS = 250_000  # Fits a core's cache: half the time of one copy in whole.
_REDUCTIONS = (8, 4, 2)
# A tile may be larger than a small TIFF; nothing honest is larger than this.
_MOST_LARGER, _SMALL_PX = 2, 1_000_000
_TURNED = frozenset({5, 6, 7, 8})


def open_photo(data: bytes, *, max_pixels: int, colour: Colour = Colour.SRGB) -> "Photo":
    """Reads the header of the photo in `data`, and refuses what can be refused without its pixels.

    JPEG, PNG, WebP, TIFF, BMP, HEIC or AVIF, known by its bytes.

    Raises, each with what to do: `EmptyFileError`, `NotAnImageError`, `UnsupportedFormatError`,
    `ImageTooLargeError` (more than `max_pixels`), `TruncatedImageError`. Nothing else, whatever the
    bytes; and so do the methods of `Photo`.
    """
    photo_format = _known_format(data)
    return Photo(data, photo_format, max_pixels=max_pixels, colour=colour)


class Photo:
    """A photo whose header was read. Not to be shared by threads.

    EXIF orientation is applied, or what HEIC and AVIF have in its place. Of an animation or a file
    of several pages, the first. Transparency is dropped: the colours below it are the photo's, as
    face_recognition reads them, and files with an unused alpha of zero are common. 16-bit channels
    keep their upper 8 bits.

    It keeps the array that it decoded last, and never two. At the peak of decoding, it and its
    reader need some 7 bytes for a pixel, of which the array that stays is 3.
    """

    def __init__(
        self, data: bytes, photo_format: PhotoFormat, *, max_pixels: int, colour: Colour
    ) -> None:
        self.format = photo_format
        self._data = data
        self._max_pixels = max_pixels
        self._colour = colour
        self._decoded: RgbImage | None = None
        if plainly_broken(photo_format, data):
            raise broken(photo_format)
        # Kept for the first decoding: to read a header again costs half of a small photo's pixels.
        self._reader: Reader | None = self._open()
        width_px, height_px = self._reader.size
        self.shot = self._reader.shot
        turned = self._reader.orientation in _TURNED
        self._width_px, self._height_px = (height_px, width_px) if turned else self._reader.size

    @property
    def width_px(self) -> int:
        """The width of the upright photo."""
        return self._width_px

    @property
    def height_px(self) -> int:
        """The height of the upright photo."""
        return self._height_px

    def pixels(self) -> RgbImage:
        """All pixels: (`height_px`, `width_px`, 3), uint8, RGB, C-contiguous."""
        return self._at(1)

    def reduced(self, min_longest_side_px: int) -> RgbImage:
        """The photo with fewer pixels, where its format gives them for less work.

        Of a JPEG the smallest of the sizes 1/1, 1/2, 1/4 and 1/8 (rounded up) whose longest side
        is at least `min_longest_side_px`; all pixels of other formats, and more than asked for
        where more are decoded already. The scale follows from the shapes.
        """
        longest_px = max(self.width_px, self.height_px)
        if self.format != "JPEG":
            return self._at(1)
        fitting = (r for r in _REDUCTIONS if -(-longest_px // r) >= min_longest_side_px)
        return self._at(next(fitting, 1))

    def release(self) -> None:
        """Lets the decoded array go; it is decoded anew when it is asked for again."""
        self._decoded = None

    def _at(self, reduction: int) -> RgbImage:
        if self._decoded is not None:
            height_px, width_px = self._decoded.shape[:2]
            if width_px * reduction >= self.width_px and height_px * reduction >= self.height_px:
                return self._decoded
        self.release()  # Before the next one takes memory.
        reader, self._reader = self._reader or self._open(), None
        with blaming(self.format):
            reader.load(reduction)
            self._decoded = _upright(reader, self._colour)
        return self._decoded

    def _open(self) -> Reader:
        with blaming(self.format):
            reader = open_reader(self.format, self._data)
        width_px, height_px = reader.size
        if width_px * height_px > self._max_pixels:
            raise ImageTooLargeError(
                f"{width_px} x {height_px} pixels are more than the {self._max_pixels} allowed; "
                "send a smaller image"
            )
        if reader.largest_px > _MOST_LARGER * width_px * height_px + _SMALL_PX:
            raise ImageTooLargeError("the image's parts are far larger than it says; save it anew")
        if width_px < 1 or height_px < 1:
            raise broken(self.format)
        return reader


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


def _upright(reader: Reader, colour: Colour) -> RgbImage:
    """All that was loaded, strip by strip, so that no second full copy is ever made."""
    width_px, height_px = reader.size
    convert = to_rgb(reader.mode, reader.icc_profile, colour)
    turned = reader.orientation in _TURNED
    shape = (width_px, height_px, 3) if turned else (height_px, width_px, 3)
    upright = np.empty(shape, dtype=np.uint8)
    stored = _as_stored(upright, reader.orientation)
    rows = max(1, _STRIP_PIXELS // width_px)
    for top in range(0, height_px, rows):
        bottom = min(top + rows, height_px)
        stored[top:bottom] = convert(reader.strip(top, bottom))
    return upright


def _as_stored(upright: RgbImage, orientation: int) -> RgbImage:
    """The upright array as a view in the order in which the pixels are stored.

    The EXIF `orientation` (CIPA DC-008, table 4.6.4 A) says how the stored pixels lie.
    """
    if orientation in {2, 3, 6, 7}:
        upright = upright[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        upright = upright[::-1]
    return upright.transpose(1, 0, 2) if orientation in _TURNED else upright
