"""The engines against face_recognition: photos a second, CPU time by stage, faces, embeddings.

Run as `python -m bench.engine [PHOTOS] [--rounds N]`; `make bench-engine` does. Every contender is
a whole process from start to end, with two processes at work, on the same folder of photos; they
take turns, and the median of the rounds counts.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.photos import Corners, below, default_photos, faces_found, is_of_lfw, known_faces
from pipeline.loader import load_engine
from pipeline.specs import engine_spec

BIN = Path(sys.executable).parent
PROCESSES = 2
ENGINES = ("dlib-classic", "dlib", "sface")
MATCHES_NOBODY = "1e-9"
"""A tolerance at which the command prints one line a face, whoever is known."""
MAX_L2 = 1e-5
"""How far apart an encoding of face_recognition and an embedding of `dlib-classic` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Folders of one run."""

    root: Path
    names: dict[str, Path]
    """From the name in `photos` to the photo that it leads to."""

    @property
    def photos(self) -> Path:
        """What everybody works on."""
        return self.root / "photos"

    @property
    def known(self) -> Path:
        """One person, whom the command asks for."""
        return self.root / "known"

    def result(self, name: str) -> Path:
        """Where a contender puts its faces."""
        return self.root / f"{name}.npz"


@dataclass(slots=True)
class Times:
    """Wall-clock seconds of a contender's runs."""

    seconds: list[float] = field(default_factory=list)

    def photos_per_s(self, photos: int) -> float:
        """By the median."""
        return photos / statistics.median(self.seconds)


def main() -> int:
    """Runs the benchmark and prints it; 1 where `dlib-classic` is not what it promises."""
    parser = argparse.ArgumentParser(prog="bench.engine")
    parser.add_argument("photos", nargs="?", type=Path, help="folder of photos")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    photos = below(options.photos) if options.photos else default_photos()
    if not photos:
        parser.error(f"{options.photos} holds no JPEG or PNG")
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
        place = _prepared(Path(folder), photos)
        os.environ["FACEBATCH_HOME"] = str(place.root / "home")
        times, cli_faces = _run(place, options.rounds)
        report = _report(place, times, cli_faces)
    print(json.dumps(report))
    return 0 if report["classic_max_l2"] <= MAX_L2 else 1


def _prepared(root: Path, photos: Sequence[Path]) -> Place:
    names = {f"{n:06d}{photo.suffix.lower()}": photo for n, photo in enumerate(photos)}
    place = Place(root=root, names=names)
    for folder in (place.photos, place.known):
        folder.mkdir()
    for name, photo in names.items():
        shutil.copyfile(photo, place.photos / name)
    shutil.copyfile(photos[0], place.known / f"someone{photos[0].suffix}")
    return place


def _commands(place: Place) -> dict[str, list[str]]:
    python, folder = sys.executable, str(place.photos)
    commands = {
        "cli": [
            str(BIN / "face_recognition"),
            *("--cpus", str(PROCESSES), "--tolerance", MATCHES_NOBODY),
            *(str(place.known), folder),
        ],
        "library": [
            *(python, "-m", "bench.library_loop"),
            *(folder, str(place.result("library")), str(PROCESSES)),
        ],
    }
    for engine in ENGINES:
        commands[engine] = [
            *(str(BIN / "facebatch"), "embed", folder, "--engine", engine),
            *("--workers", str(PROCESSES), "--out", str(place.result(engine))),
        ]
    return commands


def _run(place: Place, rounds: int) -> tuple[dict[str, Times], int]:
    """Each contender's times, and how many faces the command found."""
    models = place.root / "home" / "models"
    for engine in ENGINES:  # Models are converted at set-up, not at each run.
        load_engine(engine, models)
    times: dict[str, Times] = defaultdict(Times)
    lines: set[str] = set()
    for n in range(rounds):
        for name, command in _commands(place).items():
            started = time.perf_counter()
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            times[name].seconds.append(time.perf_counter() - started)
            print(f"round {n + 1}: {name} {times[name].seconds[-1]:.1f} s", file=sys.stderr)
            if name == "cli":
                lines = {f"{at} {line}" for at, line in enumerate(output.splitlines())}
    faces = sum("no_persons_found" not in line and "WARNING" not in line for line in lines)
    return times, faces


def _report(place: Place, times: dict[str, Times], cli_faces: int) -> dict[str, float]:
    from bench import stages

    photos = list(place.names.values())
    cli = times["cli"].photos_per_s(len(photos))
    faces = {"cli": cli_faces}
    cpu: dict[str, dict[str, float]] = {"library": stages.of_library(photos)}
    true: dict[str, int] = {}
    with np.load(place.result("library")) as theirs:
        faces["library"] = len(theirs["photo"])
    for name in ENGINES:
        boxes = _boxes(place.result(name))
        faces[name] = sum(len(many) for many in boxes.values())
        true[name] = _true_faces(place, boxes)
        cpu[name] = stages.of_engine(load_engine(name, place.root / "home" / "models"), photos)
    _print_table(times, faces, true, cpu, len(photos))
    report: dict[str, float] = {"photos": len(photos), "classic_max_l2": _max_l2(place)}
    for name, taken in times.items():
        key, rate = name.replace("-", "_"), taken.photos_per_s(len(photos))
        report |= {f"photos_per_s_{key}": round(rate, 2), f"faces_{key}": faces[name]}
        if name != "cli":
            report[f"ratio_{key}"] = round(rate / cli, 2)
        if name in true:
            report[f"true_faces_{key}"] = true[name]
    network_alone = PROCESSES * 1000 / cpu["dlib"]["embed"]
    report["ratio_dlib_network_alone"] = round(network_alone / cli, 2)
    print(f"If all but its network took no time, dlib would reach {network_alone / cli:.2f}.")
    return report


def _boxes(path: Path) -> dict[str, list[Corners]]:
    found: dict[str, list[Corners]] = defaultdict(list)
    with np.load(path) as faces:
        for photo, (left, top, right, bottom) in zip(faces["photo"], faces["box"], strict=True):
            found[str(photo)].append((float(left), float(top), float(right), float(bottom)))
    return found


def _true_faces(place: Place, boxes: dict[str, list[Corners]]) -> int:
    """Faces found that are known to be there: annotated ones, and LFW's people in the centre."""
    known = known_faces(place.names.values())
    return sum(
        faces_found(known[photo], boxes[name])
        if photo in known
        else is_of_lfw(photo) and any(_holds_centre_of_lfw(box) for box in boxes[name])
        for name, photo in place.names.items()
    )


def _holds_centre_of_lfw(box: Corners) -> bool:
    left, top, right, bottom = box
    return left < 125 < right and top < 125 < bottom  # Its photos are 250 pixels square.


def _max_l2(place: Place) -> float:
    """The largest distance between an encoding of the library and `dlib-classic`'s.

    Where they do not find the same faces, it is that of embeddings which have nothing in common.
    """
    with (
        np.load(place.result("library")) as theirs,
        np.load(place.result("dlib-classic")) as ours,
    ):
        if not np.array_equal(theirs["photo"], ours["photo"]):
            return engine_spec("dlib-classic").max_distance
        distances = np.linalg.norm(theirs["embedding"] - ours["embedding"], axis=1)
        return float(distances.max(initial=0))


def _print_table(
    times: dict[str, Times],
    faces: dict[str, int],
    true: dict[str, int],
    cpu: dict[str, dict[str, float]],
    photos: int,
) -> None:
    cli = times["cli"].photos_per_s(photos)
    head = f"{'':14}{'photos/s':>10}{'ratio':>8}{'faces':>8}{'true':>7}"
    print(head + "".join(f"{stage:>10}" for stage in ("decode", "detect", "align", "embed")))
    for name, taken in times.items():
        rate = taken.photos_per_s(photos)
        line = f"{name:14}{rate:>10.1f}{rate / cli:>8.2f}{faces[name]:>8}"
        line += f"{true[name]:>7}" if name in true else f"{'':>7}"
        print(line + "".join(f"{value:>10.2f}" for value in cpu.get(name, {}).values()))
    print(f"\n{photos} photos, {PROCESSES} processes; stages in CPU ms a photo, one process alone.")
    print("true: annotated faces, and the person in the centre of each photo of LFW; those of")
    print("dlib-classic are face_recognition's as well, whose encodings it gives.")


if __name__ == "__main__":
    sys.exit(main())
