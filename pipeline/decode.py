"""From a file's bytes to an upright RGB array in one step."""

from pipeline.faces import RgbImage
from pipeline.photo import Colour, open_photo


def decode(data: bytes, *, max_pixels: int) -> RgbImage:
    """The photo in `data` as an upright array (height, width, 3), uint8, RGB.

    A plain photo has the very pixels of `face_recognition.load_image_file`; see
    `pipeline.photo.open_photo`, also for the errors that it raises.
    """
    return open_photo(data, max_pixels=max_pixels, colour=Colour.STORED).pixels()
