"""Writes matched photos as JSON lines, as CSV, or as a table for people."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from cli.matching import MatchedPhoto
from pipeline.names import spelt

COLUMNS = ("photo", "status", "rotation", "faces_left_out", "face", "left", "top", "right",
           "bottom", "quality", "subject", "distance", "candidates", "error")  # fmt: skip
Writer = Callable[[Iterable[MatchedPhoto], TextIO], None]


def write_jsonl(photos: Iterable[MatchedPhoto], stream: TextIO) -> None:
    """One line a face; one line a photo that has none or failed.

    `rotation` and `faces_left_out` are there where they are not 0, which is rare.
    """
    for photo in photos:
        stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in _lines(photo))


def write_csv(photos: Iterable[MatchedPhoto], stream: TextIO) -> None:
    """The same lines as columns: the box as four of them, the candidates as JSON in one."""
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for photo in photos:
        writer.writerows(_rows(photo))


def writer_for(path: Path) -> Writer:
    """The writer that a file's name asks for: CSV for `.csv`, JSON lines for all others."""
    return write_csv if path.suffix.lower() == ".csv" else write_jsonl


def table(photos: Iterable[MatchedPhoto]) -> str:
    """Lines of photo, face, person and distance, in columns, under a heading."""
    rows = [("photo", "face", "person", "distance")]
    for photo in photos:
        name = spelt(photo.photo)
        if not photo.faces:
            reason = photo.error or photo.status
            rows.append((name, "-", f"({reason})", "-"))
        for face in photo.faces:
            distance = "-" if face.distance is None else f"{face.distance:.3f}"
            rows.append((name, str(face.face), spelt(face.subject or "(unknown)"), distance))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = ["  ".join(line).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * (sum(widths) + 6), *lines[1:]])


def stdout() -> TextIO | None:
    """Standard output, in UTF-8 whatever the locale; odd file names are escaped.

    None where it was closed before the command began.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    return sys.stdout


def _lines(photo: MatchedPhoto) -> Iterator[dict[str, object]]:
    head: dict[str, object] = {"photo": photo.photo, "status": photo.status}
    rare = {"rotation": photo.rotation, "faces_left_out": photo.faces_left_out}
    head |= {name: value for name, value in rare.items() if value}
    if not photo.faces:
        yield head | ({"error": photo.error} if photo.error else {})
    for face in photo.faces:
        body = asdict(face)
        yield head | body | {"box": list(face.box), "candidates": list(body["candidates"])}


def _rows(photo: MatchedPhoto) -> Iterator[tuple[object, ...]]:
    """The photo's lines in the order of `COLUMNS`; csv writes None as an empty field."""
    head = photo.photo, photo.status, photo.rotation, photo.faces_left_out
    if not photo.faces:
        yield (*head, *[None] * 9, photo.error)
    for face in photo.faces:
        candidates = json.dumps([asdict(one) for one in face.candidates], ensure_ascii=False)
        yield (*head, face.face, *face.box, face.quality, face.subject, face.distance,
               candidates, photo.error)  # fmt: skip
