"""What makes two requests the same: where they go, and what their bodies bring.

Taken while a body is read, which is never held. Of a multipart body the parts count, in their
order, and not the bytes between them: clients draw another boundary each time.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator


class Fingerprint:
    """Of one request, for as much of its body as was read."""

    def __init__(self, key: bytes, *target: str) -> None:
        self._hash = hmac.new(key, digestmod=hashlib.sha256)
        for word in target:
            self._add_text(word)

    def json(self, body: bytes) -> None:
        """A body of JSON, to the byte."""
        self._add(b"json")
        self._add(body)

    def field(self, name: str, value: str) -> None:
        """A form field."""
        for word in ("field", name, value):
            self._add_text(word)

    def file(self, name: str, filename: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """A file's chunks, on their way to whoever reads them."""
        for word in ("file", name, filename):
            self._add_text(word)
        content = hashlib.sha256()
        for chunk in chunks:
            content.update(chunk)
            yield chunk
        self._add(content.digest())

    def digest(self) -> bytes:
        """32 bytes."""
        return self._hash.digest()

    def _add_text(self, word: str) -> None:
        # A name may hold half of a character, for which it is refused later on.
        self._add(word.encode(errors="surrogatepass"))

    def _add(self, word: bytes) -> None:
        """With its length: no two lists of words look the same in a row."""
        self._hash.update(len(word).to_bytes(8, "big"))
        self._hash.update(word)
