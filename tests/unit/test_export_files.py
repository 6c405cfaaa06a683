"""What exports are made of: paths that stay below, tables without traps, memory that is flat."""

import csv
import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sidecars import Sidecars
from db.exports.formats import chunks_of
from db.exports.lines import Line
from db.exports.paths import SidecarPaths
from db.exports.tables import FACE_COLUMNS, guarded
from db.states import ExportFormat

HOSTILE = [
    "../a", "a/../../b", "/etc/passwd", "a//b", "", ".", "..", "a/./b", "a/", "a\\b", "C:x",
    "a\0b", "a\nb", "x" * 252, "/".join("d" * 9 for _ in range(200)), "con. ", "dir./a", "\u2028",
    "other-names/0", "\ud800",
]  # fmt: skip


def photo(client_id: str | None, *, name: str = "n.jpg", subject: str = "Ada") -> Line:
    who = {"id": "01", "name": subject}
    near = {"rank": 1, "subject": who, "gallery": "02", "distance": 0.25}
    face = {
        "face": 0,
        "id": 7,
        "box": [10, 20, 30, 40],
        "landmarks": [[1.5, 2.0]],
        "score": 0.5,
        "quality": None,
        "decision": "match",
        "subject": who,
        "distance": 0.25,
        "candidates": [near],
        "enrolled": False,
    }
    head = {"name": name, "client_id": client_id, "key": None, "status": "done", "error": None}
    read = {"sha256": "ab", "size_bytes": 7, "taken_at": "2024-05-01T12:00:00"}
    pixels = {"width": 640, "height": 480, "orientation": 1, "rotation": 0}
    engine = {"engine": {"name": "dlib", "version": "1"}, "threshold": 0.5}
    tail = {"attempts": 1, "finished_at": "2026-01-02T03:04:05.600000Z"}
    return head | read | pixels | {"faces": [face], "faces_left_out": 0} | engine | tail


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_no_plain_path_gets_one_of_ours(name: str) -> None:
    path = PurePosixPath(SidecarPaths().path(photo(name)))
    assert path.parts[0] == "other-names"
    assert (len(path.parts), len(path.name)) == (2, 36)


@pytest.mark.parametrize("name", ["a.jpg", "2019/day 1/ä.jpg", "...a", "a..b/c", "-rf", "~/x"])
def test_a_plain_path_stays_as_it_is(name: str) -> None:
    assert SidecarPaths().path(photo(name)) == name + ".xmp"


@given(st.one_of(st.text(), st.text(alphabet="./\\a: \0", max_size=12)))
def test_whatever_the_name_its_sidecar_stays_below(name: str) -> None:
    path = PurePosixPath(SidecarPaths().path(photo(name)))
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert "\0" not in str(path)
    assert all(len(part.encode()) <= 255 for part in path.parts)


@given(st.lists(st.text(), unique=True))
def test_different_ids_get_different_paths(names: list[str]) -> None:
    paths = SidecarPaths()
    assert len({paths.path(photo(name)) for name in names}) == len(names)


def test_photos_without_ids_get_a_path_each() -> None:
    paths = SidecarPaths()
    made = [paths.path(photo(None, name=name)) for name in ("a", "a", "b", "a (2)", "a")]
    assert len(set(made)) == 5
    assert made[:3] == ["a.xmp", "a (2).xmp", "b.xmp"]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["a", "b", "a (2)", "a:"]))))
def test_photos_with_and_without_ids_get_different_paths(shown: list[tuple[bool, str]]) -> None:
    ids = dict.fromkeys(name for has_id, name in shown if has_id)
    order = [one for n, one in enumerate(shown) if not one[0] or one not in shown[:n]]
    paths = SidecarPaths()
    made = [paths.path(photo(name if has_id else None, name=name)) for has_id, name in order]
    assert len(set(made)) == len(order) == len(ids) + sum(not has_id for has_id, _ in shown)


def test_an_id_keeps_its_path_where_only_photos_behind_it_are_called_so() -> None:
    paths = SidecarPaths()
    assert paths.path(photo("a")) == "a.xmp"
    assert paths.path(photo(None, name="a")).startswith("other-names/")


# ---------------------------------------------------------------- sidecars in a folder


def test_sidecars_never_leave_their_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "photos", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "file.jpg.xmp").symlink_to(outside / "target")
    sidecars = Sidecars(inside, unknown_faces=True)
    for name in ["link/a.jpg", "file.jpg", "plain/b.jpg", *HOSTILE]:
        sidecars.write(photo(name))
    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "photos"]
    assert (inside / "plain" / "b.jpg.xmp").is_file()
    assert len(list((inside / "other-names").iterdir())) == len(HOSTILE) + 1
    assert (inside / "file.jpg.xmp").is_symlink()


def test_not_even_the_folder_for_other_names_leads_outside(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "photos" / "other-names").symlink_to(tmp_path / "outside")
    sidecars = Sidecars(tmp_path / "photos", unknown_faces=True)
    sidecars.write(photo("../a"))
    assert list((tmp_path / "outside").iterdir()) == []
    assert "1 sidecar of other programs left as they are" in list(sidecars.told())


def test_a_sidecar_of_another_program_stays_and_one_of_ours_is_replaced(tmp_path: Path) -> None:
    foreign = '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2"/>'
    (tmp_path / "theirs.jpg.xmp").write_text(foreign)
    for subject in ("Ada", "Grace"):
        sidecars = Sidecars(tmp_path, unknown_faces=True)
        for name in ("theirs.jpg", "ours.jpg"):
            sidecars.write(photo(name, subject=subject))
        assert "1 sidecar of other programs left as they are" in list(sidecars.told())
    assert (tmp_path / "theirs.jpg.xmp").read_text() == foreign
    assert "Grace" in (tmp_path / "ours.jpg.xmp").read_text()


def test_a_photo_that_is_called_as_anothers_folder_has_its_sidecar_elsewhere(
    tmp_path: Path,
) -> None:
    sidecars = Sidecars(tmp_path, unknown_faces=True)
    for name in ("a", "a.xmp/b", "c.xmp/d", "c"):
        sidecars.write(photo(name))
    assert (tmp_path / "a.xmp").is_file()
    assert (tmp_path / "c.xmp" / "d.xmp").is_file()
    assert len(list((tmp_path / "other-names").iterdir())) == 2


# ---------------------------------------------------------------- tables


@given(st.text())
def test_a_guarded_text_is_no_formula_and_comes_back(text: str) -> None:
    cell = guarded(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))  # noqa: RUF001
    assert (cell.removeprefix("'") if cell.startswith("'") else cell) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_whatever_stands_in_a_text_csv_has_one_row_for_a_face(text: str) -> None:
    data = b"".join(chunks_of(ExportFormat.CSV, iter([[photo(text, subject=text)]])))
    (row,) = csv.DictReader(io.StringIO(data.decode(), newline=""))
    assert list(row) == list(FACE_COLUMNS)
    assert row["subject"] == row["client_id"] == guarded(text)
    assert json.loads(row["candidates"])[0]["subject"] == text


def test_a_job_without_photos_is_a_whole_file_in_every_format() -> None:
    whole = {one: b"".join(chunks_of(one, iter([]))) for one in ExportFormat}
    assert whole[ExportFormat.JSONL] == b""
    assert whole[ExportFormat.CSV].decode().strip() == ",".join(FACE_COLUMNS)
    assert pq.read_table(io.BytesIO(whole[ExportFormat.PARQUET])).num_rows == 0
    assert zipfile.ZipFile(io.BytesIO(whole[ExportFormat.XMP])).namelist() == []


# ---------------------------------------------------------------- memory


def _pages(count: int) -> Iterator[list[Line]]:
    for start in range(0, count, 500):
        yield [photo(f"{n:07}.jpg") for n in range(start, start + 500)]


@pytest.mark.parametrize("wanted", list(ExportFormat)[:4])
def test_memory_does_not_grow_with_the_job(wanted: ExportFormat) -> None:
    peak_bytes = _peak_of(lambda count: chunks_of(wanted, _pages(count)))
    few, many = peak_bytes(5_000), peak_bytes(20_000)
    assert many < 1.2 * few


def _peak_of(make: Callable[[int], Iterator[bytes]]) -> Callable[[int], int]:
    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        try:
            written = sum(len(chunk) for chunk in make(count))
            assert written > 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for chunk in make(500):  # What is imported at the first use is no growth.
        del chunk
    return peak_bytes


def test_a_zip_of_very_many_sidecars_can_be_read() -> None:
    data = b"".join(chunks_of(ExportFormat.XMP, _pages(66_000)))  # More than 65,535: ZIP64.
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert len(archive.namelist()) == 66_000
    assert b"Ada" in archive.read("0065999.jpg.xmp")
