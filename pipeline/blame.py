"""Whatever a reader raises on a stranger's bytes becomes the one PhotoError that says so."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageCms

from pipeline.errors import ImageTooLargeError, TruncatedImageError

# Pillow does not promise which errors broken bytes raise. A reader is a parser that trusts its
# input, so whatever Python raises on nonsense comes out of it: bad lookups, bad numbers, bad types,
# attributes of tags that are not there. All of it means one thing here, and a photo that raised
# something else would take its whole chunk down. Programming errors of our own would hide behind
# this list, so next to nothing but calls of the readers stands inside the blocks that use it.
BROKEN = (
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
    Warning,  # Where somebody has told Python to raise them.
    struct.error,
    zlib.error,
    ImageCms.PyCMSError,
)
TOO_LARGE = (MemoryError, Image.DecompressionBombError)


@contextmanager
def blaming(photo_format: str) -> Iterator[None]:
    """Raises `ImageTooLargeError` or `TruncatedImageError` for whatever the block raises."""
    try:
        yield
    except TOO_LARGE as exc:
        raise ImageTooLargeError("the image needs too much memory; send a smaller one") from exc
    except BROKEN as exc:
        raise broken(photo_format) from exc


def broken(photo_format: str) -> TruncatedImageError:
    """The error for an image of this format that cannot be read."""
    return TruncatedImageError(
        f"the {photo_format} breaks off or is damaged; send the whole file, or save it anew"
    )
