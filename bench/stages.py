"""CPU time by stage: the engine's own parts, each with a clock round it."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import face_recognition.api
import numpy as np

from pipeline.batching import EmbedBatches
from pipeline.engine import Engine
from pipeline.photo import Photo

MAX_PIXELS = 100_000_000
STAGES = ("decode", "detect", "align", "embed")


@dataclass(slots=True)
class Clock:
    """CPU seconds of this process by stage; a stage inside another counts for itself alone."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _running: list[str] = field(default_factory=list)
    _since: float = 0.0

    def __call__(self, stage: str, function: Any) -> Any:
        """`function` with its time counted for `stage`."""

        def timed(*arguments: Any, **more: Any) -> Any:
            self._switch()
            self._running.append(stage)
            try:
                return function(*arguments, **more)
            finally:
                self._switch()
                self._running.pop()

        return timed

    def _switch(self) -> None:
        now = time.process_time()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def per_photo_ms(self, photos: int) -> dict[str, float]:
        """Milliseconds by stage."""
        return {stage: round(self.seconds[stage] * 1000 / photos, 2) for stage in STAGES}


class _Timed:
    """Something with one of its methods timed; all else is passed on."""

    def __init__(self, inner: Any, **methods: Any) -> None:
        self._inner = inner
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def of_engine(engine: Engine, photos: Iterable[Path]) -> dict[str, float]:
    """CPU milliseconds by stage and photo, photos one after the other, faces in batches."""
    clock = Clock()
    timed = replace(
        engine,
        detector=_Timed(engine.detector, detect=clock("detect", engine.detector.detect)),
        aligner=_Timed(engine.aligner, align=clock("align", engine.aligner.align)),
        embedder=_Timed(engine.embedder, embed=clock("embed", engine.embedder.embed)),
    )
    batches = EmbedBatches[int]()
    count = 0
    for count, path in enumerate(photos, start=1):
        photo = clock("decode", timed.open)(path.read_bytes(), max_pixels=MAX_PIXELS)
        full = batches.add(count, timed.detect(_decoding(photo, clock)))
        timed.embed([detected for _, detected in full])
    timed.embed([detected for _, detected in batches.rest()])
    return clock.per_photo_ms(count)


def _decoding(photo: Photo, clock: Clock) -> Any:
    return _Timed(
        photo,
        pixels=clock("decode", photo.pixels),
        reduced=clock("decode", photo.reduced),
    )


def of_library(photos: Iterable[Path]) -> dict[str, float]:
    """The same of face_recognition: the calls that its `face_encodings` is made of.

    Its last call also cuts the face out.
    """
    clock, api = Clock(), face_recognition.api
    paths = list(photos)
    for path in paths:
        image = clock("decode", api.load_image_file)(str(path))
        faces = clock("detect", api._raw_face_locations)(image)
        shapes = [clock("align", api.pose_predictor_5_point)(image, face) for face in faces]
        for shape in shapes:
            np.array(clock("embed", api.face_encoder.compute_face_descriptor)(image, shape, 1))
    return clock.per_photo_ms(len(paths))
