"""Encodings that were made elsewhere, read from .npy, .json or .csv; never from a pickle."""

import csv
import json
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from cli.telling import counted
from db.imports import NamedEmbeddings
from pipeline.errors import FaceBatchError
from pipeline.names import spelt
from pipeline.specs import EngineSpec
from web.schemas.base import Name

GUIDE = "docs/how-to/import-encodings.md"
PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".p"})
PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))
NPY_START = b"\x93NUMPY"
NORM_FACTOR = 10.0
"""How many times shorter or longer than the engine's largest distance an embedding may be."""
UNIT_LENGTH_WITHIN = 0.01
"""Digits that were rounded off move a length by less; the shortest of dlib's, of 4,349 faces, is
1.21."""
SHOWN_CHARS = 60
TOGETHER = (
    'several encodings of one person go together in JSON, as {"name": [[numbers], [numbers]]}'
)

_NAME = TypeAdapter[str](Name)
Vector = npt.NDArray[np.float64]


class EncodingsError(FaceBatchError):
    """A file of encodings that is not taken; the message says what is wrong with it and where."""

    code = "encodings_unusable"


class _FlawError(Exception):
    """What is wrong with a file, without the file's name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Row:
    """One encoding as a file has it."""

    place: str
    name: str
    values: Vector
    further: bool = False
    """It is a further encoding of a person in a form of file that has a place for those."""

    @property
    def who(self) -> str:
        """The place and the name, which is part of some places already."""
        shown = _shown(self.name)
        return self.place if shown in self.place else f"{self.place}, {shown}"


def read_encodings(path: Path, names_path: Path | None, spec: EngineSpec) -> NamedEmbeddings:
    """All encodings of the file with their names, float32, each one checked.

    A `.npy` has its names in `names_path`, or else in the `.txt` of the same name; the other
    formats hold them. Raises `EncodingsError`.
    """
    try:
        return _checked(_rows(path, names_path), spec)
    except _FlawError as exc:
        raise EncodingsError(f"{spelt(str(path))}: {exc}") from exc
    except OSError as exc:
        where = spelt(str(exc.filename or path))
        raise EncodingsError(f"{where} cannot be read: {exc.strerror}") from exc


def _rows(path: Path, names_path: Path | None) -> Iterator[_Row]:
    if not path.is_file():
        raise _FlawError("is no file")
    with path.open("rb") as file:
        start = file.read(512)
    suffix = path.suffix.lower()
    if suffix in PICKLE_SUFFIXES or start.startswith(PICKLE_STARTS):
        _refuse_pickle(path, "pickle.load(open({}, 'rb'))")
    if not start:
        raise _FlawError("is empty")
    if suffix == ".npy":
        if start.startswith(NPY_START) and b"|O" in start:
            _refuse_pickle(path, "numpy.load({}, allow_pickle=True).tolist()")
        return _npy_rows(path, names_path or path.with_suffix(".txt"))
    if suffix not in {".json", ".csv"}:
        raise _FlawError(f"is not called .npy, .json or .csv; {GUIDE} says what those hold")
    if names_path is not None:
        raise _FlawError(f"a {suffix} has its names in it; --names goes with a .npy")
    return _json_rows(path) if suffix == ".json" else _csv_rows(path)


def _refuse_pickle(path: Path, load: str) -> NoReturn:
    converted = path.with_suffix(".json").name
    raise _FlawError(
        "holds a pickle, and reading one runs whatever code is in it, so facebatch never does. If "
        "you made it yourself, turn it into JSON with your own Python:\n\n"
        "    import json, numpy, pickle\n"
        f"    known = {load.format(repr(path.name))}\n"
        f"    json.dump(known, open({converted!r}, 'w'), default=numpy.ndarray.tolist)\n\n"
        f"and import {spelt(converted)}. {GUIDE} says what it has to hold."
    )


def _checked(rows: Iterable[_Row], spec: EngineSpec) -> NamedEmbeddings:
    """The rows as one array; raises `_FlawError` for the first that cannot be."""
    places: dict[str, str] = {}
    names: list[str] = []
    vectors: list[npt.NDArray[np.float32]] = []
    for row in rows:
        _check_values(row, spec)
        if row.name not in places:
            _check_name(row)
        elif not row.further:
            raise _FlawError(f"{row.who}: {places[row.name]} has this name too; {TOGETHER}")
        places.setdefault(row.name, row.place)
        names.append(row.name)
        vectors.append(row.values.astype(np.float32))
    if not vectors:
        raise _FlawError("holds no encodings")
    return NamedEmbeddings(names=tuple(names), vectors=np.stack(vectors))


def _check_name(row: _Row) -> None:
    try:
        _NAME.validate_python(row.name)
    except ValidationError as exc:
        raise _FlawError(f"{row.who}: {exc.errors()[0]['msg']}") from exc


def _check_values(row: _Row, spec: EngineSpec) -> None:
    if row.values.shape != (spec.dimension,):
        raise _FlawError(
            f"{row.who}: {counted(row.values.size, 'number')}, and an encoding of {spec.name} has "
            f"{spec.dimension}"
        )
    bad = np.flatnonzero(~np.isfinite(row.values))
    if bad.size:
        raise _FlawError(f"{row.who}: number {bad[0] + 1} is {row.values[bad[0]]}")
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(row.values))
    if not spec.max_distance / NORM_FACTOR <= norm <= spec.max_distance * NORM_FACTOR:
        raise _FlawError(f"{row.who}: a vector of length {norm:.3g} is no encoding of {spec.name}")
    _check_length(row, norm, spec)


def _check_length(row: _Row, norm: float, spec: EngineSpec) -> None:
    """Distances to vectors of another engine, or changed ones, are numbers that mean nothing."""
    if (abs(norm - 1) <= UNIT_LENGTH_WITHIN) == spec.unit_length:
        return
    if spec.unit_length:
        raise _FlawError(
            f"{row.who}: a vector of length {norm:.3g} is no encoding of {spec.name}, whose length "
            "is always 1; say with --engine what made the file, and name a gallery of that engine"
        )
    raise _FlawError(
        f"{row.who}: a vector of length {norm:.3g} is no encoding of {spec.name}, which never has "
        "the length 1; import the encodings as they were before they were normalised, or, where "
        "another engine made the file, say so with --engine, and name a gallery of that engine"
    )


def _npy_rows(path: Path, names_path: Path) -> Iterator[_Row]:
    array = _array(path)
    if array.dtype.kind != "f" or array.dtype.itemsize not in {4, 8}:
        raise _FlawError(f"holds {array.dtype}, and encodings are float32 or float64")
    if array.ndim != 2:
        raise _FlawError(
            f"has the shape {array.shape}, and wanted are (encodings, numbers of each)"
        )
    names = _names(names_path)
    if len(names) != len(array):
        raise _FlawError(
            f"has {counted(len(array), 'encoding')}, and {spelt(str(names_path))} has "
            f"{counted(len(names), 'line')}; it must have a name for each"
        )
    for n, (name, values) in enumerate(zip(names, array, strict=True), start=1):
        yield _Row(place=f"row {n}", name=name, values=values.astype(np.float64))


def _array(path: Path) -> npt.NDArray[Any]:
    """The array, mapped: a file that claims to be larger than it is takes no memory."""
    with path.open("rb") as file:
        if not file.read(len(NPY_START)) == NPY_START:
            raise _FlawError("is called .npy, and is none")
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    # Its head is read as Python, and nonsense in it fails in all these ways.
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError,
            RecursionError, KeyError, tokenize.TokenError) as exc:  # fmt: skip
        raise _FlawError("is damaged, or breaks off") from exc
    return array


def _names(path: Path) -> list[str]:
    """The lines of the file, as they are."""
    if not path.is_file():
        raise _FlawError(
            f"its names are missing: put one a line into {spelt(str(path))}, or say with --names "
            "where they are"
        )
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as exc:
        raise EncodingsError(f"{spelt(str(path))}: {_not_utf8(exc)}") from exc
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _json_rows(path: Path) -> Iterator[_Row]:
    try:
        # NaN and the like are read, so that whose they are can be said.
        held = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_once)
    except UnicodeDecodeError as exc:
        raise _FlawError(_not_utf8(exc)) from exc
    except json.JSONDecodeError as exc:
        raise _FlawError(f"is no JSON: line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    except (ValueError, RecursionError) as exc:
        raise _FlawError("has a number that is too long, or is nested too deep") from exc
    if not isinstance(held, dict):
        raise _FlawError(
            'is no JSON object; wanted are {"name": [numbers]}, {"name": [[numbers], [numbers]]} '
            'or {"names": [names], "encodings": [[numbers], [numbers]]}'
        )
    return _paired_rows(held) if held.keys() == {"names", "encodings"} else _keyed_rows(held)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _FlawError(f"{_shown(name)} comes twice; {TOGETHER}")
        found[name] = value
    return found


def _paired_rows(held: dict[str, Any]) -> Iterator[_Row]:
    names, encodings = held["names"], held["encodings"]
    if not isinstance(names, list) or not isinstance(encodings, list):
        raise _FlawError('"names" and "encodings" are to be lists')
    if len(names) != len(encodings):
        raise _FlawError(
            f"has {counted(len(encodings), 'encoding')} and {counted(len(names), 'name')}"
        )
    for n, (name, values) in enumerate(zip(names, encodings, strict=True), start=1):
        if not isinstance(name, str):
            raise _FlawError(f"name {n} is no text")
        yield _Row(place=f"encoding {n}", name=name, values=_numbers(values, f"encoding {n}"))


def _keyed_rows(held: dict[str, Any]) -> Iterator[_Row]:
    for name, value in held.items():
        place = _shown(name)
        if isinstance(value, list) and not value:
            raise _FlawError(f"{place}: it has no encoding")
        if not isinstance(value, list) or not isinstance(value[0], list):
            yield _Row(place=place, name=name, values=_numbers(value, place))
            continue
        for n, values in enumerate(value, start=1):
            here = f"{place}, encoding {n}"
            yield _Row(place=here, name=name, values=_numbers(values, here), further=n > 1)


def _numbers(values: object, place: str) -> Vector:
    if not isinstance(values, list):
        raise _FlawError(f"{place}: it is no list of numbers")
    # True is an int to Python, and numpy would read a text.
    if not set(map(type, values)) <= {int, float}:
        n = next(n for n, one in enumerate(values) if type(one) not in {int, float})
        raise _FlawError(f"{place}: number {n + 1} is no number")
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError as exc:
        raise _FlawError(f"{place}: it has a number that is too large") from exc


def _csv_rows(path: Path) -> Iterator[_Row]:
    for n, (line, (name, *cells)) in enumerate(_csv_lines(path)):
        if n == 0 and _is_heading(cells):
            continue
        if not cells:
            raise _FlawError(f"line {line}, {_shown(name)}: no comma parts the name from numbers")
        yield _Row(place=f"line {line}", name=name, values=_cells(cells, f"line {line}"))


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that has any, with the line's number."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        try:
            yield from ((lines.line_num, cells) for cells in lines if cells)
        except csv.Error as exc:
            raise _FlawError(f"line {lines.line_num}: {exc}") from exc
        except UnicodeDecodeError as exc:
            raise _FlawError(f"near line {lines.line_num + 1}: {_not_utf8(exc)}") from exc


def _is_heading(cells: list[str]) -> bool:
    """Whether no cell is a number, or they just count: so pandas writes columns without names."""
    counted = [str(n) for n in range(len(cells) + 1)]
    words = bool(cells) and not any(map(_is_number, cells))
    return words or (len(cells) > 1 and cells in (counted[:-1], counted[1:]))


def _cells(cells: list[str], place: str) -> Vector:
    try:
        if _is_plain("".join(cells)):
            return np.array([float(cell) for cell in cells], dtype=np.float64)
    except ValueError:
        pass
    n, bad = next((n, cell) for n, cell in enumerate(cells, start=2) if not _is_number(cell))
    raise _FlawError(f"{place}, column {n}: {_shown(bad)} is no number")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return _is_plain(cell)


def _is_plain(digits: str) -> bool:
    """Python reads the digits of every script, and passes over `_` between them."""
    return digits.isascii() and "_" not in digits


def _not_utf8(exc: UnicodeDecodeError) -> str:
    return f"is no UTF-8 text (byte 0x{exc.object[exc.start]:02x}); save it as UTF-8"


def _shown(text: str) -> str:
    """A text of the file for the terminal, in quotes, cut where it is long."""
    cut = text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"
    return f"'{spelt(cut)}'"
