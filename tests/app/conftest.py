"""The app's page in Chromium, at a server of a few modalities of `tiny` that all tests of a module share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

import anymodal as am

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
MODALITIES = ("rgb", "depth", "semseg", "caption", "det", "color_palette")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser, for a module alone: its event loop would be in the way of what comes after."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    from page_acting import LONGEST

    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        playwright.expect.set_options(timeout=LONGEST)  # of what comes at once on a machine with nothing else to do
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def model() -> am.AnyModel:
    return am.load("tiny", modalities=MODALITIES, device="cpu")


@pytest.fixture(scope="module")
def address(model: am.AnyModel) -> Iterator[str]:
    """Where the server is, which takes files of at most one megabyte."""
    pytest.importorskip("gradio")
    from anymodal_app.runs import Studio
    from anymodal_app.server import serving
    from anymodal_app.settings import Limits, Settings
    from anymodal_app.store import Store

    settings = Settings(port=0, limits=Limits(upload_mb=1))
    store = Store()
    with serving(Studio(model=model, name="tiny", store=store, limits=settings.limits), settings) as found:
        yield found
    store.close()


@pytest.fixture
def opened(chromium: Any, address: str) -> Iterator[Any]:
    """A fresh page with its first example, on which nothing goes wrong and for which nothing comes from elsewhere."""
    from page_acting import LONGEST

    context = chromium.new_context(viewport={"width": 1280, "height": 900}, permissions=["clipboard-read"])
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address.rstrip("/"))
    context.add_init_script(
        "window.told = []; document.addEventListener('anymodal', ({detail}) => window.told.push(detail))"
    )
    context.set_default_timeout(LONGEST)
    page = context.new_page()
    wrong, asked = list[str](), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.locator("html[data-ready] .square.filled").wait_for()
    yield page
    context.close()
    assert not wrong
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
