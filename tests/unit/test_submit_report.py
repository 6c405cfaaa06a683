"""A submission tells a person what is worth a line, and a script everything."""

import json
from pathlib import Path

import click
import pytest
from http_kit import job_told

from cli.sending import Refusal
from cli.submitting.report import TOLD_AT_MOST, Report
from cli.submitting.targets import File, Folder, InBucket, target_of
from facebatch.client.models.jobs import Job

JOB = Job.model_validate(job_told(total=3))
GONE = Refusal(code="unreadable", reason="No such file or directory")


def test_a_person_gets_the_job_alone_on_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report(as_json=False, by_photo=True, sent=1, known=2)
    report.job(str(JOB.id))
    report.refuse("a\n.jpg", GONE)
    report.submitted()
    report.end(JOB)
    out, err = capsys.readouterr()
    assert out == f"{JOB.id}\n"
    assert err.splitlines() == [
        "facebatch: a\\n.jpg is not in the job: No such file or directory (unreadable)",
        "facebatch: 1 photo sent, 2 known already, 1 not in the job (1 unreadable)",
    ]


def test_a_person_is_not_told_of_each_of_very_many(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(as_json=False, by_photo=True)
    for n in range(TOLD_AT_MOST + 50):
        report.refuse(f"{n}.jpg", GONE)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == TOLD_AT_MOST + 1
    assert "counted at the end" in told[-1]
    assert report.n_refused == TOLD_AT_MOST + 50


def test_a_script_gets_all_of_it_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(as_json=True, by_photo=True, sent=1, known=2)
    report.job(str(JOB.id))
    for n in range(TOLD_AT_MOST + 50):
        report.refuse(f"{n}.jpg", GONE)
    report.submitted()
    report.end(JOB)
    out, err = capsys.readouterr()
    first, *refused, last = map(json.loads, out.splitlines())
    assert first == {"job": str(JOB.id)}
    assert refused[3] == {"photo": "3.jpg", "error": {"code": GONE.code, "detail": GONE.reason}}
    assert last == {
        "job": str(JOB.id),
        "state": "running",
        "counts": JOB.counts.as_json(),
        "sent": 1,
        "known": 2,
        "refused": TOLD_AT_MOST + 50,
    }
    assert err == ""


def test_of_what_the_server_lists_nothing_is_counted_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Report(as_json=True).end(JOB)
    assert json.loads(capsys.readouterr().out) == {
        "job": str(JOB.id),
        "state": "running",
        "counts": JOB.counts.as_json(),
    }


def test_a_target_is_what_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").mkdir()
    for name in ("a.ZIP", "b.ndjson", "c.jsonl"):
        (tmp_path / name).touch()
    assert target_of(str(tmp_path / "photos.zip")) == Folder(path=tmp_path / "photos.zip")
    for name, kind in (("a.ZIP", "archive"), ("b.ndjson", "manifest"), ("c.jsonl", "manifest")):
        assert target_of(str(tmp_path / name)) == File(kind=kind, path=tmp_path / name)
    with pytest.raises(click.BadParameter):
        target_of(str(tmp_path / "absent.zip"))


@pytest.mark.parametrize(
    ("key", "source"),
    [
        ("2024/", {"kind": "prefix", "prefix": "2024/"}),
        ("2024/a b?c#d", {"kind": "prefix", "prefix": "2024/a b?c#d"}),
        ("2024.zip", {"kind": "archive", "key": "2024.zip"}),
        ("2024/list.ndjson", {"kind": "manifest", "key": "2024/list.ndjson"}),
    ],
)
def test_what_lies_in_a_bucket_is_named_by_its_key(key: str, source: dict[str, str]) -> None:
    url = f"s3://bucket/{key}"
    assert target_of(url) == InBucket(url=url, source={**source, "bucket": "bucket"})
