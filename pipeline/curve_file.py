"""`curve.json`: an engine's error rates by distance, in the engine's folder.

    {
     "format": 1,
     "engine": "dlib-classic",
     "version": "1",
     "measured_on": "all pairs of …",
     "impostor_pairs": 5000000,
     "mated_pairs": 20000,
     "points": [
      [0.35, 0.0, 0.85],
      …
      [1.4, 1.0, 0.0]
     ]
    }

A point is a distance (L2), the share of impostor pairs at most that far apart (FMR), and the share
of mated pairs further apart (FNMR); `ErrorCurve` says what the points have to be like. The file is
of one version of its engine: with another, it says nothing. `write_curve` is what makes it.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import TypedDict, cast

from pipeline.error_curve import ErrorCurve
from pipeline.errors import CurveError

FORMAT = 1
CURVE_FILE = "curve.json"


class CurveDocument(TypedDict):
    """The file's members."""

    format: int
    engine: str
    version: str
    measured_on: str
    impostor_pairs: int
    mated_pairs: int
    points: list[tuple[float, float, float]]


_TYPES = {
    "format": int,
    "engine": str,
    "version": str,
    "measured_on": str,
    "impostor_pairs": int,
    "mated_pairs": int,
    "points": list,
}


def packaged_curve(package: str, *, engine: str, version: str) -> ErrorCurve | None:
    """The curve in the folder of the engine whose package this is.

    None where there is no file, or it is of another version: an engine whose parameters have
    changed has no curve until it is measured again. Raises `CurveError` for a file that is none.
    """
    file = files(package) / CURVE_FILE
    if not file.is_file():
        return None
    try:
        return curve_from_json(file.read_text(encoding="utf-8"), engine=engine, version=version)
    except CurveError as exc:
        raise CurveError(f"{CURVE_FILE} of the engine {engine}: {exc}") from exc


def curve_from_json(text: str, *, engine: str, version: str) -> ErrorCurve | None:
    """The curve in `text`; None where it is of another version. Raises `CurveError`."""
    document = _document(text)
    if document["format"] != FORMAT:
        raise CurveError(f"it has the format {document['format']}, and {FORMAT} is known")
    if document["engine"] != engine:
        raise CurveError(f"it is of the engine {document['engine']}")
    if document["version"] != version:
        return None
    points = document["points"]
    return ErrorCurve(
        distances=tuple(point[0] for point in points),
        fmr=tuple(point[1] for point in points),
        fnmr=tuple(point[2] for point in points),
        impostor_pairs=document["impostor_pairs"],
        mated_pairs=document["mated_pairs"],
        measured_on=document["measured_on"],
    )


def _document(text: str) -> CurveDocument:
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise CurveError(f"it is no JSON ({exc})") from exc
    if not isinstance(document, dict) or document.keys() != _TYPES.keys():
        raise CurveError(f"it is no object of {', '.join(_TYPES)}")
    for name, kind in _TYPES.items():
        if type(document[name]) is not kind:
            raise CurveError(f"its {name} is no {kind.__name__}")
    for point in document["points"]:
        if not (isinstance(point, list) and len(point) == 3 and all(map(_is_number, point))):
            raise CurveError("a point is a list of three numbers: distance, fmr, fnmr")
    return cast("CurveDocument", document)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def curve_to_json(curve: ErrorCurve, *, engine: str, version: str) -> str:
    """The file's text, a point a line, so that a new measurement is a readable change."""
    head = {
        "format": FORMAT,
        "engine": engine,
        "version": version,
        "measured_on": curve.measured_on,
        "impostor_pairs": curve.impostor_pairs,
        "mated_pairs": curve.mated_pairs,
    }
    points = zip(curve.distances, curve.fmr, curve.fnmr, strict=True)
    lines = ",\n".join("  " + json.dumps(point) for point in points)
    members = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{members},\n "points": [\n{lines}\n ]\n}}\n'


def write_curve(folder: Path, curve: ErrorCurve, *, engine: str, version: str) -> Path:
    """Writes the file into an engine's folder; returns where it is."""
    path = folder / CURVE_FILE
    path.write_text(curve_to_json(curve, engine=engine, version=version), encoding="utf-8")
    return path
