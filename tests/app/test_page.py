"""The page of `anymodal app` at its real server: giving, generating, looking, going back."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

from page_acting import LONGEST, asked, choose, finished, fits, generate, posted
from playwright.sync_api import expect

PHOTO = Path(__file__).parents[2] / "examples/photos/chelsea.jpg"


def test_an_own_picture_is_what_python_reads(opened, model):
    opened.set_input_files("input[type=file][accept='image/*']", PHOTO)
    expect(opened.locator("#problem")).to_be_hidden()
    choose(opened, "caption")
    choose(opened, "caption", "semseg")
    events = generate(opened)
    wanted = model.generate({"rgb": PHOTO}, ["caption", "semseg"], seed=0)
    expect(opened.locator("[data-target=caption] .said")).to_have_text(wanted["caption"])
    legend = opened.locator("[data-target=semseg] .legend li").all_inner_texts()
    told = [words for _, words in model.modalities["semseg"].legend(wanted["semseg"])]
    assert legend == told[:12] + [f"and {len(told) - 12} more"] * (len(told) > 12)
    assert events[-1]["event"] == "done"


def test_an_example_runs_at_once_and_a_target_grows_step_by_step(opened):
    choose(opened, "depth")
    opened.click("[data-key='Decide-drawn']")
    opened.click("#examples button >> nth=1")
    finished(opened)
    events = opened.evaluate("window.told")
    steps = [event for event in events if event["event"] == "step" and event["target"] == "depth"]
    shares = [step["decided"] for step in steps]
    assert len(steps) > 1
    assert shares == sorted(shares)
    assert shares[0] < 1 == shares[-1]
    assert len({step.get("picture") for step in steps}) > 1
    shown = opened.locator("[data-target=depth] .frame img")
    expect(shown).to_have_attribute("src", next(e for e in events if e["event"] == "value")["picture"])
    assert opened.evaluate("document.querySelector('[data-target=depth] img').naturalWidth") >= 256


def test_blanks_of_a_caption_are_filled_and_its_words_stay(opened):
    opened.click("[aria-label='Remove the picture']")
    field = opened.locator("textarea").first
    field.fill("a red car on a")
    field.press("End")
    opened.click("text=Insert a blank")
    expect(field).to_have_value("a red car on a ___")
    expect(opened.locator("[data-target=caption]").first).to_contain_text("open part")
    choose(opened, "caption")
    generate(opened)
    said = opened.locator("[data-target=caption] .said").inner_text()
    assert said.startswith("a red car on a ")
    assert len(said) > len("a red car on a ")


def test_text_is_never_markup(opened):
    opened.locator("textarea").first.fill("<img src=x onerror=alert(1)> ___")
    choose(opened, "caption")
    generate(opened)
    expect(opened.locator("[data-target=caption] .said")).to_contain_text("<")
    assert not opened.locator("[src=x]").count()


@pytest.mark.slow
def test_four_variants_stand_side_by_side(opened):
    choose(opened, "depth")
    opened.fill("#seed", "7")
    opened.click("[data-key='Variants-4']")
    with posted(opened) as requests:
        generate(opened)
    assert (requests[0]["seed"], requests[0]["variants"]) == (7, 4)
    expect(opened.locator("[data-target=depth] .seed")).to_have_text(["seed 7", "seed 8", "seed 9", "seed 10"])
    pictures = opened.locator("[data-target=depth] .frame img")
    tops = [picture.bounding_box()["y"] for picture in pictures.all()]
    assert len({picture.get_attribute("src") for picture in pictures.all()}) == 4
    assert max(tops) - min(tops) < 1


@pytest.fixture
def looked(monkeypatch):
    """Set when something was looked at: until then, runs stop after each step that the page is told."""
    from anymodal_app.runs import _Run

    event, step = Event(), _Run._step

    def waiting(run, *arguments):
        yield from step(run, *arguments)
        assert event.wait(LONGEST / 1000)

    yield lambda: monkeypatch.setattr(_Run, "_step", waiting) or event
    event.set()


def test_a_run_is_cancelled_and_the_next_one_works(opened, looked):
    choose(opened, "depth", "semseg", "caption", "det", "color_palette")
    opened.click("[data-key='Variants-4']")
    event = looked()
    opened.click("#generate")
    opened.locator(".variant[data-state=growing], .variant[data-state=made]").first.wait_for(timeout=LONGEST)
    opened.keyboard.press("Escape")
    expect(opened.locator("#status")).to_have_text("Cancelled.")
    event.set()
    expect(opened.locator("#generate")).to_be_visible()
    choose(opened, "depth")
    opened.click("[data-key='Variants-1']")
    assert generate(opened)[-1]["event"] == "done"


def test_a_wrong_file_is_answered_kindly_and_a_large_one_refused(opened, tmp_path):
    picture = "input[type=file][accept='image/*']"
    (tmp_path / "notes.png").write_text("no picture")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)).save(tmp_path / "large.png")
    with posted(opened) as requests:
        opened.set_input_files(picture, tmp_path / "notes.png")
        expect(opened.locator("#problem")).to_have_text(re.compile(r"^notes\.png is no picture .* PNG or a JPEG\.$"))
        opened.set_input_files(picture, tmp_path / "large.png")
        expect(opened.locator("#problem")).to_have_text(re.compile(r"^large\.png has 2\.\d MB; at most 1 MB"))
    assert not requests
    opened.set_input_files(picture, PHOTO)
    expect(opened.locator("#problem")).to_be_hidden()


def test_pictures_of_other_kinds_are_drawn_anew_for_the_model(opened, tmp_path):
    choose(opened, "color_palette")
    for name, kind in (("moving.gif", "GIF"), ("photo.jfif", "JPEG"), ("photo", "PNG")):
        Image.open(PHOTO).resize((90, 60)).save(tmp_path / name, kind)
        opened.click("[aria-label='Remove the picture']")
        opened.set_input_files("input[type=file][accept='image/*']", tmp_path / name)
        opened.locator(".square.filled").wait_for()
        sent = asked(opened)["inputs"]["rgb"]
        assert sent["name"] == f"{Path(name).stem}.jpg"
        assert Image.open(io.BytesIO(base64.b64decode(sent["data"].partition(",")[2]))).size == (90, 60)


def test_words_are_dropped_into_fields_and_only_files_onto_the_page(opened):
    taken = opened.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.setData("text/plain", "a cup");
          const how = { dataTransfer, bubbles: true, cancelable: true };
          const events = ["dragover", "drop"].map((kind) => new DragEvent(kind, how));
          return events.map((event) => !document.querySelector("textarea").dispatchEvent(event));
        }"""
    )
    assert taken == [False, False]


def test_a_server_that_is_gone_is_named_as_such(chromium, address):
    page = chromium.new_page()
    page.goto(address)
    page.locator("html[data-ready] .square.filled").wait_for()
    page.route("**/gradio_api/call/**", lambda route: route.abort())
    page.click("#generate")
    expect(page.locator("#problem")).to_have_text("The server does not answer; see that it runs, and try again.")
    page.route("**/about", lambda route: route.abort())
    page.reload()
    expect(page.locator("#problem")).to_have_text("The server does not answer; see that it runs, and try again.")
    page.close()


@pytest.mark.slow
def test_a_former_run_that_is_looked_at_meanwhile_stays_the_current_one(opened, looked):
    choose(opened, "color_palette")
    generate(opened)
    generate(opened)
    choose(opened, "depth")
    opened.click("[data-key='Variants-2']")
    event = looked()
    opened.click("#generate")
    opened.locator(".variant[data-state=growing], .variant[data-state=made]").first.wait_for(timeout=LONGEST)
    opened.locator("#history button").last.click()
    expect(opened.locator("#run .card h3")).to_have_text(["color_palette"])
    event.set()
    finished(opened)
    expect(opened.locator("#history button")).to_have_count(3)
    assert "color_palette" in opened.locator("#history [aria-current=true]").get_attribute("aria-label")
    assert opened.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    expect(opened.locator("#run .card h3")).to_have_text(["color_palette"])


def test_what_the_server_cannot_read_is_said_in_place(opened, tmp_path):
    (tmp_path / "depth.npy").write_bytes(b"no numbers")
    opened.select_option("select[aria-label='Add an input']", "depth")
    opened.set_input_files("input[type=file][accept*='.npy']", tmp_path / "depth.npy")
    opened.click("#generate")
    expect(opened.locator("#problem")).to_contain_text("depth.npy", timeout=LONGEST)
    said = opened.locator("#problem").inner_text()
    assert "/tmp" not in said
    assert said.count("\n") == 0
    opened.click("[aria-label='Remove depth']")
    choose(opened, "caption")
    generate(opened)
    expect(opened.locator("#problem")).to_be_hidden()


def test_history_brings_back_what_was_asked_and_made(opened):
    choose(opened, "caption")
    generate(opened)
    first = opened.locator("[data-target=caption] .said").inner_text()
    opened.fill("#seed", "5")
    choose(opened, "caption")
    opened.click("#examples button >> nth=1")
    finished(opened)
    expect(opened.locator("[data-target=caption] .said")).not_to_have_text(first)
    with posted(opened) as requests:
        opened.click("#history li:last-child button")
        expect(opened.locator("[data-target=caption] .said")).to_have_text(first)
    assert not requests
    expect(opened.locator("#seed")).to_have_value("0")
    expect(opened.locator("#history [aria-current]")).to_have_count(1)


def test_code_is_copied_and_everything_downloaded(opened, tmp_path):
    choose(opened, "depth")
    done = generate(opened)[-1]
    for button, key in (("Copy as Python", "python"), ("Copy as command", "command")):
        opened.click(f"text={button}")
        expect(opened.locator("#run pre")).to_have_text(done[key])
        assert opened.evaluate("navigator.clipboard.readText()") == done[key]
    compile(done["python"], "copied", "exec")
    for button, ending in (("Download everything", ".zip"), ("Download", ".png")):
        with opened.expect_download() as found:
            opened.click(f"text='{button}'")
        assert found.value.suggested_filename.endswith(ending)
        found.value.save_as(tmp_path / "made")
        assert (tmp_path / "made").stat().st_size > 100


def test_uncertainty_lies_over_a_picture_until_it_is_taken_away(opened):
    choose(opened, "depth")
    opened.check("text=Show how unsure it is")
    with posted(opened) as requests:
        generate(opened)
    assert requests[0]["uncertainty"]
    opened.click("text=Unsure where")
    veil = opened.locator("[data-target=depth] .overlay").get_attribute("src")
    alpha = np.asarray(Image.open(io.BytesIO(base64.b64decode(veil.partition(",")[2]))))[..., 3]
    assert alpha.max() > alpha.min()
    expect(opened.locator("[data-target=depth] .hint")).to_contain_text("less sure")
    opened.click("text=Unsure where")
    expect(opened.locator("[data-target=depth] .overlay")).to_have_count(0)


def test_an_output_goes_in_again(opened):
    choose(opened, "depth")
    generate(opened)
    opened.click("text=Use as input")
    expect(opened.locator("[data-target=depth]").first).to_be_disabled()
    choose(opened, "semseg")
    request = asked(opened)
    assert set(request["inputs"]) == {"rgb", "depth"}
    assert "file" in request["inputs"]["depth"]


def test_options_of_a_target_are_sent_when_they_are_not_its_own(opened):
    choose(opened, "depth")
    opened.click("text=Settings")
    opened.select_option("[data-key=scheme]", "roar")
    opened.locator("[data-option=steps]").fill("3")
    opened.locator("[data-option=steps]").dispatch_event("change")
    opened.locator("[data-option=guidance]").fill("3")
    opened.locator("[data-option=guidance]").dispatch_event("change")
    opened.check("text=weigh each input on its own")
    expect(opened.locator("[data-option=guidance]")).to_have_count(0)  # which weights take the place of
    with posted(opened) as requests:
        events = generate(opened)
    assert requests[0]["options"] == {"depth": {"scheme": "roar", "steps": 3}}
    assert requests[0]["weights"] == {"rgb": 1}
    assert {event["steps"] for event in events if event["event"] == "step"} == {3}
    opened.click("text=As the model has it")
    opened.uncheck("text=weigh each input on its own")
    request = asked(opened)
    assert (request["options"], request["weights"]) == ({}, {})


def test_variants_of_a_text_are_drawn_where_it_is_written_by_beams(opened):
    choose(opened, "caption")
    assert asked(opened)["options"] == {}
    opened.click("[data-key='Decide-drawn']")
    assert asked(opened)["options"] == {"caption": {"scheme": "autoregressive", "temperature": 0.7}}


def test_a_seed_stays_when_the_settings_of_another_target_are_looked_at(opened):
    choose(opened, "depth", "semseg")
    opened.fill("#seed", "7")
    opened.click("text=Settings")
    opened.select_option("[data-key=of]", "semseg")
    expect(opened.locator("#seed")).to_have_value("7")
    assert asked(opened)["seed"] == 7


def test_settings_stay_open_when_something_changes_at_once(opened):
    choose(opened, "depth")
    opened.evaluate(
        """() => {
            document.querySelector("[data-key=settings]").click();
            const select = document.querySelector("[data-key=scheme]");
            select.value = "roar";
            select.dispatchEvent(new Event("change"));
        }"""
    )
    expect(opened.locator("[data-option=steps]")).to_be_visible()
    opened.click("[data-key=settings]")
    choose(opened, "semseg")
    expect(opened.locator("[data-option=steps]")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_as_the_system_or_as_people_say(opened, scheme):
    def is_dark() -> bool:
        ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", ground)[:3])) < 380

    opened.emulate_media(color_scheme=scheme)
    assert is_dark() == (scheme == "dark")
    opened.click("#theme")
    assert is_dark() == (scheme == "light")
    opened.reload()
    opened.locator("html[data-ready]").wait_for()
    assert is_dark() == (scheme == "light")


def test_it_fits_a_small_phone(opened):
    opened.set_viewport_size({"width": 320, "height": 700})
    opened.locator("textarea").first.fill("a" * 300)
    for mode in ("boxes", "mask", "look"):
        opened.click(f"[data-key$='-{mode}']")
        assert fits(opened), mode
    opened.locator("textarea").first.fill("")
    choose(opened, "caption", "semseg")
    opened.click("[data-key='Variants-2']")
    opened.click("text=Settings")
    assert fits(opened)
    generate(opened)
    opened.click("text=Copy as Python")
    assert fits(opened)
    small = opened.evaluate(
        "[...document.querySelectorAll('button, select, summary')].filter(e => e.checkVisibility())"
        ".filter(e => e.getBoundingClientRect().height < 24).map(e => e.textContent)"
    )
    assert not small


def test_everything_is_reached_by_keys(opened):
    def tab_to(selector: str) -> None:
        for _ in range(80):
            opened.keyboard.press("Tab")
            if opened.evaluate("s => document.activeElement.matches(s)", selector):
                outline = opened.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none"
                return
        raise AssertionError(f"no way to {selector}")

    choose(opened, "caption")
    opened.evaluate("document.activeElement.blur()")
    tab_to("#examples button")
    tab_to("textarea")
    tab_to("[data-target=depth]")
    opened.keyboard.press("Space")
    expect(opened.locator("#targets [data-target=depth]")).to_have_attribute("aria-pressed", "true")
    assert opened.evaluate("document.activeElement.dataset.target") == "depth"
    tab_to("#generate")
    opened.keyboard.press("Enter")
    finished(opened)
    assert opened.evaluate("document.activeElement.id") == "generate"
    unnamed = opened.evaluate(
        "[...document.querySelectorAll('button, a, input, select, textarea, [tabindex]')]"
        ".filter(e => e.checkVisibility() && !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')"
        " || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert not unnamed
