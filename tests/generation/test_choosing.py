"""Several draws of a sequence with doubts about each part, and draws that an input chooses among."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anymodal_det import Box
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.errors import AnymodalError, GenerationError
from anymodal.families.agreement import lacking, most_agreeing, words_in
from anymodal.generation.choosing import likelihoods
from anymodal.plugins.registry import registry
from anymodal.tokens import Packer, collate

CAR = {"caption": "a red car"}

WORDS = st.lists(st.sampled_from(["a", "red", "car", "road", "on"]), max_size=6).map(" ".join)


@given(st.lists(WORDS, min_size=2, max_size=5))
@settings(max_examples=40, deadline=None)
def test_the_draw_stays_that_agrees_best_and_each_word_has_the_share_that_lacks_it(texts):
    best = most_agreeing(texts, words_in)
    doubts = lacking(texts[best], texts, words_in)
    assert doubts.shape == (len(texts[best].split()),) and doubts.dtype == np.float32
    assert ((doubts >= 0) & (doubts <= 1 - 1 / len(texts) + 1e-6)).all()
    if texts.count(texts[0]) > len(texts) / 2:
        assert texts[best] == texts[0]
    if len(set(texts)) == 1:
        assert not doubts.any()


def test_words_count_in_their_order():
    assert words_in("a red car on a road", "A car on a red road").tolist() == [True, False, True, True, True, True]
    assert most_agreeing(["a dog", "a red car", "a red bus", "a red car"], words_in) == 1


def test_boxes_people_and_instances_are_found_in_other_draws():
    det = registry().modality("det")()
    dog, moved, cat = (Box(x, 0.1, x + 0.4, 0.6, name) for x, name in ((0.1, "dog"), (0.15, "dog"), (0.1, "cat")))
    far = Box(0.5, 0.1, 0.9, 0.6, "dog")
    assert det.parts_in([dog, far], [moved, cat]).tolist() == [True, False]
    assert det.parts_in([dog, moved], [dog]).tolist() == [True, False]  # one box is one
    assert det.parts_in([], [dog]).shape == (0,) and det.parts_in([dog], []).tolist() == [False]
    for name in ("human_poses", "sam_instance"):
        modality = registry().modality(name)()
        for value in modality.examples(np.random.default_rng(0)).values():
            assert modality.parts_in(value, value).all() and not modality.parts_in(value, []).any()
            assert modality.averages and len(modality.part_names(value)) == len(value)


def test_several_texts_are_one_with_its_doubts(small_model, tmp_path):
    how = {"samples": 5, "temperature": 1.5, "top_p": 0.0}
    out = small_model.generate({"depth": np.ones((32, 32), np.float32)}, "caption", seed=1, **how)
    texts = small_model.modalities["caption"].detokenize(list(drawn_texts(small_model, how)))
    assert out["caption"] in texts and out.schemes == {"caption": "merge"}
    assert np.array_equal(out.uncertainty["caption"], lacking(out["caption"], texts, words_in))
    out.save(tmp_path / "out")
    assert am.Outputs.load(tmp_path / "out") == out
    titles = out.show().height, am.Outputs(out.modalities, out, out.inputs, out.tokens).show().width
    assert titles[0] and out.show().width > titles[1]


def drawn_texts(model, how):
    """What the draws of `generate` were, from its last step."""
    steps = list(model.stream({"depth": np.ones((32, 32), np.float32)}, "caption", seed=1, **how))
    return steps[-1].snapshot.draws


def test_every_uncertainty_has_its_place_on_the_sheet(small_model):
    """Nine pictures take two lines; none is left out."""
    names = ["rgb", "normal", "semseg", "canny_edge"]
    options = {name: {"samples": 2, "steps": 1} for name in names}
    inputs = {"depth": np.ones((32, 32), np.float32)}
    out = small_model.generate(inputs, names, options=options, scheme="roar")
    assert len(out.uncertainty) == 4 and out.show(tile=32).height > 2 * 32 + 26 * 2
    sheet = np.asarray(out.show(tile=32))
    assert (sheet[-32 - 8 : -8, 8 : 8 + 32] < 255).any()


def test_an_input_chooses_the_draw_that_makes_it_likeliest(small_model):
    how = {"samples": 4, "scheme": "roar", "steps": 2, "temperature": 1.0, "seed": 3}
    plain = small_model.generate(CAR, "depth", **how)
    out = small_model.generate(CAR, "depth", choose="caption", **how)
    steps = list(small_model.stream(CAR, "depth", choose="caption", **how))
    draws, layout = steps[-1].snapshot.draws, small_model.modalities.layout
    known = small_model.tokenize(CAR)["caption"]
    ranks = likelihoods(small_model.transformer, layout["depth"], draws, layout["caption"], [known] * 4)
    assert (np.diff(ranks) <= 1e-6).all() and len(np.unique(np.stack(draws), axis=0)) == 4
    assert np.array_equal(out.tokens["depth"], draws[0]) and np.array_equal(out["depth"], out.decoded("depth"))
    assert np.array_equal(steps[-1].partial, out["depth"]) and out.uncertainty["depth"].shape == (32, 32)
    assert np.allclose(out.uncertainty["depth"], plain.uncertainty["depth"])  # the same draws
    both = small_model.generate_batch([CAR, {"caption": "two dogs"}], "depth", choose="caption", **how)
    assert np.array_equal(both[0].tokens["depth"], out.tokens["depth"])


def test_an_input_that_chooses_by_default_does_so_where_it_is_given(small_model, monkeypatch):
    """A checkpoint may say that of several draws of a picture the caption's stays."""
    own = {"samples": 3, "choose": "caption", "steps": 2, "temperature": 1.0}
    monkeypatch.setattr(small_model.modalities["depth"], "tuned", {"free": own})

    def draws(inputs, **how):
        (*_, last) = small_model.stream(inputs, "depth", seed=3, **how)
        return last.snapshot.draws

    chosen = small_model.generate(CAR, "depth", seed=3)
    said = small_model.generate(CAR, "depth", seed=3, samples=3, choose="caption")
    assert np.array_equal(chosen.tokens["depth"], said.tokens["depth"]) and len(draws(CAR)) == 3
    colors = np.eye(3, dtype=np.uint8)
    assert not draws({"color_palette": colors}) and not draws(CAR, samples=1) and not draws(CAR, scheme="mean")
    assert not draws(CAR, scheme="mean", samples=2) and len(draws({"color_palette": colors}, samples=2)) == 2


def test_more_draws_are_still_chosen_by_the_input_that_chooses_by_default(small_model, monkeypatch):
    """Otherwise eight draws of a picture would fit its words less than the four that are made unasked."""
    own = {"samples": 3, "choose": "caption", "steps": 2, "temperature": 1.0}
    monkeypatch.setattr(small_model.modalities["depth"], "tuned", {"free": own})
    how = {"seed": 3, "samples": 5}
    more, said = (small_model.generate(CAR, "depth", **how, **choice) for choice in ({}, {"choose": "caption"}))
    averaged = small_model.generate(CAR, "depth", **how, choose="")
    assert more.run.options["depth"]["choose"] == "caption" and averaged.run.options["depth"]["choose"] == ""
    assert np.array_equal(more["depth"], said["depth"]) and not np.array_equal(more["depth"], averaged["depth"])
    assert small_model.generate(CAR, "depth", options={"depth": {"samples": 1}}).run.options["depth"]["choose"] == ""


def test_how_likely_a_text_is_is_the_sum_over_its_words(small_model):
    """What training would call its loss."""
    layout, transformer = small_model.modalities.layout, small_model.transformer
    draw, text = np.arange(16), small_model.tokenize(CAR)["caption"]
    found = likelihoods(transformer, layout["depth"], [draw], layout["caption"], [text])[0]
    packer = Packer(layout)
    packer.add_input("depth", draw, np.arange(16))
    packer.add_sequence_target("caption", np.concatenate([[layout["caption"].space.sentinel(1)], text]))
    with torch.inference_mode():
        batch = collate([packer.pack()], layout, 1)
        loss = float(transformer(batch)["caption"])  # nats a token
    assert np.isclose(found, -loss * len(text), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"choose": "captions", "samples": 2}, "which is not an input; did you mean 'caption'"),
        ({"choose": "rgb", "samples": 2}, "which is not an input; inputs are caption"),
        ({"choose": "caption"}, "set samples"),
        ({"chain": "no"}, "chain is True, False or None, got 'no'"),
        ({"choose": 3, "samples": 2}, "choose is the name of an input"),
        ({"choose": "caption", "samples": 2, "scheme": "mean"}, "the scheme mean draws nothing, set another"),
    ],
)
def test_choices_that_cannot_be_are_told(small_model, options, says):
    with pytest.raises(AnymodalError, match=says):
        small_model.generate(CAR, "depth", **options)


def test_what_is_read_in_another_way_than_it_is_generated_cannot_choose(small_model, picture):
    with pytest.raises(GenerationError, match="'rgb' cannot choose among draws of 'depth'"):
        small_model.generate({"rgb": picture}, "depth", choose="rgb", samples=2, steps=1)
