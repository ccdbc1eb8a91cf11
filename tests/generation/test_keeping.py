"""Targets of which a part is kept: pictures by a mask, words, boxes, numbers, colors; and what cannot be kept."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import anymodal as am
from anymodal.errors import GenerationError, UnknownModality
from anymodal.families.blanks import prompt, text_pieces, written
from anymodal.families.seams import membrane, seamless
from anymodal.generation.infill import Text, room_beside
from anymodal.spaces import TokenSpace

HOW: dict[str, Any] = {"steps": 3, "temperature": 1.0}


def step_at_border(picture: np.ndarray, kept: np.ndarray) -> float:
    """The mean step between neighboring pixels of which one is kept."""
    values = picture.astype(float).reshape(*picture.shape[:2], -1).mean(-1)
    across = np.concatenate([np.abs(np.diff(values, axis=a))[np.diff(kept, axis=a) != 0] for a in (0, 1)])
    return float(across.mean()) if len(across) else 0.0


def step_inside(picture: np.ndarray) -> float:
    values = picture.astype(float).reshape(*picture.shape[:2], -1).mean(-1)
    return float(np.mean([np.abs(np.diff(values, axis=a)).mean() for a in (0, 1)]))


# Grids.


@given(
    st.integers(0, 2**30), st.sampled_from(["rgb", "depth", "semseg"]), st.sampled_from(["roar", "maskgit", "remask"])
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kept_tokens_and_pixels_are_those_of_the_input(small_model, seed, name, scheme):
    rng = np.random.default_rng(seed)
    values = {
        "rgb": rng.integers(0, 256, (32, 32, 3), dtype=np.uint8),
        "depth": rng.random((32, 32)).astype(np.float32) + 0.5,
        "semseg": rng.integers(0, 20, (32, 32), dtype=np.uint8),
    }
    value, mask = values[name], rng.random((32, 32)) < 0.5
    mask[:16] = rng.random() < 0.5
    out = small_model.generate({name: value}, name, keep={name: mask}, scheme=scheme, seed=seed % 1000, **HOW)
    original = small_model.accept({name: value})[name]
    assert np.array_equal(out[name][mask], original[mask]) and out[name].dtype == original.dtype
    ids = small_model.tokenize({name: value})[name]
    whole = mask.reshape(4, 8, 4, 8).all((1, 3)).ravel()
    assert np.array_equal(out.tokens[name][whole], ids[whole]) and len(out.tokens[name]) == 16


def test_masks_are_cut_like_their_pictures(small_model, tmp_path):
    """A wide picture: of the left half of its centered square everything is kept."""
    wide = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    mask = np.zeros((64, 128), np.uint8)
    mask[:, :64] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(wide).save(tmp_path / "wide.png")
    original = small_model.accept({"rgb": wide})["rgb"]
    for kept in (mask, mask > 0, tmp_path / "mask.png", Image.fromarray(mask), mask[::2, ::2]):
        out = small_model.generate({"rgb": tmp_path / "wide.png"}, "rgb", keep={"rgb": kept}, seed=1, **HOW)
        assert np.array_equal(out["rgb"][:, :16], original[:, :16])
        assert not np.array_equal(out["rgb"][:, 16:], original[:, 16:])
        assert np.array_equal(
            out.tokens["rgb"].reshape(4, 4)[:, :2], small_model.tokenize({"rgb": wide})["rgb"].reshape(4, 4)[:, :2]
        )
    with pytest.raises(GenerationError, match=r"the mask of 'rgb' has 64 x 64 pixels, another shape than its picture"):
        small_model.generate({"rgb": wide}, "rgb", keep={"rgb": np.ones((64, 64))})


@pytest.mark.parametrize("cls", [am.feature_map("notes", channels=1), am.edge_map("outline")])
def test_of_a_finer_mask_all_of_a_place_has_to_be_kept(cls, monkeypatch):
    """A place is not known by the pixel in its middle alone."""
    modality = cls(size=32, patch=8)
    monkeypatch.setattr(cls, "ids_at", lambda self, values, size: [np.arange(16)])
    mask = np.ones((96, 96), bool)
    mask[0, 0] = mask[95, 30:50] = False
    value = np.zeros((modality.cells, modality.cells, 1)[: 3 if modality.cells == 4 else 2], np.float32)
    partial = modality.partial(value, mask)
    assert partial.positions.tolist() == [k for k in range(16) if k not in (0, 13, 14)]
    fine = 96 // modality.cells
    kept = mask.reshape(modality.cells, fine, modality.cells, fine).all((1, 3))
    assert np.array_equal(np.atleast_3d(partial.finish(value + 1, np.arange(16)))[..., 0], ~kept)


@pytest.mark.parametrize("how", [{"scheme": "roar"}, {"scheme": "mean"}, {"scheme": "maskgit", "samples": 2}])
def test_masks_of_everything_and_of_nothing(small_model, picture, how):
    original = small_model.accept({"depth": np.full((48, 64), 0.7)})["depth"]
    inputs, common = {"rgb": picture, "depth": np.full((48, 64), 0.7)}, {**HOW, **how, "seed": 1}
    whole = small_model.generate(inputs, "depth", keep={"depth": np.ones((48, 64))}, **common)
    assert np.array_equal(whole["depth"], original)
    none = small_model.generate(inputs, "depth", keep={"depth": np.zeros((48, 64))}, **common)
    alone = small_model.generate({"rgb": picture}, "depth", **common)
    assert np.array_equal(none.tokens["depth"], alone.tokens["depth"]) and np.array_equal(none["depth"], alone["depth"])


def test_what_is_kept_is_a_condition_and_steps_show_it(small_model, picture):
    mask = np.zeros((48, 64), bool)
    mask[:, :32] = True
    inputs, how = {"caption": "a red car", "rgb": picture}, {"keep": {"rgb": mask}, "seed": 4, **HOW}
    steps = list(small_model.stream(inputs, ["depth", "rgb"], **how))
    out = small_model.generate(inputs, ["depth", "rgb"], **how)
    assert np.array_equal(steps[-1].partial, out["rgb"]) and out["depth"].shape == (32, 32)
    assert all(len(step.tokens) >= 8 for step in steps if step.target == "rgb")
    other = small_model.generate(inputs | {"rgb": 255 - picture}, ["depth", "rgb"], **how)
    assert not np.array_equal(other.tokens["depth"], out.tokens["depth"])
    batch = small_model.generate_batch(
        [{"caption": "a cup"}, inputs], ["depth", "rgb"], keep=[{}, how["keep"]], seed=3, **HOW
    )
    assert np.array_equal(batch[1].tokens["rgb"], out.tokens["rgb"]) and out.run.kept == ("rgb",)


@given(st.integers(0, 2**30), st.integers(8, 48), st.integers(8, 48))
@settings(max_examples=15, deadline=None)
def test_no_seam_is_seen(seed, rows, columns):
    """Smooth pictures of which one is brighter: the step at the border is no larger than inside."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    waves = lambda: 128 + 40 * np.sin(x / 5 + rng.random() * 6) + 20 * np.cos(y / 4 + rng.random() * 6)  # noqa: E731
    first = waves()
    value = np.repeat(first[..., None], 3, 2).astype(np.uint8)
    made = np.clip(np.repeat((first + rng.integers(-60, 60))[..., None], 3, 2), 0, 255).astype(np.uint8)
    kept = np.zeros((rows, columns), bool)
    kept[: rng.integers(2, rows - 2), : rng.integers(2, columns - 2)] = True
    joined = seamless(value, made, kept)
    assert np.array_equal(joined[kept], value[kept]) and joined.dtype == np.uint8
    assert step_at_border(joined, kept) <= step_inside(value) * 1.5 + 1.5


def test_a_membrane_is_flat_between_equal_borders_and_a_ramp_between_others():
    known = np.zeros((17, 17), bool)
    known[:, 0] = known[:, -1] = True
    values = np.zeros((17, 17, 1))
    values[:, 0], values[:, -1] = 3.0, 3.0
    assert np.allclose(membrane(values, known), 3.0)
    values[:, 0] = 1.0
    ramp = membrane(values, known)[8, :, 0]
    assert np.allclose(ramp, np.linspace(1, 3, 17), atol=0.25) and (np.diff(ramp) > -1e-6).all()


def test_numbers_stay_between_low_and_high_where_they_join():
    heat, kept = am.image("heat", channels=1, size=32, patch=8)(), np.arange(32)[None] < np.full((32, 1), 16)
    value, made = np.full((32, 32), 0.9, np.float32), np.full((32, 32), 0.2, np.float32)
    made[:, 24:] = 0.8
    joined = heat.joined(value, made, kept)
    assert np.allclose(joined[:, :24], 0.9, atol=0.01) and (joined[:, 24:] == 1).all()


def test_values_without_a_number_spread_nothing():
    value, kept = np.full((8, 8), np.nan, np.float32), np.ones((8, 8), bool)
    kept[4:] = False
    made = np.ones((8, 8), np.float32)
    joined = seamless(value, made, kept)
    assert np.isnan(joined[:4]).all() and np.array_equal(joined[4:], made[4:])


def test_open_files_are_read_once(small_model):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(buffer, "PNG")
    for target, how in (("rgb", {"keep": {"rgb": np.eye(32, 48)}}), ("caption", {"start": {"caption": "a red"}})):
        buffer.seek(0)
        out = small_model.generate({"rgb": buffer}, target, seed=1, **how, **(HOW if target == "rgb" else {}))
        assert not out.inputs["rgb"].any()


# Words.


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a ___ car", ["a", None, "car"]),
        ("__ on a ____", [None, "on a", None]),
        ("___ ___ x", [None, "x"]),
        ("___", [None]),
        ("a_b", ["a_b"]),
    ],
)
def test_blanks_part_a_text(text, pieces):
    assert text_pieces(text) == pieces


@given(st.integers(0, 10**6), st.floats(0.1, 3.0))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_kept_word_is_in_the_answer_in_order(small_model, seed, temperature):
    rng = np.random.default_rng(seed)
    words = [
        str(w) for w in rng.choice(["a", "red", "car", "on", "the", "table", "dog", "___", "___"], rng.integers(1, 9))
    ]
    text = " ".join([*words, "___"])
    scheme = "beam:2" if seed % 3 == 0 else "autoregressive"
    out = small_model.generate(
        {"depth": np.ones((32, 32)), "caption": text}, "caption", keep={"caption": True}, scheme=scheme,
        temperature=temperature, seed=seed,
    )  # fmt: skip
    left = iter(out["caption"].split())
    assert all(word in left for word in words if word != "___") and "_" not in out["caption"]


def test_kept_words_stay_whatever_they_are():
    """Two hash signs at the start of a word that is written say that it goes on; in kept words they are themselves."""
    text = am.TextModality()
    assert text.joined("", ["a re", None], ["##d ## car"]) == "a red ## car"
    assert text.joined("", ["see ## here", None, "## and"], ["now"]) == "see ## here now ## and"


def test_no_blank_stays_empty(small_model):
    for seed in range(6):
        how = {"keep": {"caption": True}, "temperature": 3.0, "seed": seed}
        out = small_model.generate({"depth": np.ones((32, 32)), "caption": "red ___ car ___"}, "caption", **how)
        _, between = out["caption"].split("red", 1)
        assert between.split("car", 1)[0].strip() and between.rsplit("car", 1)[1].strip()


SPACE = TokenSpace.sequence(100, 20, sentinels=(4, 20), end=3)
PIECES = st.lists(st.one_of(st.none(), st.lists(st.integers(30, 34), min_size=1, max_size=3)), min_size=1, max_size=6)


@given(PIECES, st.integers(0, 2**30))
def test_what_was_written_into_holes_is_found_again(pieces, seed):
    """Whatever is written, known tokens stay, all in order; spans of other ids come back exactly."""
    apart = [p for k, p in enumerate(pieces) if k == 0 or (p is None) != (pieces[k - 1] is None)]
    known = [None if p is None else np.array(p) for p in apart]
    asked = prompt(known, SPACE, "words")
    text, rng = Text(asked, SPACE, room_beside(asked, SPACE)), np.random.default_rng(seed)
    while not text.done and len(text.written) < 2 * SPACE.length:
        text.add(int(rng.choice([3, 5, 6, 60, 61, 62, 63, 64, 65])))
    ids = text.value(SPACE.length)
    flat = [int(i) for p in known if p is not None for i in p]
    if flat:
        assert [i for i in ids.tolist() if 30 <= i < 35] == flat and len(ids) <= SPACE.length
        spans = written(ids, known, SPACE.end)
        assert sum(map(len, spans)) + len(flat) == len(ids) - 1 and len(spans) == sum(p is None for p in known)


def test_pictures_in_open_files_are_kept_in_part_as_others_are(small_model, picture):
    """They are read for the mask too, and for every sample of a batch."""
    buffer, mask = io.BytesIO(), np.arange(64) < np.full((48, 1), 32)
    Image.fromarray(picture).save(buffer, "png")
    buffer.seek(0)
    wanted = small_model.generate({"rgb": picture}, "rgb", keep={"rgb": mask}, seed=1, steps=1)
    made = small_model.generate_batch([{"rgb": buffer}] * 2, "rgb", keep={"rgb": mask}, seed=[1, 1], steps=1)
    assert all(np.array_equal(each["rgb"], wanted["rgb"]) for each in made)


# Boxes, numbers, colors.


def test_values_without_parts_are_refused_in_one_sentence(small_model, picture):
    inputs = {"rgb": picture, "caption": "a car", "depth": np.ones((32, 32))}
    mask = np.ones((48, 64))
    cases: list[tuple[Any, str, str]] = [
        ({"depht": mask}, "depth", "keep names 'depht', which is not an input; did you mean 'depth'"),
        ({"normal": mask}, "normal", "keep names 'normal', which is not an input"),
        (["rgb"], "rgb", "keep is a dict such as"),
        ({"rgb": "x"}, "rgb", "no such file"),
        ({"rgb": np.ones(3)}, "rgb", "a mask of 'rgb' is a picture or an array"),
        ({"caption": True}, "caption", "caption is kept by True, as a text with blanks"),
        ({"caption": [1]}, "caption", "caption is kept by True, as a text with blanks"),
    ]
    for keep, target, words in cases:
        with pytest.raises(am.AnymodalError, match=words):
            small_model.generate(inputs, target, keep=keep)
    with pytest.raises(GenerationError, match="both an input and a target; leave out one, or say with keep"):
        small_model.generate(inputs, "depth")
    with pytest.raises(UnknownModality):
        small_model.generate(inputs, "dpeth")
    with pytest.raises(GenerationError, match="keep names 'rgb', which is not a target"):
        small_model.generate(inputs, "normal", keep={"rgb": mask})
    with pytest.raises(GenerationError, match="keep has 2 entries for 1 sample;"):
        small_model.generate_batch([inputs], "depth", keep=[{}, {}])


def test_colors_that_are_given_stay_and_others_are_found(small_model):
    given = np.array([[255, 0, 0], [1, 2, 3]], np.uint8)
    inputs = {"depth": np.ones((32, 32)), "color_palette": given}
    out = small_model.generate(inputs, "color_palette", keep={"color_palette": True}, seed=2)
    assert np.array_equal(out["color_palette"][:2], given) and out["color_palette"].dtype == np.uint8
    one = small_model.generate(inputs, "color_palette", keep={"color_palette": [1]}, seed=2)
    assert np.array_equal(one["color_palette"][:1], given[1:])


def test_kept_boxes_numbers_and_instances_are_unchanged():
    """Without a model: what the modalities make of what was written."""
    from anymodal_det import Box, Det

    vocabulary_free = Det()
    kept, pieces = vocabulary_free.pieces([Box(0.1, 0.2, 0.5, 0.6, "car"), Box(0, 0, 1, 1, "dog")], [1])
    assert kept == [Box(0, 0, 1, 1, "dog")] and pieces == ["v0=0 v1=0 v2=999 v3=999 dog", None]
    made = vocabulary_free.joined(kept, pieces, ["v0=0 v1=0 v2=500 v3=500 cup"])
    assert made[0] == kept[0] and [b.class_name for b in made] == ["dog", "cup"]
    with pytest.raises(GenerationError, match="'det' has no part 2 that could be kept; it has 0 to 1"):
        vocabulary_free.pieces([*kept, *kept], [2])
    assert vocabulary_free.pieces([*kept, *kept], [np.int64(1)])[0] == kept
    for strange in (0.0, np.float32(1), True, "0", [0]):
        with pytest.raises(GenerationError, match=r"'det' has no part .* that could be kept; it has 0 to 1"):
            vocabulary_free.pieces([*kept, *kept], [strange])
    with pytest.raises(GenerationError, match="a list of numbers of its parts, got 'x'"):
        vocabulary_free.pieces(kept, "x")


def test_kept_boxes_and_people_of_several_draws_are_as_they_were():
    """Draws are put together of what they made: a mean of what was given would be another, with another score."""
    from anymodal_det import Box, Det

    kept, pieces = [Box(0.1, 0.2, 0.33333, 0.6, "car", 0.7), Box(0, 0, 1, 1, "dog")], ["", None]
    made = "v0=0 v1=0 v2=500 v3=500 cup"
    value, doubts = Det().united(kept, pieces, [[made], [made], [""], [made]])
    assert value[:2] == kept and [(b.class_name, b.score) for b in value[2:]] == [("cup", 0.75)]
    assert doubts.dtype == np.float32 and doubts.tolist() == [0, 0, 0.25]
    people = am.registry().modality("human_poses")()
    (person,) = people.accept(people.examples(np.random.default_rng(0))["one"])
    (same,), doubts = people.united([person], pieces, [["none"], ["none"]])
    assert same is person and doubts.tolist() == [0]


def test_parts_are_numbered_as_they_are_given():
    """Beside a wide picture, of which the middle is seen; a box that lies outside of it is the first of three."""
    from anymodal_det import Box

    from anymodal.testing.tiny import tiny_model

    boxes = [Box(0, 0, 0.2, 1, "cup"), Box(0.3, 0.2, 0.5, 0.6, "car", 0.4), Box(0.5, 0.2, 0.7, 0.6, "dog")]
    model, given = tiny_model(["rgb", "det"]), {"rgb": np.zeros((32, 64, 3), np.uint8), "det": boxes}
    first = model.generate(given, "det", keep={"det": [1]}, seed=0)["det"][0]
    assert first.class_name == "car" and np.allclose(first.corners, (0.1, 0.2, 0.5, 0.6))
    with pytest.raises(GenerationError, match="1 of the 2 parts of 'det' that are kept lie outside of the square"):
        model.generate(given, "det", keep={"det": [0, 2]}, seed=0)


@pytest.mark.parametrize("name", ["det", "human_poses", "sam_instance"])
def test_that_nothing_is_kept_is_not_told_as_if_there_were_none(name):
    one = am.registry().modality(name)()
    assert one.pieces([], True) == one.pieces(one.examples(np.random.default_rng(0))["one"], []) == ([], [None])


def test_boxes_that_are_kept_are_told_however_sure_they_are():
    from anymodal_det import Box, Det

    unsure = Box(0, 0, 1, 1, "dog", 0.4)
    assert Det().pieces([unsure], True) == ([unsure], ["v0=0 v1=0 v2=999 v3=999 dog", None])
    assert Det().started([unsure]) == ([unsure], ["v0=0 v1=0 v2=999 v3=999 dog"])


def test_given_numbers_stay_and_the_rest_is_predicted():
    modality = am.registry().modality("metadata_image")()
    names = list(modality.fields)[:3]
    value = {names[0]: modality.fields[names[0]].value(3), names[1]: modality.fields[names[1]].value(2)}
    kept, pieces = modality.pieces(value, [names[0]])
    assert kept == {names[0]: value[names[0]]} and len(pieces) == 2 and pieces[1] is None
    written_again = modality.spell(
        {names[0]: modality.fields[names[0]].value(7), names[2]: modality.fields[names[2]].value(1)}
    )
    made = modality.joined(kept, pieces, [written_again])
    assert made[names[0]] == value[names[0]] and set(made) == {names[0], names[2]}
