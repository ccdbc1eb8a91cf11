"""Boxes and masks on the picture of the app's page, by pointer and by keys."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright.sync_api")
pytest.importorskip("gradio")

from page_acting import asked, choose, drag, generate, posted
from playwright.sync_api import expect


def boxes_of(page: Any) -> list[dict[str, Any]]:
    return asked(page)["inputs"]["det"]


def test_a_box_is_drawn_moved_resized_relabeled_and_deleted(opened):
    choose(opened, "semseg")
    opened.click("[data-key$='-boxes']")
    drag(opened, ".boxes", (0.2, 0.2), (0.5, 0.6))
    drag(opened, ".boxes", (0.3, 0.4), (0.4, 0.45))
    (moved,) = boxes_of(opened)
    np.testing.assert_allclose(moved["box"], (0.3, 0.25, 0.6, 0.65), atol=0.01)
    drag(opened, ".boxes", (0.6, 0.65), (0.9, 0.95))
    opened.fill("[aria-label='Label of box 1']", "couch")
    opened.keyboard.press("Tab")
    (resized,) = boxes_of(opened)
    np.testing.assert_allclose(resized["box"], (0.3, 0.25, 0.9, 0.95), atol=0.01)
    assert resized["label"] == "couch"
    opened.click("[aria-label='Delete box 1']")
    assert "det" not in asked(opened)["inputs"]


def test_boxes_need_no_pointer(opened):
    choose(opened, "semseg")
    opened.focus("[data-key$='-boxes']")
    opened.keyboard.press("Enter")
    opened.focus("[data-key=add]")
    opened.keyboard.press("Enter")
    opened.keyboard.type("person")
    opened.keyboard.press("Tab")
    opened.focus("[data-key=box-0]")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown"):
        opened.keyboard.press(key)
    (box,) = boxes_of(opened)
    assert box["label"] == "person"
    np.testing.assert_allclose(box["box"], (0.26, 0.28, 0.68, 0.72), atol=1e-6)
    opened.focus("[data-key=box-0]")
    opened.keyboard.press("Delete")
    expect(opened.locator(".box")).to_have_count(0)


def test_more_boxes_are_found_beside_those_given(opened):
    choose(opened, "det")
    opened.click("[data-key$='-boxes']")
    opened.click("text=Add a box")
    opened.check("text=find more of them")
    with posted(opened) as requests:
        events = generate(opened)
    assert requests[0]["keep"] == {"det": True}
    value = next(event for event in events if event["event"] == "value")
    assert requests[0]["inputs"]["det"][0]["label"] in [box["label"] for box in value["boxes"]]


def mask_of(request: dict[str, Any]) -> np.ndarray:
    content = base64.b64decode(request["keep"]["rgb"].partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("L")) > 127


def test_what_is_painted_is_made_anew_and_the_rest_stays(opened, model):
    choose(opened)
    opened.click("[data-key$='-mask']")
    drag(opened, ".mask", (0.1, 0.5), (0.9, 0.5))
    with posted(opened) as requests:
        events = generate(opened)
    mask = mask_of(requests[0])
    assert mask[128, 40:200].all()
    assert not mask[:64].any()
    assert not mask[-64:].any()
    assert requests[0]["targets"] == ["rgb"]
    (value,) = [event for event in events if event["event"] == "value"]
    given = requests[0]["inputs"]["rgb"]["data"]
    before, after = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each.partition(",")[2]))).convert("RGB").resize((64, 64)))
        for each in (given, value["picture"])
    )
    change = np.abs(before.astype(float) - after).mean(-1)
    assert change[26:38].mean() > 2 * change[:16].mean()


def test_the_brush_erases_clears_and_keeps(opened):
    choose(opened, "depth")
    opened.click("[data-key$='-mask']")
    drag(opened, ".mask", (0.2, 0.5), (0.8, 0.5))
    opened.click("text='Erase'")
    drag(opened, ".mask", (0.5, 0.5), (0.8, 0.5))
    mask = mask_of(asked(opened))
    assert mask[128, 60]
    assert not mask[128, 180]
    opened.click("text='Keep'")
    np.testing.assert_array_equal(mask_of(asked(opened)), ~mask)
    opened.click("text='Clear'")
    request = asked(opened)
    assert request["keep"] == {}
    assert request["targets"] == ["depth"]


def test_a_mask_is_painted_by_keys(opened):
    opened.click("[data-key$='-mask']")
    opened.focus("canvas.mask")
    for key in ("]", "ArrowLeft", "Space", "Shift+ArrowLeft", "Shift+ArrowLeft"):
        opened.keyboard.press(key)
    assert 0.01 < mask_of(asked(opened)).mean() < 0.2


def test_boxes_stay_inside_whatever_is_done(opened):
    wrong = opened.evaluate(
        """async () => {
            const { moved, resized, spanned } = await import('./boxes.mjs');
            const number = () => Math.random() * 3 - 1;
            const fine = ([x0, y0, x1, y1]) => 0 <= x0 && x0 < x1 && x1 <= 1 && 0 <= y0 && y0 < y1 && y1 <= 1;
            for (let k = 0; k < 2000; k++) {
                const box = spanned([Math.random() * 0.4, Math.random() * 0.4], [0.6, 0.6]);
                const [far, larger] = [moved(box, number(), number()), resized(box, k % 4, number(), number())];
                const sizes = [far[2] - far[0] - box[2] + box[0], far[3] - far[1] - box[3] + box[1]];
                const kept = sizes.every((gap) => Math.abs(gap) < 0.003);
                if (!fine(far) || !fine(larger) || !kept) return [box, far, larger];
            }
            return null;
        }"""
    )
    assert wrong is None


def test_a_mask_that_keeps_all_is_none(opened):
    masks = opened.evaluate(
        """async () => {
            const { Mask } = await import('./mask.mjs');
            const masks = [];
            const mask = new Mask((data) => masks.push(data));
            mask.context.fillRect(0, 0, 256, 256);
            for (const keeps of [true, false]) {
                mask.keeps = keeps;
                mask.told();
            }
            return masks;
        }"""
    )
    assert masks[0] is None
    assert masks[1].startswith("data:image/png")


def test_an_input_that_comes_later_is_weighed_too(opened):
    choose(opened, "color_palette")
    opened.click("text=Settings")
    opened.check("text=weigh each input on its own")
    opened.locator("textarea").first.fill("a cat")
    assert asked(opened)["weights"] == {"rgb": 1, "caption": 1}
