"""dlib's serialisation (dlib/serialize.h, dlib/cuda/tensor.h), as far as its ResNet needs it.

Integers are a byte of sign and length with as many bytes after it, little end first; floats are a
mantissa and an exponent as two of those; tensors are four sizes with 32-bit floats after them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelFormatError

Shape = tuple[int, int, int, int]
"""Samples, channels, rows, columns: dlib's order."""
_SIGN, _LENGTH = 0x80, 0x0F
_MAX_TEXT_BYTES = 64
_MAX_TENSOR_FLOATS = 1 << 24
_TENSOR_VERSION, _ALIAS_VERSION = 2, 1
_INFINITE_EXPONENT = 32000


class DlibStream:
    """Reads one value after the other; anything unexpected raises `ModelFormatError`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def integer(self) -> int:
        """A whole number."""
        head = self._take(1)[0]
        length = head & _LENGTH
        if head & ~(_SIGN | _LENGTH) or not 1 <= length <= 8:
            raise self.unknown("an integer")
        value = int.from_bytes(self._take(length), "little")
        return -value if head & _SIGN else value

    def size(self) -> int:
        """A whole number that counts something."""
        value = self.integer()
        if not 0 <= value <= _MAX_TENSOR_FLOATS:
            raise self.unknown("a size")
        return value

    def boolean(self) -> bool:
        """True or false, as a digit."""
        digit = self._take(1)
        if digit not in {b"0", b"1"}:
            raise self.unknown("a boolean")
        return digit == b"1"

    def real(self) -> float:
        """A finite floating-point number."""
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) >= _INFINITE_EXPONENT:  # dlib's marks for infinity and NaN.
            raise self.unknown("a number")
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            raise self.unknown("a number") from None

    def text(self) -> str:
        """A short text."""
        length = self.integer()
        if not 0 <= length <= _MAX_TEXT_BYTES:
            raise self.unknown("a text")
        try:
            return self._take(length).decode("ascii")
        except UnicodeDecodeError:
            raise self.unknown("a text") from None

    def tensor(self) -> NDArray[np.float32]:
        """A tensor, float32, of its four sizes."""
        self.expect(self.integer(), _TENSOR_VERSION, "a tensor's version")
        shape = self._shape()
        count = math.prod(shape)
        if count > _MAX_TENSOR_FLOATS:
            raise self.unknown("a tensor's size")
        values = np.frombuffer(self._take(4 * count), dtype="<f4").reshape(shape)
        if not np.isfinite(values).all():
            raise self.unknown("a tensor")
        return values.astype(np.float32)

    def alias(self) -> Shape:
        """The sizes of a part of another tensor."""
        self.expect(self.integer(), _ALIAS_VERSION, "an alias's version")
        return self._shape()

    def expect(self, value: object, expected: object, what: str) -> None:
        """Raises `ModelFormatError` where `value` is not the one there is to be."""
        if value != expected:
            raise self.unknown(what)

    def end(self) -> None:
        """Raises `ModelFormatError` where bytes are left."""
        if self._at != len(self._data):
            raise self.unknown("the end")

    def unknown(self, what: str) -> ModelFormatError:
        """The error that says where reading stopped."""
        return ModelFormatError(
            f"dlib's network cannot be read: {what} at byte {self._at} is not as expected"
        )

    def _shape(self) -> Shape:
        return self.size(), self.size(), self.size(), self.size()

    def _take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) != count:
            raise self.unknown("more data")
        self._at += count
        return part
