"""Files that are made to keep a reader busy, or to surprise it, are refused before they do."""

import random
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from image_kit import image_file, png, png_chunk, png_header, scene
from PIL import Image

from pipeline.av1 import coded_pixels
from pipeline.errors import ImageTooLargeError, PhotoError, TruncatedImageError
from pipeline.guards import MAX_JPEG_SCANS, MAX_PNG_CHUNKS
from pipeline.photo import open_photo

MAX_PIXELS = 1_000_000


def _progressive(scans: int) -> bytes:
    """A progressive JPEG whose last scan, emptied, is there so many times."""
    data = image_file(scene(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    head = data[at : at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]]
    return data[:-2] + (head + b"\0") * scans + data[-2:]


def test_a_jpeg_of_endless_scans_is_refused_at_once() -> None:
    with pytest.raises(TruncatedImageError):
        open_photo(_progressive(MAX_JPEG_SCANS), max_pixels=MAX_PIXELS)
    assert open_photo(_progressive(20), max_pixels=MAX_PIXELS).pixels().shape == (60, 90, 3)


def test_what_looks_like_scans_in_metadata_counts_for_nothing() -> None:
    data = image_file(scene(), "JPEG", comment=b"\xff\xda" * 1000) + b"\xff\xda\0\x02" * 1000
    assert open_photo(data, max_pixels=MAX_PIXELS).pixels().shape == (60, 90, 3)


def test_a_png_of_endless_chunks_is_refused_at_once() -> None:
    rows = zlib.compress((b"\0" + bytes(3)) * 1)
    many = png_chunk(b"tEXt", b"") * (MAX_PNG_CHUNKS + 1)
    for options in ({"before": many}, {"after": many}):
        with pytest.raises(TruncatedImageError):
            open_photo(png(png_header(1, 1), rows, **options), max_pixels=MAX_PIXELS)


def _tiled_tiff(tile_px: int) -> bytes:
    """64 x 64 pixels of grey, in a tile that claims to be as large as this."""
    tile = b"\x80\0\x20\0" * 50
    values = {256: 64, 257: 64, 258: 8, 259: 5, 262: 1, 277: 1}
    values |= {322: tile_px, 323: tile_px, 324: 200, 325: len(tile)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + bytes(4)
    return head.ljust(200, b"\0") + tile


def test_a_tiff_with_a_tile_far_larger_than_itself_is_refused() -> None:
    with pytest.raises(ImageTooLargeError, match="parts are far larger"):
        open_photo(_tiled_tiff(60_000), max_pixels=MAX_PIXELS)
    assert open_photo(_tiled_tiff(64), max_pixels=MAX_PIXELS).width_px == 64


def _broken() -> dict[str, bytes]:
    """Files on which libraries have been heard to remark."""
    tiff = bytearray(image_file(scene(), "TIFF", compression="tiff_adobe_deflate"))
    pixels = bytearray(tiff)
    pixels[60:2000:7] = bytes(len(pixels[60:2000:7]))
    header = bytearray(tiff)
    header[header.index(struct.pack("<HHI", 277, 3, 1)) + 8] = 255
    webp = bytearray(
        image_file(scene(), "WEBP", save_all=True, append_images=[scene(9, 9).resize((90, 60))])
    )
    frame = webp.index(b"VP8 ", webp.index(b"ANMF")) + 8
    webp[frame + 10 : frame + 60] = b"\xff" * 50
    return {"tiff's pixels": bytes(pixels), "tiff's header": bytes(header), "webp": bytes(webp)}


@pytest.mark.parametrize("name", _broken())
def test_a_broken_image_is_refused_without_a_word_on_standard_error(name: str) -> None:
    code = """
import sys
from pipeline.errors import TruncatedImageError
from pipeline.photo import open_photo
try:
    open_photo(sys.stdin.buffer.read(), max_pixels=10_000).pixels()
except TruncatedImageError:
    sys.exit(7)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=_broken()[name], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (7, b"")


# ---------------------------------------------------------------- AVIF


AVIFS = {
    "still": image_file(scene(), "AVIF"),
    "with alpha": image_file(scene().convert("RGBA"), "AVIF"),
    "grey": image_file(scene().convert("L"), "AVIF"),
    "animated": image_file(scene(), "AVIF", save_all=True, append_images=[scene().rotate(9)] * 3),
}


@pytest.mark.parametrize("name", AVIFS)
def test_the_true_size_of_an_avif_is_found(name: str) -> None:
    assert coded_pixels(AVIFS[name]) == 90 * 60


def test_an_avif_that_hides_a_large_picture_is_refused() -> None:
    data = bytearray(image_file(Image.new("RGB", (1200, 1000)), "AVIF", speed=10))
    assert open_photo(bytes(data), max_pixels=2_000_000).pixels().shape == (1000, 1200, 3)
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", 64, 64)
    with pytest.raises(ImageTooLargeError, match="parts are far larger"):
        open_photo(bytes(data), max_pixels=2_000_000)


def _sequence_header(width: int, height: int, chance: random.Random) -> bytes:
    """Bits of a sequence header with all that a still picture can leave out, chosen at random."""
    bits = "000" + "0" + "0"

    def flag() -> bool:
        nonlocal bits
        bits += (one := chance.choice("01"))
        return one == "1"

    delay_bits = 0
    if flag():
        bits += "01" * 32
        if flag():
            bits += "00101"
        if flag():
            delay_bits = chance.randrange(32)
            bits += f"{delay_bits:05b}" + "01" * 21
            delay_bits += 1
    display_delay = flag()
    points = chance.randrange(4)
    bits += f"{points:05b}"
    for _ in range(points + 1):
        level = chance.randrange(32)
        bits += "1" * 12 + f"{level:05b}" + ("1" if level > 7 else "")
        if delay_bits and flag():
            bits += "1" * (2 * delay_bits + 1)
        if display_delay and flag():
            bits += "1010"
    bits += f"{15:04b}{14:04b}{width - 1:016b}{height - 1:015b}"
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))


def test_sequence_headers_are_read_with_all_their_options() -> None:
    chance = random.Random(3)
    for _ in range(300):
        width, height = chance.randrange(1, 65_537), chance.randrange(1, 32_769)
        body = _sequence_header(width, height, chance)
        obus = b"\x12\0" + b"\x0a" + bytes((len(body),)) + body
        stco = struct.pack(">I4s", 20, b"stco") + struct.pack(">III", 0, 1, 28)
        file = struct.pack(">I4s", 28, b"stbl") + stco + obus
        assert coded_pixels(file) == width * height


def test_mutated_avifs_end_in_pixels_or_in_a_photo_error() -> None:
    chance = random.Random(11)
    for _ in range(300):
        mutant = bytearray(AVIFS[chance.choice(list(AVIFS))])
        for _ in range(chance.choice((1, 3, 9))):
            reach = min(400, len(mutant))
            mutant[chance.randrange(reach)] = chance.choice((0, 1, 0xFF, chance.randrange(256)))
        try:
            pixels = open_photo(bytes(mutant), max_pixels=MAX_PIXELS).pixels()
        except PhotoError:
            continue
        assert np.prod(pixels.shape) <= 3 * MAX_PIXELS


def test_boxes_within_boxes_without_end_are_refused() -> None:
    ftyp = image_file(scene(), "AVIF")[:32]
    deep = b"".join(struct.pack(">I4s", 8 * (5000 - n), b"moov") for n in range(5000))
    wide = struct.pack(">I4s", 8, b"free") * 100_000
    for data in (ftyp + deep, ftyp + wide):
        with pytest.raises(PhotoError):
            open_photo(data, max_pixels=MAX_PIXELS)
