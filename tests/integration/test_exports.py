"""Results as files: the same in every format, streamed or written into the bucket."""

import csv
import io
import itertools
import json
import tracemalloc
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest
from api_kit import NOWHERE, Api, refused
from exports_kit import asked_for, context_of, export
from ledger_kit import Kit
from results_kit import identified
from sqlalchemy import text

from db.exports.formats import Wanted, export_chunks
from db.session import transaction
from db.settings import Settings
from db.states import ExportFormat
from workers.context import WorkerContext
from workers.stages.exporting import write_export

N_PHOTOS = 333
Rows = list[dict[str, Any]]


@pytest.fixture
def context(settings: Settings) -> Iterator[WorkerContext]:
    context = context_of(settings)
    yield context
    context.database.dispose()


def streamed(api: Api, job: uuid.UUID, wanted: str) -> str:
    answer = api.get(f"/v1/jobs/{job}/export?format={wanted}")
    assert answer.status_code == 200, answer.text
    return answer.text


def in_bucket(context: WorkerContext, api: Api, job: uuid.UUID, **wanted: Any) -> bytes:
    """An export that a worker writes, fetched through its link as anybody would."""
    export_id = asked_for(api, job, **wanted)
    write_export(context, export_id)
    done = export(api, job, export_id)
    assert (done["state"], done["job_ended"]) == ("done", True)
    with urllib.request.urlopen(done["url"]) as answer:
        data: bytes = answer.read()
        assert "attachment" in answer.headers["Content-Disposition"]
    assert len(data) == done["size_bytes"]
    return data


def unguarded(cell: str) -> str:
    return cell.removeprefix("'")


def from_csv(body: str) -> Rows:
    return list(csv.DictReader(io.StringIO(body, newline="")))


def as_cells(row: dict[str, Any]) -> dict[str, str]:
    """A row of Parquet as CSV has it."""

    def cell(value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, list):
            return json.dumps(value, ensure_ascii=False)
        if hasattr(value, "isoformat"):
            return value.isoformat().replace("+00:00", "Z")
        return str(value)

    return {name: cell(value) for name, value in row.items()}


def test_all_formats_tell_the_same(api: Api, local: Kit, context: WorkerContext) -> None:
    job = identified(local, N_PHOTOS)
    lines = [json.loads(line) for line in streamed(api, job, "jsonl").splitlines()]
    assert len(lines) == N_PHOTOS + 1
    pages = list(_pages(api, job))
    assert lines == pages

    rows = from_csv(streamed(api, job, "csv"))
    assert len(rows) == sum(max(1, len(line["faces"])) for line in lines)
    for line, own in zip(lines, _by_photo(rows), strict=True):
        assert len(own) == max(1, len(line["faces"]))
        assert {unguarded(row["client_id"]) for row in own} == {line["client_id"]}
        for face, row in zip(line["faces"], own, strict=False):
            assert [int(row[side]) for side in ("left", "top", "right", "bottom")] == face["box"]
            assert unguarded(row["subject"]) == (face["subject"] or {"name": ""})["name"]
            assert float(row["distance"]) == face["distance"]
            assert [one["distance"] for one in json.loads(row["candidates"])] == [
                one["distance"] for one in face["candidates"]
            ]
            assert row["decision"] == face["decision"]

    table = pq.read_table(io.BytesIO(in_bucket(context, api, job, format="parquet")))
    assert table.column_names == list(rows[0])
    plain = [{name: unguarded(cell) for name, cell in row.items()} for row in rows]
    assert [as_cells(row) for row in table.to_pylist()] == plain

    archive = zipfile.ZipFile(io.BytesIO(in_bucket(context, api, job, format="xmp")))
    assert archive.testzip() is None
    assert archive.namelist() == [f"{line['client_id']}.xmp" for line in lines if line["faces"]]
    assert in_bucket(context, api, job, format="jsonl").decode() == streamed(api, job, "jsonl")
    assert in_bucket(context, api, job, format="csv").decode() == streamed(api, job, "csv")


def _pages(api: Api, job: uuid.UUID) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = api.get(f"/v1/jobs/{job}/results?limit=100{cursor}").json
        yield from page["results"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


def _by_photo(rows: Rows) -> list[Rows]:
    return [list(own) for _, own in itertools.groupby(rows, lambda row: row["client_id"])]


def test_each_line_says_what_decides(api: Api, local: Kit) -> None:
    job = identified(local, 9)
    lines = [json.loads(line) for line in streamed(api, job, "jsonl").splitlines()]
    failed, *read = lines
    assert failed["error"] == {"code": "not_an_image", "detail": "no image, as it seems"}
    assert (failed["faces"], failed["width"], failed["finished_at"] is None) == ([], None, False)
    for line in read:
        assert line["engine"]["name"] == "dlib"
        assert (line["key"], line["size_bytes"]) == (
            f"in/{line['client_id'].split()[1].removesuffix('.jpg')}",
            1000 + int(line["name"].removesuffix(".jpg")),
        )
        for face in line["faces"]:
            nearest = face["candidates"][0]
            assert [one["rank"] for one in face["candidates"]] == [1, 2, 3]
            assert face["decision"] == "match"
            assert face["subject"] == nearest["subject"]
            assert nearest["distance"] <= line["threshold"]
    with transaction(local.database) as session:
        session.execute(text("UPDATE job SET threshold_distance = 0.01"))
    tight = [json.loads(line) for line in streamed(api, job, "jsonl").splitlines()]
    decided = {(face["decision"], face["subject"]) for line in tight for face in line["faces"]}
    assert decided == {("above_threshold", None)}
    with transaction(local.database) as session:
        session.execute(text("DELETE FROM candidate"))
    alone = [json.loads(line) for line in streamed(api, job, "jsonl").splitlines()]
    assert {face["decision"] for line in alone for face in line["faces"]} == {"no_candidate"}


def test_subjects_are_summed_up_from_the_lines(api: Api, local: Kit) -> None:
    job = identified(local, N_PHOTOS)
    lines = [json.loads(line) for line in streamed(api, job, "jsonl").splitlines()]
    seen: dict[str, list[tuple[dict, dict]]] = {}
    for line in lines:
        for face in line["faces"]:
            if face["subject"]:
                seen.setdefault(face["subject"]["id"], []).append((line, face))
    told = [json.loads(line) for line in streamed(api, job, "subjects.jsonl").splitlines()]
    assert {one["subject"]["id"] for one in told} == set(seen)
    for one in told:
        mine = seen[one["subject"]["id"]]
        times = [line["taken_at"] for line, _ in mine if line["taken_at"]]
        best_line, best_face = min(mine, key=lambda pair: pair[1]["distance"])
        assert one["photos"] == len({line["client_id"] for line, _ in mine})
        assert one["faces"] == len(mine)
        assert (one["first_taken_at"], one["last_taken_at"]) == (min(times), max(times))
        assert one["best"]["client_id"] == best_line["client_id"]
        assert one["best"]["face"] == best_face["face"]
        assert one["best"]["sha256"] == best_line["sha256"]

    paged, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/v1/jobs/{job}/subjects?limit=2{cursor}").json
        paged += page["subjects"]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert paged == told
    rows = from_csv(streamed(api, job, "subjects.csv"))
    assert [unguarded(row["subject"]) for row in rows] == [one["subject"]["name"] for one in told]


def test_no_cell_of_a_stranger_is_a_formula(api: Api, local: Kit) -> None:
    job = identified(local, 60)
    for wanted in ("csv", "subjects.csv"):
        names = {row["subject"] for row in from_csv(streamed(api, job, wanted))}
        assert {"'=1+1", "'@home", "'-5", "plain", 'Ada "the", first', "Grace\nHopper"} <= names


def test_sidecars_without_unknown_faces_tell_of_nobody_else(
    api: Api, local: Kit, context: WorkerContext
) -> None:
    job = identified(local, 12)
    with transaction(local.database) as session:
        session.execute(text("UPDATE job SET threshold_distance = 0.272"))
    both = {}
    for unknown in (True, False):
        data = in_bucket(context, api, job, format="xmp", unknown_faces=unknown)
        archive = zipfile.ZipFile(io.BytesIO(data))
        regions = [
            one
            for name in archive.namelist()
            for one in ET.fromstring(archive.read(name)).iter(f"{MWG}Type")
        ]
        both[unknown] = len(regions)
    lines = [json.loads(line) for line in streamed(api, job, "jsonl").splitlines()]
    faces = [face for line in lines for face in line["faces"]]
    known = [face for face in faces if face["subject"]]
    assert 0 < len(known) < len(faces)
    assert both == {True: len(faces), False: len(known)}


MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"


def test_a_job_that_runs_is_exported_as_far_as_it_is(
    api: Api, local: Kit, context: WorkerContext
) -> None:
    job = identified(local, 5)
    with transaction(local.database) as session:
        session.execute(text("UPDATE job SET state = 'running', finished_at = NULL"))
        session.execute(
            text("""UPDATE item SET state = 'queued', extraction_id = NULL, finished_at = NULL
                    WHERE id = (SELECT max(id) FROM item)""")
        )
    answer = api.get(f"/v1/jobs/{job}/export?format=jsonl")
    assert answer.headers["Facebatch-Job-State"] == "running"
    assert [json.loads(one)["status"] for one in answer.text.splitlines()][-1] == "queued"
    export_id = asked_for(api, job, format="jsonl")
    write_export(context, export_id)
    assert export(api, job, export_id)["job_ended"] is False


def test_what_cannot_be_exported_is_refused(api: Api, local: Kit, stranger: Kit) -> None:
    job = identified(local, 1)
    refused(api.get(f"/v1/jobs/{NOWHERE}/export?format=csv"), 404, "job_not_found")
    refused(api.get(f"/v1/jobs/{job}/export?format=parquet"), 422, "invalid_request")
    refused(api.get(f"/v1/jobs/{job}/export"), 422, "invalid_request")
    refused(api.post(f"/v1/jobs/{job}/exports", json={"format": "xls"}), 422, "invalid_request")
    wanted = {"format": "csv", "unknown_faces": False}
    refused(api.post(f"/v1/jobs/{job}/exports", json=wanted), 422, "invalid_request")
    refused(api.get(f"/v1/jobs/{job}/exports/{NOWHERE}"), 404, "export_not_found")
    refused(api.delete(f"/v1/jobs/{job}/exports/{NOWHERE}"), 404, "export_not_found")
    theirs = identified(stranger, 1)
    for path in ("export?format=csv", "subjects", "exports"):
        refused(api.get(f"/v1/jobs/{theirs}/{path}"), 404, "job_not_found")
    answer = api.post(f"/v1/jobs/{theirs}/exports", json={"format": "csv"})
    refused(answer, 404, "job_not_found")
    for _ in range(20):
        asked_for(api, job, format="csv")
    answer = api.post(f"/v1/jobs/{job}/exports", json={"format": "csv"})
    refused(answer, 409, "too_many_exports")


def test_a_job_that_is_deleted_on_the_way_breaks_its_export_off(api: Api, local: Kit) -> None:
    job = identified(local, 1100)
    answer = api.client.get(f"/v1/jobs/{job}/export?format=jsonl", buffered=False)
    chunks = iter(answer.response)
    assert next(chunks).count(b"\n") == 500
    assert api.delete(f"/v1/jobs/{job}").status_code == 204
    with pytest.raises(Exception, match="no such job"):
        next(chunks)


def test_memory_does_not_grow_with_the_job(local: Kit) -> None:
    peaks_bytes = []
    for n_photos, gallery in ((1_500, "few"), (6_000, "many")):
        job = identified(local, n_photos, gallery=gallery)
        wanted = Wanted(tenant_id=local.tenant_id, job_id=job, format=ExportFormat.JSONL)
        tracemalloc.start()
        lines = sum(chunk.count(b"\n") for chunk in export_chunks(local.database, wanted))
        peaks_bytes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert lines == n_photos + 1
    few, many = peaks_bytes
    assert many < 1.2 * few
