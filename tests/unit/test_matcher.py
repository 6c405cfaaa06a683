"""A match gives one result for every photo, in order, whatever its files are called."""

import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from http_kit import TinyApi, serving

from cli.client_ids import client_id_of
from cli.matching import (
    MatchedPhoto,
    Matcher,
    MatchOptions,
    NobodyEnrolledError,
    ResultMissingError,
)
from cli.progress import LineSteps
from cli.scan import find_people, find_photos
from facebatch.client import Client
from facebatch.client.people import GalleryCalls
from facebatch.errors import ServerError
from pipeline.face_limits import FaceLimits
from pipeline.specs import ENGINE_SPECS
from pipeline.thresholds import WantedThreshold

OPTIONS = MatchOptions(
    engine="dlib-classic", threshold=WantedThreshold(), top_k=5, multiple_faces="refuse"
)
STRICT_OPTIONS = replace(OPTIONS, limits=FaceLimits(min_face_px=80, min_quality=0.5))
OTHER_OPTIONS = replace(OPTIONS, multiple_faces="largest")
TOLD = (
    "faces within 0.5 of a person are taken for that person "
    "(FMR 0.0001; FPIR 0.01 among 100 people; FNMR 0.2; dlib-classic)"
)


class Match:
    """Folders of people and photos, and a server to match them on."""

    def __init__(self, api: TinyApi, root: Path) -> None:
        self.api = api
        self.people = root / "people"
        self.photos = root / "photos"
        self.warnings: list[str] = []
        self.add(self.people, "anna.jpg")

    def add(self, folder: Path, *names: str) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.fsencode(name))

    def matcher(self, client: Client) -> Matcher:
        return Matcher(client, LineSteps(io.StringIO()), self.warnings.append)

    def run(self, options: MatchOptions = OPTIONS) -> list[MatchedPhoto]:
        people, photos = find_people(self.people), find_photos(self.photos)
        with (
            Client(self.api.url, patience_s=5) as client,
            self.matcher(client).matched(people, photos, options) as results,
        ):
            return list(results)


@pytest.fixture
def match(tmp_path: Path) -> Iterator[Match]:
    with serving(TinyApi()) as api:
        yield Match(api, tmp_path)


def test_results_come_in_the_order_of_the_photos_though_known_ones_went_first(
    match: Match,
) -> None:
    names = [f"{n:03}.jpg" for n in range(200)]
    match.add(match.photos, *names[::3])
    match.run()
    match.add(match.photos, *names)
    assert [one.photo for one in match.run()] == names


ODD = [
    "sub/a.jpg",
    "%22.jpg",
    "a%22b%0A.jpg",
    'quo"te.jpg',
    "back\\slash.jpg",
    "new\nline.jpg",
    " blank .jpg",
    "\u00e9 \U0001f600.jpg",
    "e\u0301.jpg",
    "\u00a0.jpg",
    os.fsdecode(b"\xff\xfe.jpg"),
    "/".join(["deep" * 20] * 8) + ".jpg",
]


def test_photos_with_odd_names_are_sent_and_told_apart(match: Match) -> None:
    match.add(match.photos, *ODD)
    for _ in range(2):
        results = match.run()
        assert [one.photo for one in results] == sorted(ODD)
        assert {one.status for one in results} == {"done"}
    assert sum(map(len, match.api.sent)) == 1 + len(ODD)


def test_the_same_bytes_under_two_names_are_two_results(match: Match) -> None:
    match.add(match.photos, "a.jpg")
    (match.photos / "b.jpg").write_bytes((match.photos / "a.jpg").read_bytes())
    (match.photos / "c.jpg").symlink_to(match.photos / "a.jpg")
    assert [one.photo for one in match.run()] == ["a.jpg", "b.jpg", "c.jpg"]


def test_photos_that_all_fail_are_one_result_each(match: Match) -> None:
    match.photos.mkdir()
    (match.photos / "broken.jpg").symlink_to(match.photos / "absent")
    os.mkfifo(match.photos / "pipe.jpg")
    match.add(match.photos, "refused.jpg")
    match.api.refuse = lambda name: "file_name_invalid" if name == "refused.jpg" else None
    assert [(one.photo, one.status, one.error) for one in match.run()] == [
        ("broken.jpg", "failed", "unreadable"),
        ("pipe.jpg", "failed", "unreadable"),
        ("refused.jpg", "failed", "file_name_invalid"),
    ]


def test_a_result_that_is_missing_is_an_error_and_no_silence(match: Match) -> None:
    match.add(match.photos, "a.jpg", "b.jpg", "c.jpg")
    match.api.lost = {"b.jpg"}
    with pytest.raises(ResultMissingError, match=r"b\.jpg"):
        match.run()


def test_a_missing_results_name_stays_on_its_line(match: Match) -> None:
    match.add(match.photos, "\n.jpg")
    match.api.lost = {client_id_of("\n.jpg")}
    with pytest.raises(ResultMissingError, match=r"for \\n\.jpg"):
        match.run()


def test_nobody_to_look_for_is_an_error(match: Match) -> None:
    match.add(match.photos, "a.jpg")
    match.api.refuse = lambda _name: "file_name_invalid"
    with pytest.raises(NobodyEnrolledError):
        match.run()
    assert match.warnings == [f"{match.people / 'anna.jpg'} was not enrolled: file_name_invalid"]


def test_a_person_whose_name_is_refused_does_not_stop_the_others(match: Match) -> None:
    match.add(match.people, " /1.jpg")
    match.add(match.photos, "a.jpg")
    assert [one.status for one in match.run()] == ["done"]
    assert match.warnings == [f"{match.people / ' /1.jpg'} was not enrolled: name_invalid", TOLD]


def test_a_second_run_enrols_into_the_same_gallery(match: Match) -> None:
    match.add(match.photos, "a.jpg")
    assert match.run() == match.run()
    assert len(match.api.galleries) == 1


def test_both_jobs_ask_the_same_of_a_face(match: Match) -> None:
    match.add(match.photos, "a.jpg")
    match.run(STRICT_OPTIONS)
    assert [
        (one["kind"], one["min_face_px"], one["min_quality"]) for one in match.api.wanted
    ] == [("enrol", 80, 0.5), ("identify", 80, 0.5)]  # fmt: skip


def test_what_was_enrolled_under_other_limits_is_enrolled_anew(match: Match) -> None:
    match.add(match.photos, "a.jpg")
    match.run()
    (lax,) = match.api.galleries
    match.run(STRICT_OPTIONS)
    (strict,) = match.api.galleries
    assert strict != lax
    match.run(STRICT_OPTIONS)
    assert list(match.api.galleries) == [strict]


def test_what_was_enrolled_of_other_photos_is_deleted(match: Match) -> None:
    match.add(match.photos, "a.jpg")
    match.run()
    (first,) = match.api.galleries
    match.add(match.people, "ben.jpg")
    match.run()
    assert len(match.api.galleries) == 1
    assert first not in match.api.galleries


@pytest.mark.parametrize("options", [OPTIONS, STRICT_OPTIONS, OTHER_OPTIONS])
def test_photos_are_sent_once_however_people_and_options_change(
    match: Match, options: MatchOptions
) -> None:
    match.add(match.photos, "a.jpg", "b.jpg")
    match.run()
    match.add(match.people, "ben.jpg")
    match.run(options)
    assert sorted(name for names in match.api.sent for name in names) == [
        "a.jpg", "anna.jpg", "b.jpg", "ben.jpg",
    ]  # fmt: skip


def test_what_an_earlier_run_enrolled_stays_where_this_one_breaks_off(match: Match) -> None:
    match.add(match.photos, "a.jpg")
    match.run()
    (first,) = match.api.galleries
    match.api.lost.add("a.jpg")
    with pytest.raises(ResultMissingError):
        match.run(OTHER_OPTIONS)
    assert first in match.api.galleries


def test_a_server_that_deletes_nothing_spoils_no_result(
    match: Match, monkeypatch: pytest.MonkeyPatch
) -> None:
    match.add(match.photos, "a.jpg")
    match.run()

    def refused(*_: object) -> None:
        raise ServerError(500, "internal_error", "no")

    monkeypatch.setattr(GalleryCalls, "delete", refused)
    assert [one.status for one in match.run(OTHER_OPTIONS)] == ["done"]
    assert match.warnings[-1] == "what an earlier match had enrolled was not deleted: no"


def test_another_runs_gallery_stays_while_that_run_is_at_work(match: Match) -> None:
    match.add(match.photos, "a.jpg")
    people, photos = find_people(match.people), find_photos(match.photos)
    with (
        Client(match.api.url, patience_s=5) as client,
        match.matcher(client).matched(people, photos, OPTIONS) as results,
    ):
        (first,) = match.api.galleries
        match.run(OTHER_OPTIONS)
        assert first in match.api.galleries
        assert len(list(results)) == 1
    match.run()
    assert list(match.api.galleries) == [first]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
@pytest.mark.parametrize("call", [1, 2])
def test_whatever_ends_a_run_cancels_the_job_that_it_meets(
    match: Match, monkeypatch: pytest.MonkeyPatch, call: int, error: type[BaseException]
) -> None:
    match.add(match.photos, "a.jpg")
    calls = iter(range(1, 100))

    def broken_off(*_: object) -> None:
        if next(calls) == call:
            raise error

    monkeypatch.setattr(LineSteps, "at", broken_off)
    with pytest.raises(error):
        match.run()
    assert len(match.api.jobs) == call
    assert match.api.ended[list(match.api.jobs)[-1]] == "cancelled"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (WantedThreshold(), {}),
        (WantedThreshold(distance=0.4), {"threshold": 0.4}),
        (WantedThreshold(target_fmr=1e-4), {"target_fmr": 1e-4}),
        (WantedThreshold(target_fpir=0.1), {"target_fpir": 0.1}),
    ],
)
def test_the_threshold_is_asked_for_and_told_before_the_photos_are_sent(
    match: Match, wanted: WantedThreshold, field: dict[str, float]
) -> None:
    match.add(match.photos, "a.jpg")
    match.run(replace(OPTIONS, threshold=wanted))
    enrolment, search = match.api.wanted
    assert enrolment["kind"] == "enrol"
    given = {name: search[name] for name in search.keys() - {"id", "kind", "gallery", "top_k"}}
    assert given == field
    assert match.warnings == [TOLD]


def test_a_gallery_is_of_the_engine_that_was_chosen(
    match: Match, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(ENGINE_SPECS["dlib-classic"], name="eyes")
    monkeypatch.setattr("pipeline.specs.ENGINE_SPECS", {**ENGINE_SPECS, "eyes": other})
    match.add(match.photos, "a.jpg")
    match.run()
    (first,) = match.api.galleries.values()
    match.run(replace(OPTIONS, engine="eyes"))
    (second,) = match.api.galleries.values()
    assert first != second
    assert match.api.engines == ["dlib-classic", "eyes"]
