"""`facebatch results` and `facebatch jobs`, against a server that is there."""

import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from api_kit import NOWHERE, Api
from command_kit import listening, run
from ledger_kit import Kit
from results_kit import identified
from sqlalchemy import text

from db.session import transaction

N_PHOTOS = 40


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with listening(api) as url:
        yield url


@pytest.fixture
def job(local: Kit) -> uuid.UUID:
    return identified(local, N_PHOTOS)


@pytest.mark.parametrize("wanted", ["jsonl", "csv", "subjects.jsonl", "subjects.csv"])
def test_the_command_writes_what_the_server_exports(
    api: Api, url: str, job: uuid.UUID, wanted: str, tmp_path: Path
) -> None:
    exported = api.get(f"/v1/jobs/{job}/export?format={wanted}").data
    assert run("results", job, "--api", url, "--format", wanted).stdout == exported
    out = tmp_path / "out"
    run("results", job, "--api", url, "--format", wanted, "--out", out)
    assert out.read_bytes() == exported


def test_parquet_and_sidecars_are_made_from_the_same_lines(
    api: Api, url: str, job: uuid.UUID, tmp_path: Path
) -> None:
    lines = [
        json.loads(one)
        for one in api.get(f"/v1/jobs/{job}/export?format=jsonl").text.split("\n")[:-1]
    ]
    out = tmp_path / "faces.parquet"
    run("results", job, "--api", url, "--format", "parquet", "--out", out)
    rows = pq.read_table(io.BytesIO(out.read_bytes())).to_pylist()
    assert len(rows) == sum(max(1, len(line["faces"])) for line in lines)
    said = run("results", job, "--api", url, "--format", "xmp", "--out", tmp_path).stderr.decode()
    with_faces = {f"{line['client_id']}.xmp" for line in lines if line["faces"]}
    assert {path.name for path in tmp_path.glob("*.xmp")} == with_faces
    assert f"{len(with_faces)} sidecars written" in said


def test_a_job_that_runs_is_told_of(url: str, job: uuid.UUID, local: Kit) -> None:
    with transaction(local.database) as session:
        session.execute(
            text("UPDATE job SET state = 'running', finished_at = NULL, n_items = n_items + 2")
        )
    done = run("results", job, "--api", url)
    assert b"the job is running: 2 photos of 43 so far have no result" in done.stderr
    assert done.stdout.count(b"\n") == N_PHOTOS + 1


def test_a_file_stays_as_it_was_where_nothing_comes(url: str, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    out.write_text("mine")
    done = run("results", NOWHERE, "--api", url, "--format", "csv", "--out", out, status=1)
    assert done.stderr == b"facebatch: there is no such job\n"
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
    assert out.read_text() == "mine"


def test_jobs_are_listed_the_latest_first(url: str, local: Kit, job: uuid.UUID) -> None:
    later = identified(local, 3, gallery="others")
    head, first, second = run("jobs", "--api", url).stdout.decode().splitlines()
    assert head.split() == ["id", "kind", "state", "photos", "done", "no_face", "failed", "created"]
    assert first.split()[:7] == [str(later), "identify", "partially_failed", "4", "2", "1", "1"]
    assert second.split()[0] == str(job)
    only = run("jobs", "--api", url, "--limit", 1).stdout.decode().splitlines()
    assert [line.split()[0] for line in only] == ["id", str(later)]
