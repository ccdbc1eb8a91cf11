"""Pictures larger than the model's: where tiles lie, how they are blended, and what has no place in them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.crops import Crop
from anymodal.errors import AnymodalError, ConfigError, GenerationError
from anymodal.generation import large
from anymodal.generation.tiles import Tiles, cut_to_shape, tiles_of
from anymodal.model import ModelConfig
from anymodal.outputs import Outputs
from anymodal.plugins.registry import registry
from anymodal.tokenizers.tokenizer import VQTokenizer

SHAPES = st.tuples(st.integers(2, 6), st.integers(0, 9), st.integers(0, 9), st.floats(0.05, 0.75))


def tiles_in(shape: tuple[int, int, int, float], unit: int = 4) -> Tiles:
    side, wider, higher, overlap = shape
    possible = min(overlap, (side - 1) / side)
    return tiles_of(((side + wider) * unit, (side + higher) * unit), possible, side * unit, unit)


def meet(tiles: Tiles, one: int, other: int) -> bool:
    return all(abs(a - b) < tiles.side for a, b in zip(tiles.corners[one], tiles.corners[other], strict=True))


def steps_at(picture: np.ndarray, columns: set[int]) -> float:
    """The mean step between the pixels on both sides of some vertical lines."""
    values = picture.astype(float).reshape(*picture.shape[:2], -1)
    return float(np.mean([np.abs(values[:, c] - values[:, c - 1]).mean() for c in columns]))


@given(SHAPES)
@settings(max_examples=25, deadline=None)
def test_tiles_cover_the_picture_begin_at_squares_and_share_enough(shape):
    tiles = tiles_in(shape)
    for starts, length in ((tiles.lefts, tiles.width), (tiles.tops, tiles.height)):
        assert starts[0] == 0 and starts[-1] + tiles.side == length and not any(at % 4 for at in starts)
        assert all(0 < after - before <= tiles.side - tiles.shared for before, after in pairwise(starts))
    assert tiles.shared >= 4 and tiles.overlap >= min(shape[3], (shape[0] - 1) / shape[0]) - 1e-9


@given(SHAPES)
@settings(max_examples=25, deadline=None)
def test_tiles_that_meet_follow_one_another(shape):
    """Those of one wave are made together, so none of them meet; each tile comes once."""
    tiles = tiles_in(shape)
    waves = tiles.waves()
    assert sorted(n for wave in waves for n in wave) == list(range(len(tiles.corners)))
    for wave in waves:
        assert not any(meet(tiles, one, other) for one in wave for other in wave if one < other)
    order = {number: k for k, wave in enumerate(waves) for number in wave}
    for number in range(len(tiles.corners)):  # what is above, or left of it in its row, was made before
        assert all(order[n] < order[number] for n in range(number) if meet(tiles, n, number))


@given(SHAPES, st.sampled_from([4, 1]), st.integers(0, 2**30))
@settings(max_examples=20, deadline=None)
def test_tiles_of_one_picture_are_that_picture_and_differences_leave_no_seam(shape, cell, seed):
    """Tiles whose brightness differs by 1 make no step of more than the fade of one pixel."""
    tiles, rng = tiles_in(shape), np.random.default_rng(seed)
    whole = rng.random((2, tiles.height // cell, tiles.width // cell)).astype(np.float32)
    side = tiles.side // cell
    cut = [whole[:, t // cell :, x // cell :][:, :side, :side] for x, t in tiles.corners]
    assert np.allclose(tiles.blended(cut), whole, atol=1e-6)
    bright = [each * 0 + rng.random() for each in cut]
    blended = tiles.blended(bright)
    for axis in (1, 2):
        assert np.abs(np.diff(blended, axis=axis)).max(initial=0) <= 2 / max(tiles.shared // cell, 1) + 1e-6


@pytest.mark.parametrize(("asked", "squares"), [(0.25, 2), (0.3, 3), (0.375, 3), (0.01, 1), (0.75, 6)])
def test_an_overlap_is_rounded_up_to_whole_tokens(asked, squares):
    tiles = tiles_of((192, 128), asked, 64, 8)
    assert (tiles.shared, tiles.overlap) == (8 * squares, squares / 8)
    assert tiles_of((192, 128), tiles.overlap, 64, 8) == tiles


def test_an_overlap_of_whole_tiles_is_refused():
    with pytest.raises(ConfigError, match=r"overlap 0\.75 is all of a tile of 2 x 2 tokens: take at most 0\.5"):
        tiles_of((48, 48), 0.75, 16, 8)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_what_was_cut_to_a_shape_is_not_cut_again(wide, high, width, height):
    crop = cut_to_shape((wide, high), width * 8, height * 8)
    kept = round(crop.width * wide), round(crop.height * high)
    assert min(kept) >= 1 and cut_to_shape(kept, width * 8, height * 8) == Crop()


@pytest.mark.parametrize("target", ["depth", "semseg", "rgb"])
def test_one_tile_is_what_generate_makes(small_model, picture, target):
    inputs = {"rgb": picture} if target != "rgb" else {"depth": picture[..., 0].astype(np.float32) / 99 + 0.5}
    scheme = "mean" if target == "depth" else "halton"
    plain = small_model.generate(inputs, target, scheme=scheme, steps=2, seed=4)
    tiled = small_model.generate(inputs, target, scheme=scheme, steps=2, seed=4, size=(32, 32))
    same = np.allclose if target == "depth" else np.array_equal
    assert same(plain[target], tiled[target])


def test_conditions_are_cut_alike_and_neighbors_go_on_with_one_another(small_model, picture, monkeypatch):
    """Every tile sees its part of all that has a place; tokens that neighbors share are decided once."""
    seen, decided = [], {}
    original = large.Large._states

    def states(self, known, crops, names):
        found = original(self, known, crops, names)
        seen.extend(
            (crop, sorted(name.split(".")[0] for name in state.streams))
            for crop, state in zip(crops, found, strict=True)
        )
        return found

    monkeypatch.setattr(large.Large, "_states", states)
    depth = np.linspace(1, 5, 96 * 128, dtype=np.float32).reshape(96, 128)  # twice as fine as the picture

    def watch(step):
        if step.target == "semseg":
            decided.setdefault(step.sample, []).append(step.decided)

    out = small_model.generate(
        {"rgb": picture, "depth": depth},
        ["semseg", "normal"],
        size="input",
        overlap=0.5,
        scheme="roar",
        steps=2,
        temperature=1.0,
        progress=watch,
    )
    assert out["semseg"].shape == (48, 64) and out["normal"].shape == (48, 64, 3)
    assert [names for _, names in seen] == [["depth", "rgb"]] * 6 + [["depth", "rgb", "semseg"]] * 6
    assert len({crop for crop, _ in seen}) == 6
    counts = [sum(map(len, decided[k])) for k in range(6)]  # 4 x 4 squares, of which neighbors have half
    assert counts == [16, 8, 8, 8, 4, 4] and sum(counts) == 6 * 8
    assert out.schemes == {"semseg": "tiles", "normal": "tiles"} and out.tokens == {}


@pytest.mark.parametrize("chain", [True, False])
def test_chained_targets_have_choices_of_their_own(small_model, picture, chain, monkeypatch):
    """The same numbers for each would tie what is drawn of one to what was drawn of the other."""
    numbers, original = {}, large.Large._run

    def run(self, transformer, target, states, rngs, *more):
        numbers.setdefault(target.stream, []).extend(rng.copy().uniform(1).item() for rng in rngs)
        original(self, transformer, target, states, rngs, *more)

    monkeypatch.setattr(large.Large, "_run", run)
    how = {"size": "input", "steps": 1, "scheme": "roar", "temperature": 1.0, "chain": chain}
    small_model.generate({"rgb": picture}, ["semseg", "normal"], **how)
    tiles = len(numbers["semseg"])
    assert tiles > 1 and len({*numbers["semseg"], *numbers["normal"]}) == (2 * tiles if chain else tiles)


def test_what_has_no_place_is_made_of_the_whole_picture(small_model, picture):
    out = small_model.generate({"rgb": picture}, ["caption", "depth"], size="input")
    assert isinstance(out["caption"], str) and out["depth"].shape == (48, 64) and list(out.tokens) == ["caption"]
    several = {"caption": {"samples": 3}}
    drawn = small_model.generate({"rgb": picture}, ["caption", "depth"], size="input", options=several)
    assert drawn.uncertainty["caption"].shape == (len(drawn["caption"].split()),)
    squeezed = np.asarray(small_model.modalities["rgb"].crop(picture, Crop()))
    assert small_model.generate({"rgb": squeezed}, "caption")["caption"] == out["caption"]


def test_a_picture_in_tiles_is_saved_read_and_made_again(small_model, picture, tmp_path):
    out = small_model.generate({"rgb": picture}, ["depth", "semseg"], size=(64, 40), overlap=0.3, seed=3)
    out.save(tmp_path)
    back = Outputs.load(tmp_path)
    assert back == out and back.run is not None
    run = back.run
    assert run.size == (64, 40) and run.overlap == 0.5 and back.inputs["rgb"].shape == (40, 64, 3)  # 2 of 4 tokens
    again = small_model.generate(back.inputs, ["depth", "semseg"], size=run.size, overlap=run.overlap, seed=run.seed)
    assert np.array_equal(again["semseg"], out["semseg"]) and np.array_equal(again["depth"], out["depth"])
    with pytest.raises(GenerationError, match="no tokens decode to it"):
        out.decoded("depth")
    with pytest.raises(GenerationError, match="cannot be upscaled"):
        small_model.upscale(out)


def coarser(name: str, **settings: int) -> am.Modality:
    """A modality with a random tokenizer."""
    modality = registry().modality(name)(codebook=64, latent=8, **settings)
    side = {"dim": 16, "depth": 1, "heads": 2}
    modality.tokenizer = VQTokenizer(modality.tokenizer_config(side, side)).eval()
    return modality


def test_a_target_of_fewer_pixels_is_made_of_the_same_tiles(vocabulary, picture):
    torch.manual_seed(0)
    members = [
        coarser("depth", size=32, patch=8),
        coarser("rgb", size=32, patch=8),
        coarser("canny_edge", size=16, patch=4),
    ]
    model = am.AnyModel(
        am.ModalitySet(members, vocabulary), ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2)
    )
    out = model.generate({"rgb": picture}, ["canny_edge", "depth"], size=(64, 40), seed=1)
    assert out["depth"].shape == (40, 64) and out["canny_edge"].shape == (20, 32)
    alone = model.generate({"rgb": picture}, "canny_edge", size=(32, 20), seed=1)
    assert alone["canny_edge"].shape == (20, 32)
    whole = model.generate({"rgb": picture}, ["canny_edge", "depth"], size=(32, 32), seed=1)
    assert np.array_equal(whole["canny_edge"], model.generate({"rgb": picture}, "canny_edge", seed=1)["canny_edge"])


def test_squares_that_do_not_fit_into_pixels_are_told(vocabulary, picture):
    members = [coarser("rgb", size=32, patch=8), coarser("canny_edge", size=24, patch=8)]
    model = am.AnyModel(
        am.ModalitySet(members, vocabulary), ModelConfig(dim=32, encoder_depth=1, decoder_depth=1, heads=2)
    )
    with pytest.raises(GenerationError, match="3 x 3 tokens of 'canny_edge' do not fit into the 32 pixels of 'rgb'"):
        model.generate({}, ["rgb", "canny_edge"], size=(64, 64))


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "says"),
    [
        (["caption"], "rgb", {"size": (64, 64)}, "'caption' is of the whole picture and has no place in a tile"),
        (["rgb"], "caption", {"size": (64, 64)}, "none of them does"),
        (["rgb"], "depth", {"size": (60, 64)}, "take 64 x 64"),
        (["rgb"], "depth", {"size": (16, 64)}, "smaller than the model's 32 x 32"),
        (["rgb"], "depth", {"size": (10**7, 10**7)}, "at most 4096"),
        (["rgb"], "depth", {"size": "large"}, "size is"),
        (["rgb"], "depth", {"size": (64.5, 64)}, "64.5"),
        (["rgb"], "depth", {"size": (64, 64), "overlap": 0.9}, "overlap is above 0"),
        (["rgb"], "depth", {"size": (64, 64), "samples": 2}, "leave 'samples' at 1"),
        (["rgb"], "rgb", {"size": (64, 64), "keep": {"rgb": np.ones((48, 64), bool)}}, "leave out size"),
        ([], "depth", {"size": "input"}, "say which"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(small_model, picture, inputs, targets, options, says):
    values = {"rgb": picture, "caption": "a car"}
    with pytest.raises(AnymodalError, match=says) as caught:
        small_model.generate({name: values[name] for name in inputs}, targets, **options)
    assert "\n" not in str(caught.value)


def test_no_seam_is_seen_where_tiles_meet():
    """On the embedded model: steps at the edges of tiles are no larger than at those of other squares."""
    model = am.load("tiny", modalities=["rgb", "depth"])
    side, patch = model.modalities["rgb"].size, model.modalities["rgb"].patch
    wide = side * 5 // 2
    rows, columns = np.mgrid[0:side, 0:wide] * 64 / side
    ramps = np.stack([rows * 3, columns, 255 - columns], -1).astype(np.uint8)
    depth = model.generate({"rgb": ramps}, "depth", size=(wide, side))["depth"]
    squares = set(range(patch, wide, patch))
    edges = {at for tile in range(3) for at in (tile * side * 3 // 4, tile * side * 3 // 4 + side)} & squares
    inside = squares - edges
    assert steps_at(depth, edges) <= 1.25 * steps_at(depth, inside)


def test_a_modality_that_covers_the_picture_without_squares_is_refused(small_model, picture, monkeypatch):
    monkeypatch.setattr(type(small_model.modalities["caption"]), "aligned", True)
    with pytest.raises(GenerationError, match="no grid of squares"):
        small_model.generate({"rgb": picture}, "caption", size="input")
