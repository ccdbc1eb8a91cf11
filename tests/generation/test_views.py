"""Several views of what is given: mirrored and moved, of which one value, or one belief about a text, is made."""

from __future__ import annotations

import numpy as np
import pytest
from anymodal_det import Box
from hypothesis import given
from hypothesis import strategies as st

import anymodal as am
from anymodal.crops import Crop
from anymodal.errors import ConfigError, GenerationError
from anymodal.families.boxes import crop_box
from anymodal.families.codec import decoded_mean
from anymodal.generation.sequences import Autoregressive
from anymodal.generation.views import view_crops
from anymodal.testing.tiny import model_over

TARGETS = ["depth", "normal", "semseg"]
MEAN = {"scheme": "mean", "temperature": 1.0}


def last_step(model, picture, target, **how):
    (*_, step) = model.stream({"rgb": picture}, target, **MEAN, **how)
    return step


@given(st.sampled_from([(64, 4), (64, 8), (96, 16)]), st.integers(1, 20))
def test_views_are_other_ones_each_mirrored_or_not_and_moved_by_whole_numbers(sizes, count):
    size, patch = sizes
    depth = am.registry().modality("depth")(size=size, patch=patch)
    crops = view_crops(depth, depth.side, count)
    assert len(crops) == len({*crops, Crop()}) - 1 < count and (len(crops) == count - 1 or count > patch)
    moves = np.array([[crop.left, crop.top] for crop in crops]).reshape(-1, 2) * size
    assert np.allclose(moves, moves.round()) and (np.abs(moves) <= patch / 2).all()
    assert abs(2 * sum(crop.flip for crop in crops) - len(crops)) <= 1
    assert not any(crop.flip for crop in view_crops(depth, depth.side, count, mirrored=False))


def test_borders_of_patches_coincide_in_none_of_a_few_views():
    depth, clip = (am.registry().modality(name)(size=128, patch=8) for name in ("depth", "clip"))
    assert [(c.left * 128, c.flip) for c in view_crops(depth, 16, 4)] == [(2, True), (-4, False), (-2, True)]
    assert [(c.left * 128, c.flip) for c in view_crops(depth, 16, 2, mirrored=False)] == [(-4, False)]
    assert view_crops(clip, 16, 6) == [Crop(flip=True)], "of one vector a square there is the mirrored one alone"


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0.5, 1.5), st.floats(0.5, 1.5), st.booleans())
def test_what_is_cut_and_put_back_is_where_it_was(left, top, width, height, flip):
    crop, box = Crop(left, top, width, height, flip), (0.3, 0.4, 0.5, 0.7)
    assert crop_box(crop_box(box, crop), crop.back) == pytest.approx(box, abs=1e-9)
    assert crop.back.back == Crop(*map(pytest.approx, (left, top, width, height)), flip)


@pytest.mark.parametrize("name", ["rgb", "depth", "semseg", "normal"])
def test_a_crop_that_reaches_out_of_the_picture_goes_on_as_its_mirror_image(seven, sample_values, name):
    modality = seven[name]
    value = modality.crop(sample_values(modality)[-1], Crop())
    moved = modality.crop(value, Crop(-4 / 32, 2 / 32))
    assert np.array_equal(moved[:-2, 4:], value[2:, :-4])
    assert np.array_equal(moved[:-2, :4], value[2:, 3::-1]) and np.array_equal(moved[-2:, 4:], value[:-3:-1, :-4])


@pytest.mark.parametrize("name", ["rgb", "semseg", "normal", "canny_edge"])
@pytest.mark.parametrize("crop", [Crop(3 / 32, -4 / 32, flip=True), Crop(-1 / 32, 5 / 32), Crop(flip=True)])
def test_what_a_view_shows_is_put_back_where_it_was(seven, sample_values, name, crop):
    modality = seven[name]
    value = modality.crop(sample_values(modality)[-1], Crop())
    tensors = {
        key: modality.preprocess(each) for key, each in (("as it is", value), ("seen", modality.crop(value, crop)))
    }
    if name == "semseg":  # what it writes are numbers of each class
        tensors = {key: np.eye(256, dtype=np.float32)[each].transpose(2, 0, 1) for key, each in tensors.items()}
    back, shown = modality.put_back(tensors["seen"], crop)
    assert shown.sum() == round((32 - abs(crop.left * 32)) * (32 - abs(crop.top * 32)))
    assert np.allclose(back[:, shown], tensors["as it is"][:, shown], atol=1e-6)


def test_a_value_is_the_mean_of_what_its_views_say(small_model, picture):
    """By hand: each view given as a picture of its own, put back, and averaged where it shows something."""
    rgb, whole = small_model.modalities["rgb"], small_model.modalities.accept({"rgb": picture})["rgb"]
    for name in TARGETS:
        modality, tensors, shown = small_model.modalities[name], [], []
        for crop in (Crop(), *view_crops(modality, modality.side, 3)):
            seen = last_step(small_model, rgb.crop(whole, crop), name).snapshot
            (tensor,) = decoded_mean(modality, [seen.probabilities], shape=(modality.side,) * 2)
            back, where = modality.put_back(tensor, crop)
            if name == "semseg":
                back = np.exp(back - back.max(0)) / np.exp(back - back.max(0)).sum(0)
            tensors.append(back * where)
            shown.append(where)
        wanted = modality.postprocess(np.sum(tensors, 0) / np.sum(shown, 0))
        step = last_step(small_model, picture, name, views=3)
        assert len(step.snapshot.views) == 2
        one = last_step(small_model, picture, name)
        assert np.array_equal(step.tokens, one.tokens), "tokens are those of the picture as it is"
        assert np.allclose(step.partial, wanted, atol=1e-4)
        assert not np.allclose(one.partial, wanted, atol=1e-4)


def test_the_last_step_and_the_outputs_and_a_batch_are_one_value(small_model, picture):
    others = [{"rgb": picture}, {"rgb": picture[::-1]}]
    together = small_model.generate_batch(others, TARGETS, **MEAN, views=3, chain=False)
    alone = small_model.generate(others[1], TARGETS, **MEAN, views=3, chain=False)
    for name in TARGETS:
        assert np.allclose(together[1][name], alone[name], atol=1e-4)
        assert np.array_equal(last_step(small_model, picture[::-1], name, views=3).partial, alone[name])
        assert alone.run.options[name]["views"] == 3 and alone.schemes[name] == "mean"
    lengths = np.linalg.norm(alone["normal"], axis=-1)
    assert (np.isclose(lengths, 1, atol=1e-5) | (lengths == 0)).all()


def test_a_word_is_what_is_believed_of_all_views(small_model, picture):
    """By hand: of one word, the mean of the log probabilities of each view, whose like are given as pictures."""
    whole = small_model.modalities.accept({"rgb": picture})["rgb"]
    rgb = small_model.modalities["rgb"]
    crops = [Crop(), *view_crops(rgb, rgb.side, 3, mirrored=False)]
    scored = [first_scores(small_model, {"rgb": rgb.crop(whole, crop)}) for crop in crops]
    together = first_scores(small_model, {"rgb": picture}, views=3)
    mean = np.mean(scored, 0)
    assert np.allclose(together, mean - np.log(np.exp(mean).sum()), atol=1e-4)
    assert not np.allclose(together, scored[0], atol=1e-3)
    for scheme in ("autoregressive", "beam"):
        texts = [small_model.generate({"rgb": picture}, "caption", views=k, scheme=scheme, seed=1) for k in (1, 3)]
        batch = small_model.generate_batch(
            [{"rgb": picture[::-1]}, {"rgb": picture}], "caption", views=3, scheme=scheme
        )
        assert texts[1].tokens["caption"].tolist() == batch[1].tokens["caption"].tolist()


def first_scores(model, inputs, **how):
    """The log probabilities of the first word that `pick` is asked for."""
    found = []

    def keep(self, logits, uniform, temperature, how):
        found.append(logits.float().log_softmax(-1).numpy()[0])
        return pick(self, logits, uniform, temperature, how)

    pick = Autoregressive.pick
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autoregressive, "pick", keep)
        model.generate(inputs, "caption", **how)
    return found[0]


def test_half_of_the_draws_of_boxes_are_of_the_mirrored_picture_and_are_put_back(tiny_model, sample_values):
    """What is said to be left in the mirrored picture is right."""
    model = tiny_model("rgb", "det")
    det = model.modalities["det"]
    (inputs,) = ({"rgb": value} for value in sample_values(model.modalities["rgb"])[-1:])
    (*_, step) = model.stream(inputs, "det", samples=6, views=4)
    tokens = step.snapshot
    assert step.made.value is not None and len(tokens.draws) == 6
    assert tokens.seen == 3 * [Crop()] + 3 * [Crop(flip=True)], "half of the draws are of the mirrored picture"
    assert model.generate(inputs, "det", samples=5, views=4).run.options["det"]["views"] == 1
    with pytest.raises(GenerationError, match="half of the draws are of the mirrored one, and there are 5; leave"):
        model.generate(inputs, "det", options={"det": {"samples": 5, "views": 2}})
    boxes = [Box(0.4, 0.4, 0.6, 0.7, "cup")]
    said = [det.tokenize([det.crop(boxes, crop)])["det"][0] for crop in tokens.seen]
    (made,), doubts = det.averaged_views(said, tokens.seen)
    corners = [(b.xmin, b.ymin, b.xmax, b.ymax) for b in (made, boxes[0])]
    assert corners[0] == pytest.approx(corners[1], abs=2 / det.bins) and doubts.tolist() == [0]


def test_views_are_of_what_is_given_and_not_of_what_was_made_before(small_model, picture):
    chained = small_model.generate({"rgb": picture}, TARGETS, **MEAN, views=3, chain=True)
    apart = small_model.generate({"rgb": picture}, TARGETS, **MEAN, views=3, chain=False)
    assert np.array_equal(chained["depth"], apart["depth"]) and not np.array_equal(chained["normal"], apart["normal"])


def test_guidance_and_weights_guide_every_view(small_model, picture):
    values = [
        small_model.generate({"rgb": picture}, "depth", **MEAN, views=2, **how)["depth"]
        for how in ({}, {"guidance": 3.0}, {"weights": {"rgb": 3.0}})
    ]
    assert not np.allclose(values[0], values[1]) and not np.allclose(values[0], values[2])


@pytest.mark.parametrize(
    ("given", "target", "own", "why"),
    [
        ({"rgb": None}, "depth", {"scheme": "roar"}, "the scheme roar takes no mean"),
        ({"rgb": None, "caption": "a red car"}, "depth", {"scheme": "mean"}, "'caption' cannot be seen in another way"),
        ({}, "depth", {"scheme": "mean"}, "no picture is given"),
        ({"caption": "a red car"}, "color_palette", {}, "'caption' cannot be seen in another way"),
    ],
)
def test_where_there_are_no_views_people_who_ask_for_them_of_a_target_are_told(
    small_model, picture, given, target, own, why
):
    inputs = {name: picture if value is None else value for name, value in given.items()}
    with pytest.raises(GenerationError, match=f"'{target}' cannot be made of several views: {why}; leave 'views' at 1"):
        small_model.generate(inputs, target, options={target: {**own, "views": 2}})
    made = small_model.generate(inputs, target, views=2, **own)
    assert made.run.options[target]["views"] == 1, "of all targets it is for those that have views"


def test_a_checkpoint_that_has_views_by_default_uses_them_where_it_can(small_model, picture, monkeypatch):
    own = {"scheme": "mean", "temperature": 1.0, "views": 3}
    monkeypatch.setattr(small_model.modalities["depth"], "tuned", {"grounded": own, "free": own})

    def views(inputs, **how):
        (*_, step) = small_model.stream(inputs, "depth", **how)
        return len(step.snapshot.views) + 1

    assert views({"rgb": picture}) == 3 and views({"rgb": picture}, views=1) == 1
    assert views({"rgb": picture, "caption": "a red car"}) == views({"caption": "a red car"}) == 1
    assert views({"rgb": picture}, scheme="roar", steps=2) == 1


def test_a_target_of_which_a_part_stays_is_made_of_one_view(small_model, picture):
    depth = np.ones((32, 32), np.float32)
    mask = np.zeros((32, 32), bool)
    mask[:8] = True
    given = {"rgb": picture, "depth": depth}
    how = {"keep": {"depth": mask}, **MEAN}
    kept = [small_model.generate(given, ["depth", "normal"], **how, views=k, chain=False) for k in (1, 3)]
    for name in kept[0]:
        assert np.array_equal(kept[0][name], kept[1][name]) and kept[1].run.options[name]["views"] == 1
    with pytest.raises(GenerationError, match=r"'normal' cannot be .* views: a part of 'depth' is kept; leave"):
        small_model.generate(given, ["depth", "normal"], **how, options={"normal": {"views": 2}})


def test_a_target_that_begins_with_something_is_made_of_one_view_and_others_are_not(small_model, picture):
    how = {"start": {"caption": "a red"}, "views": 3, "chain": False, **MEAN}
    begun = small_model.generate({"rgb": picture}, ["depth", "caption"], **how)
    assert {name: each["views"] for name, each in begun.run.options.items()} == {"depth": 3, "caption": 1}
    assert np.array_equal(begun["depth"], last_step(small_model, picture, "depth", views=3).partial)
    with pytest.raises(GenerationError, match=r"'caption' cannot be .* views: it begins with what is given"):
        small_model.generate({"rgb": picture}, "caption", start=how["start"], options={"caption": {"views": 2}})


def test_what_is_made_in_tiles_is_made_of_one_view(small_model, picture):
    targets, how = ["depth", "caption"], {"size": (48, 32), **MEAN}
    large = small_model.generate({"rgb": picture}, targets, **how, views=3)
    assert {name: each["views"] for name, each in large.run.options.items()} == {"depth": 1, "caption": 1}
    for name in targets:
        with pytest.raises(GenerationError, match=rf"'{name}' cannot be .* views: it is made with a size"):
            small_model.generate({"rgb": picture}, targets, **how, options={name: {"views": 2}})


@pytest.mark.parametrize(("views", "why"), [(0, "views must be at least 1"), (65, "at most 64"), (1.5, "whole number")])
def test_numbers_of_views_that_cannot_be_are_refused(small_model, picture, views, why):
    with pytest.raises(ConfigError, match=why):
        small_model.generate({"rgb": picture}, "depth", views=views)


def test_classes_that_mirroring_makes_others_of_are_put_back_as_these(notebook):
    class Hands(am.LabelMapModality):
        """Hands, of which a mirror makes the others."""

        name, classes, size, patch = "hands", ("left", "right", "table"), 8, 4

        def mirror(self, value):
            return np.array([1, 0, 2, *range(3, 256)], np.uint8)[super().mirror(value)]

    hands = Hands(labels=[0, 1])
    logits = np.log(np.random.default_rng(0).dirichlet([1, 1, 1], (8, 8))).transpose(2, 0, 1).astype(np.float32)
    back, shown = hands.put_back(logits, Crop(flip=True))
    assert shown.all() and np.allclose(back, logits[[0, 2, 1], :, ::-1])
    assert np.array_equal(hands.postprocess(back), hands.mirror(hands.postprocess(logits)))


def test_no_more_is_decoded_at_once_than_the_views_of_one_sample(small_model, picture, monkeypatch):
    counts = []

    def counted(modality, shares, **how):
        counts.append(len(shares))
        return decoded_mean(modality, shares, **how)

    monkeypatch.setattr("anymodal.families.grids.decoded_mean", counted)
    small_model.generate_batch([{"rgb": picture}] * 5, "semseg", **MEAN, views=3)
    assert counts == [3] * 5, "a value has a number for each class and pixel"


@pytest.mark.parametrize(
    ("target", "method", "own", "why"),
    [
        ("depth", "expect", MEAN, "its class makes the value of a mean in its own way"),
        ("det", "averaged", {"samples": 4}, "its class makes one value of several draws in its own way"),
    ],
)
def test_a_class_that_makes_its_value_in_its_own_way_does_so_with_views_too(
    tiny_model, monkeypatch, target, method, own, why
):
    model = tiny_model("rgb", target)
    made = model.modalities[target].examples(np.random.default_rng(0)) or {"": np.zeros((32, 32), np.float32)}
    mine = next(iter(made.values()))
    results = {"expect": lambda self, each: [mine] * len(each), "averaged": lambda self, draws: (mine, None)}
    modality = model.modalities[target]
    monkeypatch.setattr(
        modality, "__class__", type("Own", (type(modality),), {method: results[method], "name": target})
    )
    inputs = {"rgb": np.zeros((32, 32, 3), np.uint8)}
    assert model.generate(inputs, target, views=2, **own)[target] is mine
    with pytest.raises(GenerationError, match=f"'{target}' cannot be made of several views: {why}"):
        model.generate(inputs, target, options={target: {"views": 2, **own}})


def test_what_shares_a_stream_has_a_place_where_all_of_it_has(tiny_model, vocabulary, picture):
    """The stream's own `crop` asks its members, of which those without a place stay as they are."""
    numbers, det = am.numbers("first", fields={"x": am.Number(7)})(), am.registry().modality("det")()
    ready = tiny_model("rgb", "depth").modalities
    notes = [am.SharedModality("notes", each) for each in ([numbers], [numbers, det])]
    models = [model_over(am.ModalitySet([ready["rgb"], ready["depth"], each], vocabulary)) for each in notes]
    for model in models:
        given = {"rgb": picture, "notes": {"first": {"x": 1}}}
        with pytest.raises(GenerationError, match="several views: 'notes' cannot be seen in another way"):
            model.generate(given, "depth", options={"depth": {**MEAN, "views": 2}})
        with pytest.raises(GenerationError, match="the input 'notes' is of the whole picture"):
            model.generate(given, "depth", size=(64, 32))
    assert models[0].generate({"rgb": picture}, "notes", views=2).run.options["notes"]["views"] == 2
    for own in ({"views": 2}, {"views": 2, "scheme": "beam"}):
        with pytest.raises(GenerationError, match="several views: only some of what it holds lies in the picture"):
            models[1].generate({"rgb": picture}, "notes", options={"notes": own})


def test_an_edge_is_the_mean_of_what_its_views_believe_however_far_a_decoder_goes(seven):
    """What goes beyond "certainly an edge" is no more than that, as of several draws."""
    edges, shown = seven["canny_edge"], [np.ones((1, 1), bool)] * 2
    tensors = [np.full((1, 1, 1), each, np.float32) for each in (3, -1)]
    assert edges.postprocess(edges.mean_tensor(tensors, shown)) == pytest.approx(127.5, abs=0.5)
