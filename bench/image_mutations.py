"""Ways to break an image file, each driven by one seeded source of chance."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

from image_bombs import bomb
from image_parts import parts_and_fields

Mutation = Callable[[bytes, Sequence[bytes], random.Random], bytes]
"""From a good file, others beside it, and chance, to a bad one."""

_ODD_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)
_ODD_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
_HEAD_BYTES = 400


def flip_bits(data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """Some bits anywhere."""
    mutant = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 64))):
        mutant[chance.randrange(len(mutant))] ^= 1 << chance.randrange(8)
    return bytes(mutant)


def change_head(data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """Some bytes near the start, where headers are."""
    mutant = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(min(len(mutant), _HEAD_BYTES))
        mutant[at] = chance.choice((*_ODD_BYTES, chance.randrange(256)))
    return bytes(mutant)


def truncate(data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """The file breaks off."""
    return data[: chance.choice((chance.randrange(64), chance.randrange(len(data)), len(data) - 1))]


def cut_out(data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """A stretch is missing."""
    start, end = _stretch(data, chance)
    return data[:start] + data[end:]


def repeat(data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """A stretch is there several times."""
    start, end = _stretch(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 2, 50)) + data[end:]


def overwrite(data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """A stretch is zeros, ones or noise, as from a bad disk."""
    start, end = _stretch(data, chance)
    length = end - start
    fill = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))
    return data[:start] + fill + data[end:]


def splice(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """The start of one file and the end of another."""
    other = chance.choice(others)
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]


def swap_parts(data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """Chunks, segments, entries or boxes in another order, doubled or gone."""
    parts, _ = parts_and_fields(data)
    if len(parts) < 2:
        return cut_out(data, _others, chance)
    one, two = sorted(chance.sample(parts, 2), key=lambda part: part.start)
    first, second = data[one.start : one.end], data[two.start : two.end]
    if two.start < one.end:
        return data[: one.end] + second * chance.choice((1, 30)) + data[one.end :]
    between = data[one.end : two.start]
    middle = chance.choice((second + between + first, between + second, first * 3 + between))
    return data[: one.start] + middle + data[two.end :]


def change_lengths(data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """Fields that say how long, how large, how many or where."""
    _, fields = parts_and_fields(data)
    if not fields:
        return change_head(data, _others, chance)
    mutant = bytearray(data)
    for field in chance.sample(fields, min(len(fields), chance.choice((1, 1, 2, 4)))):
        old = int.from_bytes(mutant[field.at : field.at + field.size_bytes], "big")
        new = chance.choice((*_ODD_NUMBERS, old + 1, old * 2, chance.randrange(1 << 16)))
        mutant[field.at : field.at + field.size_bytes] = field.written(new)
    return _with_true_checksums(bytes(mutant))


def polyglot(data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """Another kind of file before, after or inside of it."""
    other = chance.choice((_zip(), _HTML, _PDF, _ELF, _SCRIPT))
    inside = chance.randrange(len(data))
    return chance.choice(
        (other + data, data + other, data[:inside] + other + data[inside:], data[:20] + other)
    )


def another_head(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """The first bytes of one format and the body of another, or noise."""
    head = chance.choice(others)[: chance.choice((4, 12, 40, 200))]
    return head + chance.choice((data[len(head) :], chance.randbytes(3000)))


def make_bomb(_data: bytes, _others: Sequence[bytes], chance: random.Random) -> bytes:
    """A small file that asks for very much: see `image_bombs`."""
    return bomb(chance)


MUTATIONS: dict[str, Mutation] = {
    "bits flipped": flip_bits,
    "head changed": change_head,
    "truncated": truncate,
    "cut out": cut_out,
    "repeated": repeat,
    "overwritten": overwrite,
    "spliced": splice,
    "parts swapped": swap_parts,
    "lengths changed": change_lengths,
    "polyglot": polyglot,
    "another head": another_head,
    "bomb": make_bomb,
}


def _stretch(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data))
    return start, min(len(data), start + chance.choice((1, 4, 64, 1000, 20_000)))


def _with_true_checksums(data: bytes) -> bytes:
    """A PNG whose chunks say what they should again: else its reader stops at the first of them."""
    if not data.startswith(b"\x89PNG"):
        return data
    mutant, at = bytearray(data), 8
    while at + 12 <= len(mutant):
        (length,) = struct.unpack_from(">I", mutant, at)
        end = at + 8 + length
        if end + 4 <= len(mutant):
            mutant[end : end + 4] = struct.pack(">I", zlib.crc32(mutant[at + 4 : end]))
        at = end + 4
    return bytes(mutant)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("inside.txt"), bytes(100_000))
    return buffer.getvalue()


_HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>\n"
_PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
_ELF = b"\x7fELF\x02\x01\x01" + bytes(57)
_SCRIPT = b"#!/bin/sh\necho never\n"
