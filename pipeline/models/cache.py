"""Models converted to ONNX, kept on disk: made once, whole or not at all, and checked at each use.

A file's name carries the SHA-256 of its bytes, so that there is no second file that could belong to
another version of it; and the source's and the recipe's, so that none of them outlives a change.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ModelCacheError
from pipeline.models.files import ModelFile, model_bytes

Conversion = Callable[[bytes], bytes]
"""From the bytes of a model file to those of an ONNX model; raises `ModelFormatError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model file becomes an ONNX model."""

    name: str
    version: int
    """Changes with every change of the ONNX model's bytes that matters."""
    source: ModelFile
    convert: Conversion

    @property
    def key(self) -> str:
        """What the names of its files start with."""
        return f"{self.name}-{self.version}-{self.source.sha256[:16]}"


@dataclass(frozen=True, slots=True)
class ModelCache:
    """A folder of converted models, which several processes may use at once."""

    folder: Path

    def onnx(self, recipe: Recipe) -> bytes:
        """The ONNX model that `recipe` makes, from the folder or made now.

        A file that is damaged is thrown away and made anew. Raises `ModelFileError` where the
        source is missing or damaged, `ModelFormatError` where it cannot be understood and
        `ModelCacheError` where the folder cannot be used.
        """
        try:
            if (kept := self._kept(recipe)) is not None:
                return kept
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._alone(recipe):
                kept = self._kept(recipe)  # Another process may have made it meanwhile.
                return self._made(recipe) if kept is None else kept
        except OSError as exc:
            raise ModelCacheError(
                f"the folder of converted models {self.folder} cannot be used "
                f"({exc.strerror}); make it writable or set FACEBATCH_HOME"
            ) from exc

    def _kept(self, recipe: Recipe) -> bytes | None:
        for path in sorted(self.folder.glob(f"{recipe.key}-*.onnx")):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # It was damaged, and another process has thrown it away.
            if path.name == _file_name(recipe, data):
                return data
        return None

    def _made(self, recipe: Recipe) -> bytes:
        for unfinished in self.folder.glob(f".{recipe.key}.*"):
            unfinished.unlink(missing_ok=True)  # Who wrote it was killed: the lock is ours.
        data = recipe.convert(model_bytes(recipe.source))
        fresh = self.folder / f".{recipe.key}.{secrets.token_hex(8)}"
        try:
            with fresh.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            for damaged in self.folder.glob(f"{recipe.key}-*.onnx"):
                damaged.unlink(missing_ok=True)
            fresh.replace(self.folder / _file_name(recipe, data))
        finally:
            fresh.unlink(missing_ok=True)
        return data

    @contextlib.contextmanager
    def _alone(self, recipe: Recipe) -> Iterator[None]:
        """Holds the folder's lock for one recipe; a process that dies lets go of it."""
        with (self.folder / f"{recipe.key}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _file_name(recipe: Recipe, data: bytes) -> str:
    return f"{recipe.key}-{hashlib.sha256(data).hexdigest()}.onnx"
