"""The page that runs `tiny` in a browser tab, in Chromium: the ids of Python, kindness, and no wider than a phone."""

from __future__ import annotations

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
DRAWN = {"scheme": "roar", "steps": 8, "temperature": 0.7, "top_p": 0.8}
MOST = 30_000_000  # bytes of everything that the page loads
LONGEST = 6.0  # seconds of depth, classes and caption of a picture, once the graphs are loaded


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
    """The page with its first picture, and that nothing went wrong or was fetched from elsewhere."""
    opened = browser.new_page(viewport={"width": 1100, "height": 900})
    opened.add_init_script(
        "window.told = []; document.addEventListener('anymodal', ({detail}) => window.told.push(detail))"
    )
    wrong, asked = list[str](), list[str]()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"{address}/index.html")
    opened.locator("html[data-ready] .square.filled").wait_for()
    yield opened
    assert not wrong
    assert not [url for url in asked if not url.startswith((address, "blob:", "data:"))]
    opened.close()


def generated(page) -> dict:
    """What a press of the button makes: the value of each target, and the event that ends the run."""
    page.evaluate("window.told = []")
    page.click("#generate")
    playwright.expect(page.locator("#status")).to_contain_text("Done in", timeout=300_000)
    told = page.evaluate("window.told")
    return {event.get("target", event["event"]): event for event in told if event["event"] in ("value", "done")}


def test_it_gives_the_ids_of_python_for_the_same_seed(page, site):
    model, picture = am.load(site / "model", backend="onnx"), site / "model" / "scene-0.png"
    word = {"scheme": "autoregressive", "views": 1}
    for how, options, seed in (
        ("default", {"depth": {"views": 1}, "semseg": {"views": 1}, "caption": word | {"temperature": 0.0}}, 0),
        ("drawn", {"depth": DRAWN, "semseg": DRAWN, "caption": word | {"temperature": 0.7}}, 5),
    ):
        page.click(f"[data-key='Decide-{how}']")
        page.fill("#seed", str(seed))
        found = generated(page)
        wanted = model.generate({"rgb": picture}, ["depth", "semseg", "caption"], seed=seed, options=options)
        for name in ("depth", "semseg", "caption"):
            np.testing.assert_array_equal(found[name]["tokens"]["values"], wanted.tokens[name], err_msg=f"{how} {name}")
        assert found["caption"]["text"] == wanted["caption"]


def test_what_it_copies_gives_the_same_in_python(page, site, tmp_path, monkeypatch):
    page.click("[data-key='Decide-drawn']")
    found = generated(page)
    (tmp_path / "scene-0.png").write_bytes((site / "model" / "scene-0.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    made: dict = {}
    code = found["done"]["python"].replace('am.load("tiny")', f"am.load({str(site / 'model')!r}, backend='onnx')")
    exec(compile(code, "copied", "exec"), made)
    assert made["out"]["caption"] == found["caption"]["text"]
    assert found["done"]["command"].startswith(
        "anymodal generate rgb=scene-0.png --to depth,semseg,caption --seed 0 --set"
    )


def test_another_seed_draws_something_else_also_as_variants(page):
    made = []
    page.click("[data-key='Decide-drawn']")
    for seed in (1, 1, 2):
        page.fill("#seed", str(seed))
        made.append(generated(page)["depth"]["tokens"]["values"])
    assert made[0] == made[1] != made[2]
    page.fill("#seed", "1")
    page.click("[data-key='Variants-2']")
    generated(page)
    variants = [
        event["tokens"]["values"]
        for event in page.evaluate("window.told")
        if event.get("target") == "depth" and "tokens" in event
    ]
    assert variants == [made[1], made[2]]


def test_an_own_picture_is_read_and_a_wrong_file_answered_kindly(page, tmp_path):
    generated(page)
    before = page.locator("[data-target=caption] .said").inner_text()
    page.set_input_files("input[type=file]", str(Path(__file__).parents[2] / "examples/photos/chelsea.jpg"))
    assert generated(page)["caption"]["text"] != before
    (tmp_path / "notes.png").write_text("no picture")
    page.set_input_files("input[type=file]", str(tmp_path / "notes.png"))
    playwright.expect(page.locator("#problem")).to_contain_text("notes.png is no picture that this browser reads")


def test_it_leaves_out_what_needs_a_server_and_cancels(page):
    playwright.expect(page.locator("text=Insert a blank")).to_have_count(0)
    playwright.expect(page.locator("[data-key$='-mask']")).to_have_count(0)
    page.click("[data-key='Variants-4']")
    page.click("#generate")
    page.locator(".variant[data-state=growing]").first.wait_for(timeout=300_000)
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#status")).to_have_text("Cancelled.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ground, text = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    light = [sum(map(int, each[4:-1].split(","))) for each in (ground, text)]
    assert (light[0] > light[1]) == (scheme == "light")


@pytest.mark.timing
def test_three_targets_take_seconds(page):
    generated(page)
    assert min(generated(page)["done"]["seconds"] for _ in range(3)) < LONGEST


def test_everything_is_small_and_says_so_where_a_file_is_missing(browser, address, site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < MOST
    opened = browser.new_page()
    opened.route("**/model/decode.onnx", lambda route: route.fulfill(status=404))
    opened.goto(f"{address}/index.html")
    opened.locator("html[data-ready] .square.filled").wait_for()
    opened.click("#generate")
    playwright.expect(opened.locator("#problem")).to_contain_text("decode.onnx is not there", timeout=60_000)
    opened.close()
