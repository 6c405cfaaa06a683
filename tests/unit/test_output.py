"""What the command writes can be read back, whatever the files are called."""

import csv
import io
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.files import whole_file
from cli.matching import Candidate, MatchedFace, MatchedPhoto
from cli.output import COLUMNS, table, write_csv, write_jsonl, writer_for

NEAR = (Candidate(subject="obama", distance=0.34), Candidate(subject="biden", distance=0.81))
OBAMA = MatchedFace(
    face=0, box=(1, 2, 30, 40), quality=0.87, subject="obama", distance=0.34, candidates=NEAR
)
STRANGER = MatchedFace(
    face=1, box=(50, 2, 80, 40), quality=0.3, subject=None, distance=0.72, candidates=NEAR[1:]
)
LONELY = MatchedFace(
    face=0, box=(1, 2, 3, 4), quality=None, subject=None, distance=None, candidates=()
)


def photo(
    name: str,
    *faces: MatchedFace,
    status: str = "done",
    rotation: int = 0,
    faces_left_out: int = 0,
    error: str | None = None,
) -> MatchedPhoto:
    return MatchedPhoto(
        photo=name,
        status=status,
        rotation=None if error else rotation,
        faces_left_out=faces_left_out,
        error=error,
        faces=faces,
    )


def jsonl(*photos: MatchedPhoto) -> str:
    stream = io.StringIO()
    write_jsonl(photos, stream)
    return stream.getvalue()


def test_a_face_is_a_line_of_exactly_these_fields() -> None:
    assert jsonl(photo("sub/a.jpg", OBAMA)) == (
        '{"photo": "sub/a.jpg", "status": "done", "face": 0, "box": [1, 2, 30, 40], '
        '"quality": 0.87, "subject": "obama", "distance": 0.34, "candidates": '
        '[{"subject": "obama", "distance": 0.34}, {"subject": "biden", "distance": 0.81}]}\n'
    )


def test_a_stranger_has_a_distance_and_no_subject() -> None:
    (line,) = map(json.loads, jsonl(photo("a.jpg", STRANGER)).splitlines())
    assert (line["face"], line["subject"], line["distance"]) == (1, None, 0.72)


def test_without_anybody_enrolled_a_face_has_no_distance() -> None:
    (line,) = map(json.loads, jsonl(photo("a.jpg", LONELY)).splitlines())
    assert (line["subject"], line["distance"], line["candidates"]) == (None, None, [])
    assert line["quality"] is None


def test_a_turn_and_faces_left_out_are_told_where_there_are_any() -> None:
    turned = photo("a.jpg", OBAMA, STRANGER, rotation=90, faces_left_out=2)
    first, second = map(json.loads, jsonl(turned).splitlines())
    assert list(first)[:5] == ["photo", "status", "rotation", "faces_left_out", "face"]
    assert {(line["rotation"], line["faces_left_out"]) for line in (first, second)} == {(90, 2)}
    none = photo("none.jpg", status="no_face", rotation=180, faces_left_out=1)
    assert jsonl(none) == (
        '{"photo": "none.jpg", "status": "no_face", "rotation": 180, "faces_left_out": 1}\n'
    )


def test_photos_without_faces_are_one_line_each() -> None:
    text = jsonl(
        photo("none.jpg", status="no_face"),
        photo("bad.jpg", status="failed", error="not_an_image"),
        photo("two.jpg", OBAMA, STRANGER),
    )
    assert text.splitlines()[:2] == [
        '{"photo": "none.jpg", "status": "no_face"}',
        '{"photo": "bad.jpg", "status": "failed", "error": "not_an_image"}',
    ]
    assert [json.loads(line)["photo"] for line in text.splitlines()[2:]] == ["two.jpg"] * 2


ODD = [
    "new\nline.jpg",
    'quote".jpg',
    "comma,semi;colon.jpg",
    "sub/dir/a.jpg",
    "back\\slash.jpg",
    "\u5c71\u7530 \u00e9 \U0001f600.jpg",
    "\u2028.jpg",
    os.fsdecode(b"stray\xff\xfe.jpg"),
]


@pytest.mark.parametrize("name", ODD)
def test_json_gives_every_file_name_back(tmp_path: Path, name: str) -> None:
    with whole_file(tmp_path / "out.jsonl") as file:
        write_jsonl([photo(name, OBAMA)], file)
    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert json.loads(line)["photo"] == name


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", ODD[:-1])
def test_csv_gives_every_file_name_back(tmp_path: Path, name: str) -> None:
    with whole_file(tmp_path / "out.csv") as file:
        write_csv([photo(name, OBAMA)], file)
    assert read_csv(tmp_path / "out.csv")[1][0] == name


def test_csv_escapes_the_bytes_that_are_no_text(tmp_path: Path) -> None:
    with whole_file(tmp_path / "out.csv") as file:
        write_csv([photo(ODD[-1], OBAMA)], file)
    assert read_csv(tmp_path / "out.csv")[1][0] == "stray\\udcff\\udcfe.jpg"


def test_csv_has_the_same_lines_as_columns(tmp_path: Path) -> None:
    with whole_file(tmp_path / "out.csv") as file:
        write_csv(
            [
                photo("a.jpg", OBAMA, STRANGER, rotation=270),
                photo("none.jpg", status="no_face", faces_left_out=3),
                photo("bad.jpg", status="failed", error="not_an_image"),
            ],
            file,
        )
    head, first, second, none, bad = read_csv(tmp_path / "out.csv")
    assert head == list(COLUMNS)
    assert first[:12] == [
        "a.jpg", "done", "270", "0", "0", "1", "2", "30", "40", "0.87", "obama", "0.34",
    ]  # fmt: skip
    assert json.loads(first[12]) == [
        {"subject": "obama", "distance": 0.34},
        {"subject": "biden", "distance": 0.81},
    ]
    assert second[2:12] == ["270", "0", "1", "50", "2", "80", "40", "0.3", "", "0.72"]
    assert none == ["none.jpg", "no_face", "0", "3", *[""] * 10]
    assert bad == ["bad.jpg", "failed", "", "0", *[""] * 9, "not_an_image"]
    assert {len(row) for row in (first, second, none, bad)} == {len(head)}


def test_the_files_name_chooses_its_form() -> None:
    assert writer_for(Path("a.csv")) is writer_for(Path("a.CSV")) is write_csv
    assert writer_for(Path("a.jsonl")) is writer_for(Path("csv")) is write_jsonl


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    def break_off(error: type[BaseException]) -> None:
        with whole_file(out) as file:
            file.write("half")
            raise error

    with pytest.raises(ZeroDivisionError):
        break_off(ZeroDivisionError)
    assert list(tmp_path.iterdir()) == []

    out.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        break_off(KeyboardInterrupt)
    assert (list(tmp_path.iterdir()), out.read_text()) == ([out], "before")

    with whole_file(out) as file:
        file.write("after")
        file.flush()
        assert out.read_text() == "before"
    assert (list(tmp_path.iterdir()), out.read_text()) == ([out], "after")


def test_a_file_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "out") as file:
            file.write("x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.touch(mode=0o600)
    with whole_file(out) as file:
        file.write("x")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder in which anybody may write, seen by somebody who may not write everything."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(before)


def test_a_file_that_must_not_be_written_is_not_replaced(nobodys_folder: Path) -> None:
    out = nobodys_folder / "out"
    out.write_text("before")
    out.chmod(0o400)
    with pytest.raises(PermissionError), whole_file(out) as file:
        file.write("after")
    assert (list(nobodys_folder.iterdir()), out.read_text()) == ([out], "before")


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "there" / "real")
    with whole_file(link) as file:
        file.write("x")
    assert link.is_symlink()
    assert (tmp_path / "there" / "real").read_text() == "x"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(pipe) as file:
        file.write("x")
    assert os.read(reader, 10) == b"x"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "absent" / "out"):
        pass


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path: Path) -> None:
    out = tmp_path / ("x" * 255)
    with whole_file(out) as file:
        file.write("x")
    assert out.read_text() == "x"


def test_the_table_lines_up_and_says_who_is_unknown() -> None:
    lines = table(
        [
            photo("a.jpg", OBAMA, STRANGER),
            photo("longer name.jpg", LONELY),
            photo("none.jpg", status="no_face"),
            photo("bad.jpg", status="failed", error="not_an_image"),
        ]
    ).splitlines()
    assert lines == [
        "photo            face  person          distance",
        "-----------------------------------------------",
        "a.jpg            0     obama           0.340",
        "a.jpg            1     (unknown)       0.720",
        "longer name.jpg  0     (unknown)       -",
        "none.jpg         -     (no_face)       -",
        "bad.jpg          -     (not_an_image)  -",
    ]


def test_a_name_cannot_forge_a_row_of_the_table() -> None:
    forged = MatchedFace(
        face=0,
        box=(1, 2, 3, 4),
        quality=0.5,
        subject="\x1b[2Ka\nb",
        distance=0.1,
        candidates=(),
    )
    lines = table([photo("x\x1b[1A\nobama.jpg", forged), photo("\r.jpg", status="no_face")])
    assert len(lines.splitlines()) == 4
    assert lines.replace("\n", "").isprintable()
    assert "x\\x1b[1A\\nobama.jpg" in lines
