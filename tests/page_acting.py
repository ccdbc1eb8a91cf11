"""What people do on the app's page, in few words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import expect

LONGEST = 60_000  # milliseconds of a generation on a busy machine


def finished(page: Any) -> None:
    expect(page.locator("#status")).to_contain_text("Done in", timeout=LONGEST)


def generate(page: Any) -> list[dict[str, Any]]:
    """Press the button and wait: the events of this run."""
    page.evaluate("window.told = []")
    page.click("#generate")
    finished(page)
    return page.evaluate("window.told")


@contextlib.contextmanager
def posted(page: Any) -> Iterator[list[dict[str, Any]]]:
    """The requests that the body makes the page send."""
    found: list[dict[str, Any]] = []

    def keep(request: Any) -> None:
        if request.method == "POST" and "/call/" in request.url:
            found.append(request.post_data_json["data"][0])

    page.on("request", keep)
    yield found
    page.remove_listener("request", keep)


def asked(page: Any) -> dict[str, Any]:
    """Press the button and take the answer back at once: what was asked."""
    with page.expect_request("**/call/generate") as found:
        page.click("#generate")
    page.keyboard.press("Escape")
    page.locator("#generate").wait_for()
    return found.value.post_data_json["data"][0]


def choose(page: Any, *targets: str) -> None:
    """Choose these targets alone."""
    for chip in page.locator("#targets [data-target]").all():
        if (chip.get_attribute("aria-pressed") == "true") != (chip.get_attribute("data-target") in targets):
            chip.click()


def drag(page: Any, selector: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from one place to another, in shares of an element's width and height."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    for share, act in ((start, page.mouse.down), (end, page.mouse.up)):
        page.mouse.move(box["x"] + share[0] * box["width"], box["y"] + share[1] * box["height"], steps=4)
        act()


def fits(page: Any) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
