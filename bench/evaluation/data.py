"""The photos that engines are measured on; they are no part of the repository."""

import csv
from dataclasses import dataclass
from pathlib import Path

from bench.photos import REPOSITORY

BUILD = REPOSITORY / ".bench"
"""What measuring leaves behind: embeddings and models, so that a second run takes seconds."""
TWO_NAMES = REPOSITORY / "bench" / "annotations" / "lfw-two-names.csv"
"""People who have two names in Labeled Faces in the Wild."""


@dataclass(frozen=True, slots=True)
class Photos:
    """Photos of known people, in a fixed order."""

    paths: tuple[Path, ...]
    people: tuple[int, ...]
    """Number of the person of each photo, from 0 in the order of names; none is left out.

    A person who has two names is one person.
    """

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of photos, as numbers of them in `Photos`."""

    mated: tuple[tuple[int, int], ...]
    nonmated: tuple[tuple[int, int], ...]


def lfw(folder: Path) -> tuple[Photos, Pairs]:
    """The photos of Labeled Faces in the Wild in `folder`, and the pairs of its `pairs.tsv`.

    A line of that file is `name i j` (mated) or `name i name j` (non-mated), tab-separated.
    """
    paths = sorted((folder / "images").glob("*/*.jpg"))
    names = sorted({path.parent.name for path in paths})
    person = _numbered(names)
    photos = Photos(tuple(paths), tuple(person[path.parent.name] for path in paths))
    number = {path.name: n for n, path in enumerate(paths)}
    mated: list[tuple[int, int]] = []
    nonmated: list[tuple[int, int]] = []
    with (folder / "pairs.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="\t"):
            if len(row) == 3:
                one, other = (row[0], row[1]), (row[0], row[2])
            else:
                one, other = (row[0], row[1]), (row[2], row[3])
            pair = number[_file_name(*one)], number[_file_name(*other)]
            (mated if len(row) == 3 else nonmated).append(pair)
    return photos, Pairs(tuple(mated), tuple(nonmated))


def _numbered(names: list[str]) -> dict[str, int]:
    with TWO_NAMES.open(encoding="utf-8", newline="") as file:
        first = {int(row["second"]): int(row["first"]) for row in csv.DictReader(file)}
    people = sorted(set(range(len(names))) - first.keys())
    number = {place: n for n, place in enumerate(people)}
    return {name: number[first.get(place, place)] for place, name in enumerate(names)}


def _file_name(name: str, photo: str) -> str:
    return f"{name}_{int(photo):04d}.jpg"
