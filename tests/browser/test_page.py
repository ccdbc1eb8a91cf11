"""The page that runs `tiny` in a browser tab, in Chromium: the ids of Python, kindness, and no wider than a phone."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import anymodal as am

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
BUILD = Path(__file__).parents[2] / "docs/browser/build.py"
DRAWN = {"scheme": "roar", "steps": 8, "temperature": 1.0, "top_p": 0.9}
MOST = 30_000_000  # bytes of everything that the page loads


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    if CHROMIUM is None or shutil.which("npm") is None:
        pytest.skip("there is no chromium, or no npm")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, BUILD, "--out", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """The page after its first picture, and that nothing went wrong or was fetched from elsewhere."""
    opened = browser.new_page(viewport={"width": 1100, "height": 900})
    opened.set_default_timeout(300_000)
    wrong, asked = list[str](), list[str]()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"{address}/index.html")
    finished(opened, 0)
    yield opened
    assert not wrong
    assert not [url for url in asked if not url.startswith((address, "blob:", "data:"))]
    opened.close()


def finished(page, before: int) -> dict:
    """What the page made, when it has made more than `before`."""
    page.wait_for_function(f"window.anymodal && window.anymodal.runs > {before}")
    return page.evaluate("window.anymodal")


@contextlib.contextmanager
def another(page) -> Iterator[list[dict]]:
    """The next result, after what the body does to the page."""
    found: list[dict] = []
    before = page.evaluate("window.anymodal.runs")
    yield found
    found.append(finished(page, before))


def test_it_gives_the_ids_of_python_for_the_same_seed(page, site):
    model, picture = am.load(site / "model", backend="onnx"), site / "model" / "scene-0.png"
    for how, options, seed in (
        ("sure", {}, 0),
        ("drawn", {"depth": DRAWN, "semseg": DRAWN, "caption": {"temperature": 0.7}}, 5),
    ):
        page.select_option("#how", how)
        page.fill("#seed", str(seed))
        with another(page) as found:
            page.click("text=Generate")
        wanted = model.generate({"rgb": picture}, ["depth", "semseg", "caption"], seed=seed, options=options)
        for name in ("depth", "semseg", "caption"):
            np.testing.assert_array_equal(
                found[0]["tokens"][name]["values"], wanted.tokens[name], err_msg=f"{how} {name}"
            )
        assert found[0]["caption"] == wanted["caption"]


def test_another_seed_draws_something_else(page):
    made = []
    page.select_option("#how", "drawn")
    for seed in (1, 1, 2):
        page.fill("#seed", str(seed))
        with another(page) as found:
            page.keyboard.press("Enter")  # in the field of the seed: no mouse is needed
        made.append(found[0]["tokens"]["depth"]["values"])
    assert made[0] == made[1] != made[2]


def test_an_own_picture_is_read_and_a_wrong_file_answered_kindly(page, tmp_path):
    with another(page) as found:
        page.set_input_files("#file", str(Path(__file__).parents[2] / "examples/photos/chelsea.jpg"))
    assert found[0]["caption"]
    (tmp_path / "notes.png").write_text("no picture")
    page.set_input_files("#file", str(tmp_path / "notes.png"))
    page.wait_for_function("document.getElementById('status').textContent.startsWith('that is no picture')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ground, text = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    light = [sum(map(int, each[4:-1].split(","))) for each in (ground, text)]
    assert (light[0] > light[1]) == (scheme == "light")


def test_everything_is_small_and_says_so_where_a_file_is_missing(browser, address, site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < MOST
    opened = browser.new_page()
    opened.route("**/model/decode.onnx", lambda route: route.fulfill(status=404))
    opened.goto(f"{address}/index.html")
    opened.wait_for_function("document.getElementById('status').textContent.startsWith('decode.onnx is not there')")
    opened.close()
