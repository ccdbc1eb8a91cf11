"""The app's page where something comes late: a file that is large, a picture from far away, an answer of the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

from page_acting import asked, choose, finished, posted
from playwright.sync_api import expect

PICTURE = "input[type=file][accept='image/*']"
HELD = """() => {
    const read = createImageBitmap;
    window.held = new Promise((resolve) => (window.release = resolve));
    window.createImageBitmap = async (file) => {
        if (file.name === "late.gif") await held;
        return read(file);
    };
}"""
RELEASED = """async () => {
    release();
    for (let k = 0; k < 5; k++) await new Promise((resolve) => setTimeout(resolve));
}"""


@pytest.fixture
def files(opened, tmp_path) -> dict[str, Path]:
    """A picture that is read once `RELEASED` runs, and one that is read at once."""
    opened.evaluate(HELD)
    made = {name: tmp_path / f"{name}.gif" for name in ("late", "own")}
    for path in made.values():
        Image.new("RGB", (64, 64), "red").save(path)
    return made


def test_a_file_that_is_read_late_does_not_replace_a_later_one(opened, files):
    choose(opened, "color_palette")
    opened.set_input_files(PICTURE, files["late"])
    opened.set_input_files(PICTURE, files["own"])
    opened.locator(".square.filled").wait_for()
    opened.evaluate(RELEASED)
    assert asked(opened)["inputs"]["rgb"]["name"] == "own.jpg"


def test_a_file_that_is_read_late_does_not_come_back_once_removed(opened, files):
    choose(opened, "color_palette")
    opened.set_input_files(PICTURE, files["late"])
    opened.click("[aria-label='Remove the picture']")
    opened.evaluate(RELEASED)
    expect(opened.locator(".square.filled")).to_have_count(0)
    assert "rgb" not in asked(opened)["inputs"]


@contextlib.contextmanager
def held(page: Any, pattern: str) -> Iterator[None]:
    """In the body the page asks once for an example at such an address; it gets and reads it when the body is over."""
    waiting: list[Any] = []

    def hold(route: Any) -> None:
        waiting.append(route) if route.request.resource_type == "fetch" else route.continue_()

    page.route(pattern, hold)
    with page.expect_request(lambda request: request.resource_type == "fetch" and "examples/" in request.url):
        yield
    page.evaluate(
        """() => {
            const read = FileReader.prototype.readAsDataURL;
            window.isRead = new Promise((resolve) => {
                FileReader.prototype.readAsDataURL = function (blob) {
                    this.addEventListener("load", () => setTimeout(resolve));
                    return read.call(this, blob);
                };
            });
        }"""
    )
    waiting[0].continue_()
    page.evaluate("isRead")
    page.unroute(pattern)


def picture_of(example: Any) -> str:
    return example.locator("img").get_attribute("src")


def test_an_example_that_comes_late_does_not_replace_a_later_one(opened):
    first, second = opened.locator("#examples button").nth(0), opened.locator("#examples button").nth(1)
    choose(opened, "color_palette")
    with held(opened, f"**/{picture_of(first)}"):
        first.click()
        second.click()
        finished(opened)
    assert asked(opened)["inputs"]["rgb"]["name"] == Path(picture_of(second)).name


def test_the_first_example_replaces_nothing_that_was_given_or_chosen_before_it_came(opened, address):
    with held(opened, "**/examples/*"):
        opened.goto(address)
        opened.locator("html[data-ready]").wait_for()
        choose(opened, "depth")
        opened.locator("textarea").first.fill("a red car")
    request = asked(opened)
    assert (request["inputs"], request["targets"]) == ({"caption": "a red car"}, ["depth"])


def test_targets_chosen_before_an_example_came_stay_chosen(opened, address):
    with held(opened, "**/examples/*"):
        opened.goto(address)
        opened.locator("html[data-ready]").wait_for()
        choose(opened, "depth")
    opened.locator(".square.filled").wait_for()
    assert asked(opened)["targets"] == ["depth"]


def test_a_file_that_is_still_read_belongs_to_what_is_asked(opened, files):
    choose(opened, "color_palette")
    opened.set_input_files(PICTURE, files["late"])
    with posted(opened) as requests:
        opened.click("#generate")
        opened.click("#generate")
        opened.evaluate(RELEASED)
        finished(opened)
    assert [request["inputs"]["rgb"]["name"] for request in requests] == ["late.jpg"]


def test_nothing_is_asked_with_a_file_that_turns_out_to_be_none(opened, files):
    files["late"].write_text("no picture")
    opened.set_input_files(PICTURE, files["late"])
    with posted(opened) as requests:
        opened.click("#generate")
        opened.evaluate(RELEASED)
        expect(opened.locator("#problem")).to_contain_text("late.gif is no picture")
    assert not requests
    expect(opened.locator("#generate")).to_be_visible()


def test_a_file_that_was_removed_while_it_was_read_is_in_nobodys_way(opened, files):
    files["late"].write_text("no picture")
    opened.set_input_files(PICTURE, files["late"])
    opened.click("[aria-label='Remove the picture']")
    choose(opened, "depth")
    with opened.expect_request("**/call/generate") as found:
        opened.click("#generate")
        opened.evaluate(RELEASED)
    assert "rgb" not in found.value.post_data_json["data"][0]["inputs"]
    finished(opened)


DECODED_LATE = """(how) => {
    const decode = HTMLImageElement.prototype.decode;
    window.held = new Promise((resolve) => (window.release = resolve));
    HTMLImageElement.prototype.decode = async function () {
        HTMLImageElement.prototype.decode = decode; // of the next pictures
        await held;
        if (how === "fails") throw new Error("no picture");
        return decode.call(this);
    };
}"""


@pytest.mark.parametrize("how", ["is drawn", "fails"])
def test_what_a_picture_comes_to_late_is_no_matter_once_another_is_shown(opened, tmp_path, how):
    is_blue = "document.querySelector('#stage canvas').getContext('2d').getImageData(9, 9, 1, 1).data[2] > 200"
    waits = "async () => { while (!(%s)) await new Promise(requestAnimationFrame); }"
    for color in ("red", "blue"):
        Image.new("RGB", (64, 64), color).save(tmp_path / f"{color}.png")
    opened.evaluate(DECODED_LATE, how)
    choose(opened, "color_palette")
    opened.set_input_files(PICTURE, tmp_path / "red.png")
    opened.evaluate(waits % "!String(HTMLImageElement.prototype.decode).includes('held')")
    opened.set_input_files(PICTURE, tmp_path / "blue.png")
    opened.evaluate(waits % is_blue)
    opened.evaluate(RELEASED)
    assert opened.evaluate(is_blue)
    assert asked(opened)["inputs"]["rgb"]["name"] == "blue.png"


def test_a_mask_that_is_decoded_late_is_not_painted_over_a_later_one(opened):
    opened.evaluate(DECODED_LATE)
    painted = opened.evaluate(
        """async () => {
            const { Mask } = await import('./mask.mjs');
            const mask = new Mask(() => {});
            mask.paint(128, 128);
            const restored = mask.restore(mask.data());
            mask.restore(null);
            release();
            await restored;
            return mask.data();
        }"""
    )
    assert painted is None


def test_what_is_cancelled_before_the_server_answers_is_cancelled_there_too(opened):
    answered: list[Any] = []
    opened.route("**/call/generate", lambda route: answered.append((route, route.fetch())))
    with opened.expect_request("**/call/generate"):
        opened.click("#generate")
    opened.keyboard.press("Escape")
    expect(opened.locator("#status")).to_have_text("Cancelled.")
    route, response = answered[0]
    with opened.expect_request("**/gradio_api/cancel") as cancelled:
        route.fulfill(response=response)
    assert cancelled.value.post_data_json["event_id"] == response.json()["event_id"]
