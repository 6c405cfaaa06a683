"""A process with an engine: `python -m cli.embedding.worker HANDLE` answers at that handle.

It ends when its parent has, however that ended.
"""

import contextlib
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from cli.embedding.filling import rows_of
from cli.embedding.messages import Done, Orders, Ready, Task
from cli.scan import open_photo
from pipeline.batching import embed_each
from pipeline.engine import Engine
from pipeline.errors import FaceBatchError, FileTooLargeError, PhotoCrashedError, PhotoError
from pipeline.faces import DetectedPhoto, PhotoFaces
from pipeline.loader import import_engine, load_engine
from workers.memory import return_large_blocks


class UnreadableFileError(PhotoError):
    """The system does not let us read the file."""

    code = "unreadable"


class Worker:
    """Does tasks with one engine."""

    def __init__(self, engine: Engine, orders: Orders) -> None:
        self._engine = engine
        self._orders = orders

    def done(self, task: Task) -> Done:
        """Detects photo by photo, then embeds the faces of all of them together."""
        detected: dict[int, DetectedPhoto] = {}
        failed: list[tuple[int, str]] = []
        for number, photo in enumerate(task.photos, task.first):
            try:
                detected[number] = self._detect(photo)
            except PhotoError as exc:
                failed.append((number, exc.code))
        embedded: dict[int, PhotoFaces] = {}
        each = embed_each(self._engine, [*detected.values()])
        for number, faces in zip(detected, each, strict=True):
            if isinstance(faces, Exception):
                traceback.print_exception(faces)
                failed.append((number, PhotoCrashedError.code))
            else:
                embedded[number] = faces
        rows = rows_of([*embedded], [*embedded.values()], self._engine.spec.dimension)
        return Done(
            first=task.first, photo_count=len(task.photos), rows=rows, failed=sorted(failed)
        )

    def _detect(self, photo: str) -> DetectedPhoto:
        data = _read(self._orders.photos_dir / photo, self._orders.max_file_bytes)
        try:
            opened = self._engine.open(data, max_pixels=self._orders.max_pixels)
            return self._wanted(self._engine.detect(opened))
        except FaceBatchError:
            raise
        except Exception as exc:  # The border of one photo: it must not take its neighbours along.
            traceback.print_exc()
            raise PhotoCrashedError("the photo could not be computed") from exc

    def _wanted(self, photo: DetectedPhoto) -> DetectedPhoto:
        """Without the faces that nobody asked for; what they would cost to embed is saved."""
        wanted = self._orders.limits.passing(photo.faces)
        return replace(photo, faces=tuple(photo.faces[n] for n in wanted))


def _read(path: Path, max_bytes: int) -> bytes:
    """The file; raises `UnreadableFileError` and `FileTooLargeError`."""
    try:
        with open_photo(path) as file:
            data = file.read(max_bytes + 1)
    except OSError as exc:
        raise UnreadableFileError("the file cannot be read") from exc
    if len(data) > max_bytes:
        raise FileTooLargeError(f"the file has more than {max_bytes} bytes")
    return data


def main(handle: int) -> int:
    """Serves the parent at `handle` until it has no more tasks; returns the exit status."""
    with Connection(handle) as parent, contextlib.suppress(EOFError, BrokenPipeError):
        orders: Orders = parent.recv()
        try:
            # A library that is stopped while it is imported would print a traceback of it.
            import_engine(orders.engine)
            with _ends_tidily():
                engine = load_engine(orders.engine, orders.models_dir)
        except FaceBatchError as exc:
            parent.send(exc)
            return 1
        return_large_blocks()
        worker = Worker(engine, orders)
        parent.send(Ready())
        while True:
            parent.send(worker.done(parent.recv()))
    return 0


@contextlib.contextmanager
def _ends_tidily() -> Iterator[None]:
    """Lets SIGTERM remove what is half-made: models may just be being converted."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
