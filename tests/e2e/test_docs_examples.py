"""What the pages say to type works when it is typed."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from place import Place, cleaned

from cli.sample import Sample
from cli.stack.home import Home

REPOSITORY = Path(__file__).parents[2]
README, QUICKSTART = REPOSITORY / "README.md", REPOSITORY / "docs" / "quickstart.md"
SEARCHES = REPOSITORY / "docs" / "how-to" / "find-every-photo-of-a-person.md"
ARCHIVES = REPOSITORY / "docs" / "how-to" / "submit-an-archive.md"
API, SAMPLE = "http://127.0.0.1:8765", "~/.local/share/facebatch/sample/sample-1"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def demo(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A home in which the demo has run, and serves."""
    with cleaned(Place(Home(tmp_path_factory.mktemp("demo") / "home"))) as place:
        assert place.run("demo").returncode == 0
        yield place


def here(text: str, place: Place) -> str:
    """The example for the test's own server."""
    view = place.view()
    assert view
    moved = text.replace(API, view.api_url)
    return moved.replace(SAMPLE, str(place.home.path / "sample" / "sample-1"))


def bash(script: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_readmes_examples_work_when_pasted(demo: Place) -> None:
    submit, classic = (block for block in blocks(README, "sh") if "curl" in block)
    out = bash(here(submit, demo))
    enrolled, polled, waited = _objects(out)
    assert enrolled["results"][0]["status"] == "done"
    assert {face["subject"]["name"] for face in polled["results"][0]["faces"]} == {"Barack Obama"}
    assert len(polled["results"][1]["faces"]) == 2
    assert waited["results"][0]["faces"][0]["subject"]["name"] == "Barack Obama"

    (script,) = blocks(README, "python")
    lines = python(here(script, demo)).splitlines()
    assert sum("Barack Obama" in line for line in lines) == 1
    assert sum("nobody we know" in line for line in lines) == 1

    shown = [json.loads(line) for line in blocks(README, "json")[-1].splitlines()]
    found = _objects(bash(here(classic, demo)))
    for one in (*shown, *found):
        one.pop("user_id", None)
        (one.get("matched_user") or {}).pop("id", None)
    assert found == shown


def _objects(text: str) -> list[dict]:
    """The JSON objects that stand in `text` one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        one, end = decoder.raw_decode(text)
        found.append(one)
        text = text[end:]
    return found


def test_the_quickstarts_example_works_when_pasted(demo: Place) -> None:
    (script,) = blocks(QUICKSTART, "python")
    lines = python(here(script, demo)).splitlines()
    assert "obama_and_biden.jpg done faces: 2" in lines


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_a_photo_gets_into_the_bucket_as_the_page_says(
    demo: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = (block for block in blocks(ARCHIVES, "sh") if "form.txt" in block)
    monkeypatch.chdir(tmp_path)
    added, ended = _objects(bash(here(script, demo)))
    assert added == {"accepted": 1, "missing": []}
    (photo,) = ended["results"]
    assert (photo["client_id"], photo["status"]) == ("obama2.jpg", "done")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_photo_of_a_person_is_found_as_the_page_says(
    demo: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEBATCH_HOME", str(demo.home.path))
    script = "".join(blocks(SEARCHES, "sh"))
    said = bash(here(script, demo).replace(".venv/bin/facebatch", f"{sys.executable} -m cli.main"))
    found = {line.split()[2] for line in said.partition("{")[0].splitlines()}
    assert {"obama2.jpg", "obama3.jpg", "obama_and_biden.jpg"} <= found
    assert "biden_mirrored.jpg" not in found
    begins = [one.start() for one in re.finditer(r'\{"job":', said)]
    by_photo, by_face = (json.JSONDecoder().raw_decode(said[at:])[0] for at in begins)
    assert {one["name"] for one in by_photo["photos"]} == found
    assert by_face["photos"][0]["distance"] == 0
    assert (tmp_path / "face.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


def test_the_readme_shows_the_demos_real_output(demo: Place) -> None:
    shown = blocks(README, "text")[0]
    again = demo.run("demo")
    assert here(shown, demo) == again.stdout


def test_every_link_leads_somewhere() -> None:
    for page in (REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_target_that_the_pages_name_is_there() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):.*##", makefile, re.MULTILINE))
    for page in (README, QUICKSTART):
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
        assert named <= targets, page
