"""How an API key is written: a mark, a public handle, a secret and a checksum.

`fb_live_`, 12 characters by which the key is looked up and shown, 43 that are secret (256 bits),
and 6 that say whether the others were copied whole. All but the mark are digits and letters.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

MARK = "fb_live_"
"""What every key begins with, so that people and scanners know one when they see it."""
HANDLE_CHARS = 12
SECRET_CHARS = 43
CHECK_CHARS = 6
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM = re.compile(
    rf"{MARK}([0-9A-Za-z]{{{HANDLE_CHARS}}})[0-9A-Za-z]{{{SECRET_CHARS + CHECK_CHARS}}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyText:
    """A whole key."""

    text: str = field(repr=False)
    handle: str

    def hashed(self, hashing_key: bytes) -> bytes:
        """What is kept of the key. A random secret needs no slow hash, and each request pays it."""
        return hmac.digest(hashing_key, self.text.encode(), hashlib.sha256)


def new_key_text() -> KeyText:
    """A key that nobody has."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(HANDLE_CHARS + SECRET_CHARS))
    return KeyText(text=MARK + body + _checksum(MARK + body), handle=body[:HANDLE_CHARS])


def read_key_text(text: str) -> KeyText | None:
    """The key that `text` is, or None where it was mistyped or cut off."""
    found = _FORM.fullmatch(text)
    if found is None or _checksum(text[:-CHECK_CHARS]) != text[-CHECK_CHARS:]:
        return None
    return KeyText(text=text, handle=found[1])


def shown(handle: str) -> str:
    """How a key is told from others where it must not be seen."""
    return MARK + handle


def _checksum(text: str) -> str:
    """CRC32 in base62, the highest digit first."""
    value, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_CHARS):
        value, digit = divmod(value, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
