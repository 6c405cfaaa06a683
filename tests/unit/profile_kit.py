"""Small ICC profiles made on the fly (ICC.1:2001-04)."""

import struct

import numpy as np

SRGB = ((0.436, 0.222, 0.014), (0.385, 0.717, 0.097), (0.143, 0.061, 0.714))
"""The XYZ of red, green and blue under D50, as sRGB has them."""
P3 = ((0.515, 0.241, -0.001), (0.292, 0.692, 0.042), (0.157, 0.067, 0.784))
"""Those of Display P3, which phones use."""


def rgb_profile(
    primaries: tuple[tuple[float, float, float], ...], gamma: float = 2.2, *, curve: bytes = b""
) -> bytes:
    """A display with these primaries, and this gamma or curve."""
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, primaries), strict=True))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve or _curve(gamma))
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def parametric(kind: int, *parameters: float) -> bytes:
    """A curve by a formula."""
    numbers = [round(value * 65536) for value in parameters]
    return b"para\0\0\0\0" + struct.pack(f">HH{len(numbers)}i", kind, 0, *numbers)


def table(values: list[int]) -> bytes:
    """A curve by its points."""
    points = struct.pack(f">I{len(values)}H", len(values), *values)
    return (b"curv\0\0\0\0" + points).ljust(-(-(12 + 2 * len(values)) // 4) * 4, b"\0")


def grey_profile(gamma: float) -> bytes:
    """A grey display."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile(lab_of_cyan: tuple[int, int, int]) -> bytes:
    """A printer whose cyan ink has this colour; black is black, and the others are paper."""
    paper, black = (255, 128, 128), (0, 128, 128)
    cyan = (lab_of_cyan[0] * 255 // 100, lab_of_cyan[1] + 128, lab_of_cyan[2] + 128)
    grid = [
        black if k else cyan if c else paper
        for c in (0, 1)
        for _ in range(4)  # Magenta and yellow.
        for k in (0, 1)
    ]
    identity = np.array([65536, 0, 0, 0, 65536, 0, 0, 0, 65536], dtype=">i4").tobytes()
    ramp = bytes(range(256))
    clut = b"".join(bytes(colour) for colour in grid)
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + clut + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"wtpt": _xyz((0.9642, 1.0, 0.8249)), **tags}
    table, bodies = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    size = start + len(bodies)
    head = struct.pack(">I4xI4s4s4s", size, 0x02100000, kind, space, connection)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    illuminant = struct.pack(">3i", 63190, 65536, 54061)
    return (head + illuminant).ljust(128, b"\0") + table + bodies


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH2x", 1, round(gamma * 256))
