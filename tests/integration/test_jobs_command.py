"""`facebatch jobs` shows a job and changes it, against a server that is there."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from api_kit import NOWHERE, Api, image
from command_kit import listening, run
from ledger_kit import Kit
from results_kit import identified

N_PHOTOS = 6


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with listening(api) as url:
        yield url


def shown(url: str, *arguments: object) -> dict[str, str]:
    """What stands in the lines of a job, by its name; sources with commas between them."""
    found: dict[str, str] = {}
    for line in run("jobs", *arguments, "--api", url).stdout.decode().splitlines():
        name, value = line.split(maxsplit=1)
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


@pytest.fixture
def open_job(api: Api) -> str:
    """A job of one photo that takes more."""
    job = str(api.post("/v1/jobs", json={"kind": "detect"}).json["id"])
    assert api.send(f"/v1/jobs/{job}/photos", [("a.jpg", image())]).status_code == 200
    return job


def test_a_job_is_paused_resumed_and_cancelled(api: Api, url: str, open_job: str) -> None:
    assert shown(url, "show", open_job) == {
        "id": open_job,
        "kind": "detect",
        "state": "queued (open for further photos)",
        "photos": "1: 1 queued",
    }
    assert shown(url, "pause", open_job)["state"] == "queued (paused, open for further photos)"
    assert api.get(f"/v1/jobs/{open_job}").json["paused"]
    assert shown(url, "resume", open_job)["state"] == "queued (open for further photos)"
    assert not api.get(f"/v1/jobs/{open_job}").json["paused"]
    ended = shown(url, "cancel", open_job)
    assert (ended["state"], ended["photos"]) == ("cancelled", "1: 1 cancelled")


def test_failed_photos_are_tried_again(api: Api, url: str, local: Kit) -> None:
    job = identified(local, N_PHOTOS)
    assert api.counts(str(job))["failed"] == 1
    tried = shown(url, "retry", job)
    assert "round 2" in tried["state"]
    assert "failed" not in tried["photos"]


def test_a_rematch_is_a_job_over_the_same_photos(api: Api, url: str, local: Kit) -> None:
    job = identified(local, N_PHOTOS)
    api.gallery("others")
    made = run("jobs", "rematch", job, "--gallery", "others", "--top", 3, "--api", url)
    new = made.stdout.decode().strip()
    told: dict[str, Any] = json.loads(run("jobs", "show", new, "--json", "--api", url).stdout)
    (source,) = told.pop("sources")
    assert (source["kind"], source["job"]) == ("job", str(job))
    assert (told["kind"], told["top_k"]) == ("identify", 3)
    assert told["sealed_at"] is not None
    assert shown(url, "show", new)["source"] == f"job {job}: queued, 0 photos"
    said = run("jobs", "rematch", job, "--gallery", "none", "--api", url, status=1).stderr
    assert said.startswith(b"facebatch: there is no gallery called none")


@pytest.mark.parametrize("what", ["show", "pause", "resume", "cancel", "retry"])
def test_a_job_that_is_not_there_is_an_error(url: str, what: str) -> None:
    said = run("jobs", what, uuid.UUID(NOWHERE), "--api", url, status=1).stderr
    assert said == b"facebatch: there is no such job\n"
