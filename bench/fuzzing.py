"""Runs many broken images through the decoder, in processes that may be killed, and says how each
ended: in pixels, in an error's code, or in something that must not be.
"""

import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO

import numpy as np
from image_mutations import MUTATIONS

from pipeline.errors import PhotoError
from pipeline.loader import load_engine
from pipeline.photo import Colour, Photo, open_photo

KINDS = tuple(MUTATIONS)
TIGHT_MAX_PIXELS = 20_000
REDUCED_PX = 1280

# See `Plan.most_mb`.
FIXED_MB = 96
ENGINE_MB = 400
BYTES_PER_PIXEL = 12
BYTES_PER_BYTE = 5
ADDRESS_SPACE_BYTES = 16 << 30  # So that a runaway takes itself down, and not the machine.


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is made of; the same plan makes the same images."""

    images: tuple[bytes, ...]
    count: int
    seed: int
    max_pixels: int
    limit_s: float
    processes: int
    engine: str | None = None
    """An engine that finds faces in whatever could be decoded."""
    models_dir: Path | None = None
    """Where that engine's converted models are kept."""
    check: "Check | None" = None
    """In place of `examine`."""

    def most_mb(self, *, pixels: int, size_bytes: int) -> float:
        """What a photo may need at its peak, beside what the process had before."""
        fixed_mb = ENGINE_MB if self.engine else FIXED_MB
        return fixed_mb + (BYTES_PER_PIXEL * pixels + BYTES_PER_BYTE * size_bytes) / 1e6


@dataclass(slots=True, kw_only=True)
class Ending:
    """How one image ended."""

    index: int
    outcome: str = "pixels"
    """`pixels`, or the error's code."""
    unexpected: list[str] = field(default_factory=list)
    crashed: bool = False
    took_s: float = 0.0
    peak_mb: float = 0.0
    """What the process took for it."""
    process_mb: float = 0.0
    """What the process had then, in all."""


Check = Callable[[bytes, Plan], Ending]
"""What is done with one image. A function of a module, so that a child process finds it."""


def mutant(plan: Plan, index: int) -> tuple[str, bytes]:
    """The image of this number, and the kind of its mutation."""
    chance = random.Random(f"{plan.seed}:{index}")
    kind = KINDS[index % len(KINDS)]
    data = MUTATIONS[kind](chance.choice(plan.images), plan.images, chance)
    if chance.random() < 0.15:  # Damage seldom comes alone.
        data = MUTATIONS[chance.choice(KINDS[:6])](data or b"\0", plan.images, chance)
    return kind, data


def examine(data: bytes, plan: Plan) -> Ending:
    """Decodes one image in every way that there is."""
    ending = Ending(index=-1)
    largest_px = 0
    before_mb = _fresh_peak()
    start = time.monotonic()
    for colour in Colour:
        for cap in (plan.max_pixels, TIGHT_MAX_PIXELS):
            outcome, pixels = _attempt(data, cap, colour, ending.unexpected)
            largest_px = max(largest_px, pixels)
            if colour is Colour.SRGB and cap == plan.max_pixels:
                ending.outcome = outcome
    if plan.engine and ending.outcome == "pixels":
        _find_faces(data, plan, ending.unexpected)
    ending.took_s = time.monotonic() - start
    ending.process_mb = _kilobytes("VmHWM") / 1000
    ending.peak_mb = ending.process_mb - before_mb
    most_mb = plan.most_mb(pixels=largest_px, size_bytes=len(data))
    if ending.peak_mb > most_mb:
        ending.unexpected.append(f"took {ending.peak_mb:.0f} MB where {most_mb:.0f} are allowed")
    return ending


def run(plan: Plan, indices: Sequence[int], done: Callable[[Ending], None]) -> None:
    """Examines the images of these numbers in child processes, and tells of each."""
    context = multiprocessing.get_context("spawn")
    todo = iter(indices)
    crew: list[_Child] = []
    try:
        for _ in range(plan.processes):
            crew.append(_Child(context, plan))
            crew[-1].give(next(todo, None))
        while any(child.index is not None for child in crew):
            for number, child in enumerate(crew):
                if child.index is None:
                    continue
                ending = child.ending()
                if ending is None:
                    continue
                done(ending)
                if ending.crashed:
                    crew[number] = _Child(context, plan)
                crew[number].give(next(todo, None))
            wait([child.connection for child in crew], timeout=0.2)
    finally:
        for child in crew:
            child.stop()


class _Child:
    """A process that examines one image after the other."""

    def __init__(self, context: multiprocessing.context.SpawnContext, plan: Plan) -> None:
        self.connection, theirs = context.Pipe()
        self._plan = plan
        self._process = context.Process(target=_work, args=(theirs, plan), daemon=True)
        self._process.start()
        theirs.close()
        self.index: int | None = None
        self._ready = False
        self._deadline_s = 0.0

    def give(self, index: int | None) -> None:
        """The next image, or None where there is no more."""
        self.index = index
        # A process that has yet to start gets the time for that as well.
        self._deadline_s = time.monotonic() + self._plan.limit_s + (0 if self._ready else 60)
        if index is not None:
            self.connection.send(index)

    def ending(self) -> Ending | None:
        """How the image ended, or None while it is being worked on."""
        index = self.index
        assert index is not None
        try:
            if self.connection.poll():
                ending: Ending = self.connection.recv()
                self._ready = True
                return ending
        except (EOFError, ConnectionError):
            self._process.join(5)
            return self._dead(index, f"its process died with {self._process.exitcode}")
        if time.monotonic() > self._deadline_s:
            self.stop()
            return self._dead(index, f"took more than {self._plan.limit_s:.0f} s")
        return None

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()

    @staticmethod
    def _dead(index: int, reason: str) -> Ending:
        return Ending(index=index, outcome="none", unexpected=[reason], crashed=True)


def _work(connection: Connection, plan: Plan) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryFile() as errors:
        os.dup2(errors.fileno(), 2)
        check = plan.check or examine
        for data in plan.images[:40]:  # What libraries take for themselves once is no photo's.
            examine(data, plan)
        for index in iter(connection.recv, None):
            _read_new(errors)
            _, data = mutant(plan, index)
            ending = check(data, plan)
            ending.index = index
            if said := _read_new(errors):
                ending.unexpected.append(f"wrote {said!r} to standard error")
            connection.send(ending)


def _attempt(
    data: bytes, max_pixels: int, colour: Colour, unexpected: list[str]
) -> tuple[str, int]:
    """How decoding ended, and how many pixels it was promised."""
    outcome, promised = "pixels", 0
    try:
        photo = open_photo(data, max_pixels=max_pixels, colour=colour)
        promised = photo.width_px * photo.height_px
        unexpected += _flaws(photo, max_pixels)
    except PhotoError as exc:
        outcome = exc.code
    except Exception as exc:  # noqa: BLE001 - To find these is what it is for.
        unexpected.append(f"{colour}, {max_pixels}: {type(exc).__name__} came through")
    return outcome, promised


def _find_faces(data: bytes, plan: Plan, unexpected: list[str]) -> None:
    """All that a worker does with the photo."""
    assert plan.engine
    assert plan.models_dir
    engine = load_engine(plan.engine, plan.models_dir)
    try:
        detected = engine.detect(engine.open(data, max_pixels=plan.max_pixels))
        (photo,) = engine.embed([detected])
    except PhotoError:
        return
    except Exception as exc:  # noqa: BLE001 - As above.
        unexpected.append(f"{plan.engine}: {type(exc).__name__} came through")
        return
    if not all(np.isfinite(face.embedding).all() for face in photo.faces):
        unexpected.append(f"{plan.engine}: an embedding with a number that is none")


def _flaws(photo: Photo, max_pixels: int) -> Iterator[str]:
    """What is wrong with a photo that could be decoded; raises its `PhotoError`."""
    reduced = photo.reduced(REDUCED_PX)
    longest_px = max(photo.width_px, photo.height_px)
    if max(reduced.shape) < min(REDUCED_PX, longest_px):
        yield f"reduced to {reduced.shape}"
    pixels = photo.pixels()
    if pixels.shape != (photo.height_px, photo.width_px, 3):
        yield f"pixels of shape {pixels.shape}"
    for array in (reduced, pixels):
        if array.dtype != np.uint8 or not array.flags.c_contiguous:
            yield "an array of another kind"
    if photo.width_px * photo.height_px > max_pixels:
        yield "more pixels than the cap"


def _fresh_peak() -> float:
    """Begins the measurement of a peak; what the process has now, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _kilobytes("VmRSS") / 1000


def _kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(name + ":", 1)[1].split(None, 1)[0])


def _read_new(errors: IO[bytes]) -> bytes:
    """What was written to standard error since; forgets it."""
    errors.seek(0)
    said = errors.read(200)
    errors.seek(0)
    errors.truncate()
    return said
