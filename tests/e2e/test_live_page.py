"""The page of the live stream in a browser: a camera, faces, names, and what goes wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from camera_kit import chromium, film
from place import Place
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from cli.sample import Sample

LIMIT_MS = 120_000
GREEN = [0x7F, 0xE0, 0xA7]
"""Of the boxes around those who are known."""
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 860}


@pytest.fixture(scope="module")
def api(served: Place) -> Iterator[httpx.Client]:
    view = served.view()
    assert view
    with httpx.Client(base_url=view.api_url, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def gallery(api: httpx.Client, sample: Sample) -> str:
    """One that knows Obama, and nobody else."""
    made = str(api.post("/v1/galleries", json={"name": "presidents"}).json()["id"])
    path = f"/v1/galleries/{made}/subjects"
    subject = api.post(path, json={"name": "Barack Obama"}).json()["id"]
    shown = (sample.people_dir / "obama" / "obama.jpg").read_bytes()
    done = api.post(
        f"{path}/{subject}/photos",
        files={"photos": ("o.jpg", shown)},
        headers={"Prefer": "wait=60"},
    )
    assert done.json()["results"][0]["status"] == "done"
    return made


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(
    playwright: Playwright, sample: Sample, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """One whose camera shows Obama and Biden."""
    photos = [sample.photos_dir / name for name in ("obama3.jpg", "biden_mirrored.jpg")]
    with chromium(playwright, film(photos, tmp_path_factory.mktemp("film") / "c.mjpeg")) as opened:
        yield opened


def opened(
    browser: Browser, api: httpx.Client, size: dict, gallery: str, **more: Any
) -> tuple[Page, list[str]]:
    """The page, and what its browser complains of or asks others for."""
    page = browser.new_context(viewport=size, permissions=["camera"], **more).new_page()
    page.set_default_timeout(LIMIT_MS)
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    ours = urlsplit(str(api.base_url)).netloc
    page.on(
        "request",
        lambda asked: (
            faults.append(asked.url) if urlsplit(asked.url).netloc not in {ours, ""} else None
        ),
    )
    page.goto(str(api.base_url.join(f"/live#gallery={gallery}")))
    return page, faults


def has_colour(page: Page, colour: list[int]) -> bool:
    """Whether the canvas has pixels of this colour."""
    return bool(
        page.evaluate(
            """([red, green, blue]) => {
                const view = document.getElementById("view");
                const all = view.getContext("2d").getImageData(0, 0, view.width, view.height).data;
                let found = 0;
                for (let n = 0; n < all.length; n += 4) {
                    found += all[n] === red && all[n + 1] === green && all[n + 2] === blue;
                }
                return found > 50;
            }""",
            colour,
        )
    )


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_shows_who_is_before_the_camera(
    browser: Browser, api: httpx.Client, gallery: str, size: dict, tmp_path: Path
) -> None:
    page, faults = opened(browser, api, size, gallery)
    expect(page.locator("#gallery")).to_contain_text("presidents (1 person)")
    page.screenshot(path=tmp_path / "before.png", full_page=True)
    # By the keyboard alone.
    page.locator("#gallery").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#seen .known b")).to_have_text("Barack Obama", timeout=LIMIT_MS)
    expect(page.locator("#seen .unknown b")).to_have_text("Not known", timeout=LIMIT_MS)
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#delay")).to_contain_text(" ms")
    expect(page.locator("#notice")).to_be_hidden()
    page.wait_for_function("Number(document.getElementById('rate').textContent) > 0")
    assert any(has_colour(page, GREEN) for _ in range(20))
    page.screenshot(path=tmp_path / "live.png", full_page=True)
    # Nothing is wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.locator("#state")).to_have_text("stopped")
    assert not has_colour(page, GREEN)
    assert faults == []
    page.context.close()


def test_a_gallery_that_goes_while_it_is_searched_is_told_of(
    browser: Browser, api: httpx.Client, gallery: str
) -> None:
    other = str(api.post("/v1/galleries", json={"name": "passing"}).json()["id"])
    page, _ = opened(browser, api, DESKTOP, other)
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#seen .unknown")).to_have_count(2, timeout=LIMIT_MS)
    assert api.delete(f"/v1/galleries/{other}").status_code == 204
    expect(page.locator("#notice")).to_contain_text("is not there any more", timeout=LIMIT_MS)
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    page.context.close()


def test_a_page_that_needs_a_key_asks_for_it_and_stops_with_it(
    browser: Browser, api: httpx.Client, gallery: str
) -> None:
    wanted = {"name": "page", "scopes": ["read", "submit"]}
    key = api.post("/v1/keys", json=wanted).json()
    # As a proxy sends it: who is behind one needs a key.
    handed_on = {"X-Forwarded-For": "192.0.2.1"}
    page, _ = opened(browser, api, DESKTOP, gallery, extra_http_headers=handed_on)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    expect(page.locator("#notice")).to_contain_text("Enter an API key")
    page.get_by_label("API key").fill(key["key"])
    page.keyboard.press("Tab")
    expect(page.locator("#gallery")).to_contain_text("presidents (1 person)")
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#seen .known b")).to_have_text("Barack Obama", timeout=LIMIT_MS)
    assert sockets
    assert not any("fb_live_" in url for url in [page.url, *sockets])
    assert api.delete(f"/v1/keys/{key['id']}").status_code == 204
    expect(page.locator("#state")).to_have_text("stopped", timeout=LIMIT_MS)
    expect(page.locator("#notice")).to_contain_text("was revoked")
    page.context.close()


def test_a_browser_without_a_camera_is_told_so(
    playwright: Playwright, api: httpx.Client, gallery: str
) -> None:
    with chromium(playwright, None) as browser:
        page, _ = opened(browser, api, DESKTOP, gallery)
        page.get_by_role("button", name="Start the camera").click()
        expect(page.locator("#notice")).to_contain_text("No camera was found")
        expect(page.locator("#state")).to_have_text("stopped")
        page.context.close()
