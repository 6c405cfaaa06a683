"""Files of encodings are read as they are meant, or refused with the place that is wrong."""

import csv
import json
import pickle
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.encodings import GUIDE, EncodingsError, read_encodings
from db.imports import NamedEmbeddings
from pipeline.specs import EngineSpec, engine_spec

GUIDE_PAGE = Path(__file__).parents[2] / GUIDE
SPEC = engine_spec("dlib-classic")
SFACE = engine_spec("sface")
ANNA, BEN, CLEO = (
    [float(np.float32(value)) for value in np.random.default_rng(seed).normal(0, 0.12, 128)]
    for seed in range(3)
)
SHORT, NAN, ZERO = ANNA[1:], [float("nan"), *ANNA[1:]], [0.0] * 128


def read(path: Path, names: Path | None = None, spec: EngineSpec = SPEC) -> NamedEmbeddings:
    return read_encodings(path, names, spec)


def wrong(path: Path, names: Path | None = None, spec: EngineSpec = SPEC) -> str:
    """What is said of the file, without its name."""
    with pytest.raises(EncodingsError) as refused:
        read(path, names, spec)
    return str(refused.value).removeprefix(f"{path}: ")


def csv_text(*rows: list[object]) -> str:
    out = StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people"


def written(file: Path, suffix: str, content: str | bytes) -> Path:
    path = file.with_suffix(suffix)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_json(file: Path, held: object) -> Path:
    return written(file, ".json", json.dumps(held))


def as_npy(file: Path, array: object, names: str | None = None, **more: bool) -> Path:
    np.save(file.with_suffix(".npy"), array, **more)
    if names is not None:
        written(file, ".txt", names)
    return file.with_suffix(".npy")


def holds(found: NamedEmbeddings, *rows: tuple[str, list[float]]) -> None:
    assert found.names == tuple(name for name, _ in rows)
    assert found.vectors.dtype == np.float32
    assert found.vectors.tolist() == [values for _, values in rows]


ODD = 'Zo\u00eb O\'Hara, "n\u00e9e" \u738b; x'
"""A name with what a format might stumble over."""


@pytest.mark.parametrize(
    ("held", "rows"),
    [
        ({"anna": ANNA, ODD: BEN}, [("anna", ANNA), (ODD, BEN)]),
        ({"anna": [ANNA, BEN], "cleo": CLEO}, [("anna", ANNA), ("anna", BEN), ("cleo", CLEO)]),
        ({"names": ["anna", ODD], "encodings": [ANNA, BEN]}, [("anna", ANNA), (ODD, BEN)]),
        ({"names": ANNA, "ben": BEN}, [("names", ANNA), ("ben", BEN)]),
    ],
)
def test_json_is_read_in_its_three_forms(
    file: Path, held: object, rows: list[tuple[str, list[float]]]
) -> None:
    holds(read(as_json(file, held)), *rows)


@pytest.mark.parametrize(
    "heading",
    [
        [],
        ["name", *(f"e{n}" for n in range(128))],
        ["", *range(128)],
        ["name", *range(1, 129)],
    ],
)
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_csv_is_read_with_a_heading_or_without(
    file: Path, heading: list[object], start: bytes
) -> None:
    text = csv_text(*[heading] * bool(heading), ["anna", *ANNA], [], [ODD, *BEN])
    holds(read(written(file, ".csv", start + text.encode())), ("anna", ANNA), (ODD, BEN))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_read_with_the_names_beside_it(file: Path, dtype: str, order: str) -> None:
    array = np.array([ANNA, BEN], dtype=dtype, order=order)
    holds(read(as_npy(file, array, f"anna\n{ODD}\n")), ("anna", ANNA), (ODD, BEN))


@pytest.mark.parametrize("names", ["anna\nben", "anna\r\nben\r\n", "\ufeffanna\nben\n"])
def test_names_end_with_any_end_of_line(file: Path, names: str) -> None:
    path = as_npy(file, np.array([ANNA, BEN]), "of\nothers\n")
    given = written(file.with_name("names"), ".list", names)
    holds(read(path, given), ("anna", ANNA), ("ben", BEN))


JSON_FLAWS = [
    ({}, "holds no encodings"),
    ([ANNA], "is no JSON object; wanted are"),
    ({"anna": []}, "'anna': it has no encoding"),
    ({"anna": None}, "'anna': it is no list of numbers"),
    ({"anna": {"a": ANNA}}, "'anna': it is no list of numbers"),
    ({"anna": ANNA, "ben": SHORT}, "'ben': 127 numbers, and an encoding of dlib-classic has 128"),
    ({"anna": [ANNA, SHORT]}, "'anna', encoding 2: 127 numbers"),
    ({"anna": ANNA[:1]}, "'anna': 1 number, and an encoding of dlib-classic has 128"),
    ({"anna": [ANNA, 1.0]}, "'anna', encoding 2: it is no list of numbers"),
    ({"anna": [*ANNA[1:], True]}, "'anna': number 128 is no number"),
    ({"anna": [*ANNA[1:], "0.1"]}, "'anna': number 128 is no number"),
    ({"anna": [*ANNA[1:], 10**400]}, "'anna': it has a number that is too large"),
    ({"anna": NAN}, "'anna': number 1 is nan"),
    ({"anna": [[*ANNA[1:], float("-inf")]]}, "'anna', encoding 1: number 128 is -inf"),
    ({"anna": ZERO}, "'anna': a vector of length 0 is no encoding of dlib-classic"),
    ({"anna": [100 * value for value in ANNA]}, "is no encoding of dlib-classic"),
    ({"anna": [1e300 * value for value in ANNA]}, "a vector of length inf is no encoding"),
    ({" ": ANNA}, "a name cannot be empty"),
    ({"a" * 256: ANNA}, "a name has at most 255 characters, this one has 256"),
    ({"an\x1bna": ANNA}, "'an\\x1bna': a name cannot have control characters"),
    ({"\ud800": ANNA}, "'\\ud800': a name cannot have control characters"),
    ({"names": ["anna"], "encodings": [ANNA, BEN]}, "has 2 encodings and 1 name"),
    ({"names": ["anna", "anna"], "encodings": [ANNA, BEN]}, "encoding 2, 'anna': encoding 1 has"),
    ({"names": ["anna", 7], "encodings": [ANNA, BEN]}, "name 2 is no text"),
    ({"names": ["anna"], "encodings": [SHORT]}, "encoding 1, 'anna': 127 numbers"),
    ({"names": ["anna"], "encodings": {"anna": ANNA}}, '"names" and "encodings" are to be lists'),
]


@pytest.mark.parametrize(("held", "said"), JSON_FLAWS)
def test_json_that_is_wrong_is_refused_with_the_place(file: Path, held: object, said: str) -> None:
    assert said in wrong(as_json(file, held))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ('{"anna": [1,', "is no JSON: line 1, column 13"),
        (json.dumps({"anna": ANNA})[:-1] + ', "anna": []}', "'anna' comes twice; several"),
        ("[" * 100_000, "nested too deep"),
        ('{"anna": [1' + "0" * 5000 + "]}", "a number that is too long"),
        (b'{"J\xf6rg": [1]}', "is no UTF-8 text (byte 0xf6)"),
    ],
)
def test_json_that_cannot_be_read_is_refused(file: Path, text: str | bytes, said: str) -> None:
    assert said in wrong(written(file, ".json", text))


CSV_FLAWS = [
    (["name", *(f"e{n}" for n in range(128))], "holds no encodings"),
    (["ben", *SHORT], "line 2, 'ben': 127 numbers, and an encoding of dlib-classic has 128"),
    (["ben", *BEN, 0.1], "line 2, 'ben': 129 numbers"),
    (["anna", *BEN], "line 2, 'anna': line 1 has this name too"),
    (["ben", *NAN], "line 2, 'ben': number 1 is nan"),
    (["ben", "inf", *SHORT], "line 2, 'ben': number 1 is inf"),
    (["ben", *SHORT, "x1"], "line 2, column 129: 'x1' is no number"),
    (["ben", *SHORT, ""], "line 2, column 129: '' is no number"),
    (["ben", *SHORT, "1_0"], "line 2, column 129: '1_0' is no number"),
    (["ben", *SHORT, "\u0661"], "line 2, column 129: '\u0661' is no number"),
    (["ben;0.1;0.2"], "line 2, 'ben;0.1;0.2': no comma parts the name from numbers"),
    (["", *BEN], "line 2, '': a name cannot be empty"),
    (["b\nen", *BEN], "line 3, 'b\\nen': a name cannot have control characters"),
    (["ben", *ZERO], "line 2, 'ben': a vector of length 0"),
    (["x" * 200_000, *BEN], "line 2: field larger than field limit"),
]


@pytest.mark.parametrize(("row", "said"), CSV_FLAWS)
def test_csv_that_is_wrong_is_refused_with_the_place(
    file: Path, row: list[object], said: str
) -> None:
    before = [] if said == "holds no encodings" else [["anna", *ANNA]]
    assert said in wrong(written(file, ".csv", csv_text(*before, row)))


def test_csv_that_is_no_utf8_is_refused(file: Path) -> None:
    text = csv_text(["anna", *ANNA], ["J\xf6rg", *BEN]).encode("latin-1")
    assert "is no UTF-8 text (byte 0xf6)" in wrong(written(file, ".csv", text))


@pytest.mark.parametrize(
    ("array", "names", "said"),
    [
        (np.array([ANNA, BEN]), "anna\n", "has 2 encodings, and "),
        (np.array([ANNA, BEN]), "anna\nben\n\n", " has 3 lines"),
        (np.array([ANNA, BEN]), "anna\n\n", "row 2, '': a name cannot be empty"),
        (np.array([ANNA, BEN]), "anna\nanna\n", "row 2, 'anna': row 1 has this name too"),
        (np.array([ANNA, NAN]), "anna\nben\n", "row 2, 'ben': number 1 is nan"),
        (np.array(ANNA), "anna\n", "has the shape (128,)"),
        (np.ones((1, 512)), "anna\n", "row 1, 'anna': 512 numbers"),
        (np.ones((1, 128), np.int64), "anna\n", "holds int64"),
        (np.ones((1, 128), np.float16), "anna\n", "holds float16"),
        (np.ones((0, 128)), "", "holds no encodings"),
    ],
)
def test_npy_that_is_wrong_is_refused_with_the_place(
    file: Path, array: np.ndarray, names: str, said: str
) -> None:
    assert said in wrong(as_npy(file, array, names))


def test_npy_without_names_says_where_they_go(file: Path) -> None:
    path = as_npy(file, np.array([ANNA]))
    assert f"put one a line into {file}.txt" in wrong(path)
    assert "is no UTF-8 text" in wrong(path, written(file, ".txt", b"J\xf6rg\n"))


def test_npy_that_claims_more_than_it_holds_is_refused(file: Path) -> None:
    path = as_npy(file, np.array([ANNA]), "anna\n")
    whole = path.read_bytes()
    large = whole.replace(b"(1, 128), }" + 9 * b" ", b"(1000000000, 128), }")
    assert large != whole
    path.write_bytes(large)
    assert "is damaged, or breaks off" in wrong(path)


def of_length(length: float, values: list[float]) -> list[float]:
    return [value * length / float(np.linalg.norm(values)) for value in values]


@pytest.mark.parametrize("length", [1.015, 1.2, 1.36, 1.7])
def test_encodings_of_another_length_than_the_engines_are_refused(
    file: Path, length: float
) -> None:
    path = as_json(file, {"anna": of_length(1, ANNA), "ben": of_length(length, BEN)})
    said = wrong(path, spec=SFACE)
    assert f"'ben': a vector of length {length:.3g} is no encoding of sface" in said
    assert "say with --engine what made the file" in said


@pytest.mark.parametrize("length", [0.995, 1])
def test_normalised_encodings_are_refused_where_the_engine_normalises_none(
    file: Path, length: float
) -> None:
    said = wrong(as_json(file, {"anna": ANNA, "ben": of_length(length, BEN)}))
    assert f"'ben': a vector of length {length:.3g} is no encoding of dlib-classic" in said
    assert "import the encodings as they were before they were normalised" in said


@pytest.mark.parametrize(("spec", "length"), [(SPEC, 1.15), (SPEC, 1.7), (SFACE, 1)])
def test_encodings_may_have_lost_digits(file: Path, spec: EngineSpec, length: float) -> None:
    rounded = [round(value, 3) for value in of_length(length, ANNA)]
    assert read(as_json(file, {"anna": rounded}), spec=spec).names == ("anna",)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=150,
    deadline=None,
)
@given(st.data())
def test_damage_is_refused_or_harmless_and_never_anything_else(
    file: Path, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from([".npy", ".json", ".csv"]))
    if suffix == ".npy":
        whole = as_npy(file, np.array([ANNA]), "anna\n").read_bytes()
    else:
        text = json.dumps({"anna": ANNA}) if suffix == ".json" else csv_text(["anna", *ANNA])
        whole = text.encode()
    at = data.draw(st.integers(0, min(len(whole), 200)))
    path = written(file, suffix, whole[:at] + data.draw(st.binary(max_size=8)) + whole[at + 4 :])
    try:
        found = read(path)
    except EncodingsError:
        return
    assert np.isfinite(found.vectors).all()


class _Trap:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".p", ".dat", ".json", ".csv", ".npy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_told_by_its_name_or_its_content_and_never_read(
    file: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, protocol: int
) -> None:
    monkeypatch.chdir(file.parent)
    said = wrong(written(file, suffix, pickle.dumps(_Trap(), protocol)))
    assert "holds a pickle" in said
    assert "pickle.load(open('people" in said
    assert not Path("sprung").exists()


def test_an_npy_of_objects_is_a_pickle_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    path = as_npy(file, np.array([_Trap()], dtype=object), "anna\n", allow_pickle=True)
    assert "numpy.load('people.npy', allow_pickle=True)" in wrong(path)
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    "known",
    [
        {"anna": np.array(ANNA), "ben": np.array(BEN)},
        {"anna": [np.array(ANNA)], "ben": [np.array(BEN)]},
        {"names": ["anna", "ben"], "encodings": [np.array(ANNA), np.array(BEN)]},
    ],
)
@pytest.mark.parametrize("form", [".pickle", ".npy"])
def test_the_lines_that_convert_a_pickle_work(
    file: Path, monkeypatch: pytest.MonkeyPatch, known: object, form: str
) -> None:
    monkeypatch.chdir(file.parent)
    if form == ".npy":
        path = as_npy(file, known, allow_pickle=True)
    else:
        path = written(file, form, pickle.dumps(known))
    lines = [line[4:] for line in wrong(path).splitlines() if line.startswith("    ")]
    exec("\n".join(lines), {})
    holds(read(file.with_suffix(".json")), ("anna", ANNA), ("ben", BEN))


def test_the_lines_of_the_guide_work(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    plain, grouped, lists = re.findall(r"```python\n(.*?)```", GUIDE_PAGE.read_text(), re.DOTALL)
    anna, ben, cleo = map(np.array, (ANNA, BEN, CLEO))
    Path("dataset_faces.dat").write_bytes(pickle.dumps({"anna": anna, "ben": ben}))
    exec(plain, {})
    holds(read(file.with_suffix(".json")), ("anna", ANNA), ("ben", BEN))
    many = {"names": ["anna", "cleo", "anna"], "encodings": [anna, cleo, ben]}
    Path("encodings.pickle").write_bytes(pickle.dumps(many))
    exec(grouped, {})
    holds(read(file.with_suffix(".json")), ("anna", ANNA), ("anna", BEN), ("cleo", CLEO))
    exec(lists, {"known_face_encodings": [anna, ben], "known_face_names": ["anna", ODD]})
    holds(read(file.with_suffix(".npy")), ("anna", ANNA), (ODD, BEN))


def test_what_is_none_of_the_forms_is_refused(file: Path) -> None:
    assert "is not called .npy, .json or .csv" in wrong(written(file, ".npz", b"PK\x03\x04"))
    assert "is called .npy, and is none" in wrong(written(file, ".npy", "anna"))
    assert "--names goes with a .npy" in wrong(as_json(file, {"anna": ANNA}), file)
    assert "is no file" in wrong(Path("/dev/null"))
    assert "cannot be read" in wrong(Path("/proc/self/mem"))
