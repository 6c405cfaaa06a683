"""Good image files to start from: real photos as they are, and anew in every accepted format."""

import io
import random
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

_SUFFIXES = {".jpg", ".jpeg", ".png"}
_LONGEST_SIDE_PX = 320
_LARGEST_ORIGINAL_BYTES = 400_000
_PHOTOS = 6

_JPEG, _PNG, _WEBP, _TIFF, _AVIF = "JPEG", "PNG", "WEBP", "TIFF", "AVIF"
_WAYS: tuple[tuple[str, str, dict[str, object]], ...] = (
    (_JPEG, "RGB", {"quality": 88}),
    (_JPEG, "RGB", {"progressive": True}),
    (_JPEG, "CMYK", {}),
    (_JPEG, "L", {"optimize": True}),
    (_PNG, "RGB", {}),
    (_PNG, "RGBA", {"compress_level": 1}),
    (_PNG, "P", {"bits": 8}),
    (_PNG, "I;16", {}),
    (_WEBP, "RGB", {"quality": 80}),
    (_WEBP, "RGBA", {"lossless": True}),
    (_TIFF, "RGB", {}),
    (_TIFF, "RGB", {"compression": "tiff_lzw"}),
    (_TIFF, "RGB", {"compression": "jpeg"}),
    (_TIFF, "CMYK", {"compression": "tiff_adobe_deflate"}),
    (_TIFF, "1", {"compression": "group4"}),
    (_TIFF, "LAB", {}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
    (_AVIF, "RGB", {"speed": 9}),
    (_AVIF, "RGBA", {"speed": 9, "subsampling": "4:4:4"}),
)
_ANIMATED: tuple[tuple[str, dict[str, object]], ...] = (
    (_PNG, {}),
    (_WEBP, {"method": 0}),
    (_TIFF, {}),
    (_AVIF, {"speed": 9}),
    ("MPO", {}),
)


def good_images(photos: Path | None, seed: int) -> list[bytes]:
    """The same list for the same folder and seed. Without a folder, of made-up pictures."""
    chance = random.Random(seed)
    images, originals = _real(photos, chance) if photos else ([_made_up(n) for n in range(2)], [])
    return originals + [data for image in images for data in _files(image)]


def _real(photos: Path, chance: random.Random) -> tuple[list[Image.Image], list[bytes]]:
    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise SystemExit(f"{photos} holds no photos")
    images, originals = [], []
    for path in chance.sample(paths, min(_PHOTOS, len(paths))):
        data = path.read_bytes()
        image = Image.open(io.BytesIO(data)).convert("RGB")
        image.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX))
        images.append(image)
        if len(data) < _LARGEST_ORIGINAL_BYTES:
            originals.append(data)
    return images, originals


def _made_up(number: int) -> Image.Image:
    rows, columns = np.mgrid[0:96, 0:128]
    noise = np.random.default_rng(number).integers(0, 60, (96, 128))
    pixels = np.stack([columns * 2, rows * 2 + noise, noise * 4], axis=2).astype(np.uint8)
    return Image.fromarray(pixels)


def _files(image: Image.Image) -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = [_file(_in_mode(image, mode), kind, options) for kind, mode, options in _WAYS]
    made += [
        _file(image, kind, {"exif": exif, "icc_profile": srgb})
        for kind in (_JPEG, _PNG, _WEBP, _TIFF, _AVIF)
    ]
    more = {"save_all": True, "append_images": [image.rotate(180), image.rotate(5)]}
    made += [_file(image, kind, {**options, **more}) for kind, options in _ANIMATED]
    plain = {"quality": 60, "enc_params": {"preset": "ultrafast"}}
    made += [
        _heic(image, plain),
        _heic(image.convert("RGBA"), plain),
        _heic(image.convert("L"), plain),
        _heic(image, {**plain, "exif": exif.tobytes(), "icc_profile": srgb}),
        _heic(image, {**plain, "tile_size": 128}),
    ]
    return made


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        assert converted is not None
        converted.info.clear()
        return converted
    return image.convert(mode)


def _file(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _heic(image: Image.Image, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.encode(image.mode, image.size, image.tobytes(), buffer, **options)
    return buffer.getvalue()
