"""The page of the app with an index of photographs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

from app_served import served
from page_acting import LONGEST
from playwright.sync_api import expect

from anymodal.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_an_index_is_searched_by_what_is_given(chromium, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in ("samples copy photos/rgb", "retrieve index photos --by dinov2_global --out index"):
        with pytest.raises(SystemExit) as ended:
            main(words.split())
        assert ended.value.code == 0
    with served(Path("tiny"), index=tmp_path / "index") as app:
        page = chromium.new_page(viewport={"width": 1280, "height": 900}, color_scheme="dark")
        page.goto(app.address)
        page.locator("html[data-ready] .square.filled").wait_for()
        page.set_input_files("input[type=file][accept='image/*']", "photos/rgb/coffee.jpg")
        page.wait_for_timeout(500)
        page.click("#search")
        expect(page.locator("#status")).to_contain_text("Found", timeout=LONGEST)
        expect(page.locator("#run .card").first).to_contain_text("coffee")
        assert page.evaluate("document.querySelector('#run .card img').naturalWidth") == 256
        page.click("[aria-label='Remove the picture']")
        page.click("#search")
        expect(page.locator("#problem")).to_contain_text("Give something to search by")
        page.close()
