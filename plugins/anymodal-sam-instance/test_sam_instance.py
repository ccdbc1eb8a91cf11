from __future__ import annotations

import numpy as np
import pytest
import torch
from anymodal_sam_instance import SamInstance
from anymodal_sam_labeler import SamLabeler
from anymodal_sam_outlines import Instance, area, clipped, polygon_area
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.overrides import TorchFunctionMode

from anymodal import Crop
from anymodal.errors import CheckpointError, ValueProblem
from anymodal.testing import conformance
from anymodal.text import parse_value
from anymodal.tokenizers.tokenizer import VQTokenizer

test_conformance = conformance("sam_instance")

SMALL = {"dim": 16, "depth": 1, "heads": 2}
numbers = st.builds("v{}={}".format, st.integers(0, 3), st.integers(0, 700))
words = st.one_of(numbers, st.sampled_from(["point", "polygon", "none"]), st.text(max_size=4))
texts = st.lists(words, max_size=60).map(" ".join)
boxes = st.lists(st.integers(0, 224), min_size=4, max_size=4)


@pytest.fixture(scope="module")
def sam() -> SamInstance:
    torch.manual_seed(0)
    modality = SamInstance(latent=8)
    modality.tokenizer = VQTokenizer(modality.tokenizer_config(SMALL, SMALL)).eval()
    return modality


def square(x0: float, y0: float, x1: float, y1: float) -> Instance:
    return Instance((np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]),))


@pytest.mark.parametrize("codebook", [2, 7, 64])
def test_every_code_is_read_as_it_is_spelled(codebook):
    """Also the last one of an odd number of codes, whose second half is larger."""
    one = SamInstance(codebook=codebook)
    ids = np.arange(codebook - 16, codebook) % codebook
    assert one.read_codes([parse_value(word) for word in one.spell_codes(ids)]).tolist() == ids.tolist()
    assert one.read_codes([(0, codebook // 2)] * 16) is one.read_codes([(1, codebook - codebook // 2)] * 16) is None


@given(texts)
@settings(deadline=None)
def test_any_text_is_parsed_into_instances_that_are_accepted(sam, text):
    assert sam.accept(sam.parse(text)) is not None


@given(boxes, st.lists(st.integers(0, 1023), min_size=16, max_size=16))
@settings(deadline=None, max_examples=25)
def test_every_whole_polygon_gives_at_most_one_instance_inside_its_box(sam, box, codes):
    ids = [f"v0={c}" if c < 512 else f"v1={c - 512}" for c in codes]
    polygon = " ".join(["polygon", *(f"v{k}={v}" for k, v in enumerate(box)), *ids])
    found = sam.parse(f"point v0=1 v1=2 {polygon} point v0=9 v1=9 {polygon} none polygon v0=1")
    assert len(found) <= (box[0] < box[2] and box[1] < box[3])
    for instance in found:
        assert instance.codes.tolist() == codes
        low, high = np.array(instance.box[:2]) * 224, np.array(instance.box[2:]) * 224
        assert (low >= np.array(box[:2]) - 1e-6).all() and (high <= np.array(box[2:]) + 1e-6).all()


def test_the_points_are_inside_the_largest_instances_and_say_what_contains_them(sam):
    large, small = square(0, 0, 0.5, 0.5), square(0.6, 0.6, 0.8, 0.9)
    first, second = sam.chunks([small, large])
    assert first.startswith("point v0=") and "polygon v0=0 v1=0 v2=112 v3=112" in first
    assert "polygon v0=134 v1=134 v2=179 v3=202" in second
    assert len(first.split()) == 3 + 21
    assert SamInstance().spell([]) == "point v0=112 v1=112 none"


def test_drawn_points_are_many_and_repeatable(sam):
    value = [square(0, 0, 0.5, 1), square(0.2, 0.2, 0.9, 0.9)]
    texts = [sam.spell(value, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].split().count("point") == 7


def test_without_a_tokenizer_the_error_says_so(sam):
    value = [square(0, 0, 1, 1)]
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        SamInstance().spell(value)
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        SamInstance().parse(sam.spell(value))


def test_a_map_of_instances_is_read(tmp_path):
    labels = np.zeros((40, 60), np.uint8)
    labels[5:15, 10:30], labels[20:38, 35:50], labels[20:24, 5:9] = 1, 2, 2
    Image.fromarray(labels).save(tmp_path / "a.png")
    sam = SamInstance()
    two, one = sam.read(tmp_path / "a.png")
    assert np.allclose(one.box, (10 / 60, 5 / 40, 30 / 60, 15 / 40), atol=0.005) and len(two.outlines) == 2
    assert np.array_equal(one.pixels(60, 40), labels == 1)
    assert np.array_equal(two.pixels(60, 40), labels == 2)
    sam.write([two, one], tmp_path / "a.json")
    assert sam.score([sam.read(tmp_path / "a.json")], [[two, one]]) == {"miou": 1, "recall50": 1, "pq": 1}


@given(st.lists(st.tuples(st.floats(-1, 2), st.floats(-1, 2)), min_size=3, max_size=8))
def test_clipped_polygons_lie_in_the_square(points):
    inside = clipped(np.array(points))
    assert inside.shape[1] == 2 and (inside >= 0).all() and (inside <= 1).all()


def test_crops_and_flips():
    sam, value = SamInstance(), [square(0.1, 0.2, 0.5, 0.6), square(0.9, 0.9, 1, 1)]
    (cut,) = sam.crop(value, Crop(0.3, 0, 0.5, 0.5, flip=True))
    assert np.allclose(cut.box, (0.6, 0.4, 1, 1)) and area(cut) == pytest.approx(0.4 * 0.6)
    again = sam.crop(sam.crop(value, Crop(flip=True)), Crop(flip=True))
    assert [i.box for i in again] == [pytest.approx(i.box) for i in value]
    assert polygon_area(np.array([[0, 0], [1, 0], [0, 1]])) == 0.5


def test_mean_overlap_by_hand():
    left, right = square(0, 0, 0.5, 1), square(0.5, 0, 1, 1)
    assert SamInstance().score([[left, right]], [[right, left]]) == {"miou": 1, "recall50": 1, "pq": 1}
    assert SamInstance().score([[left]], [[left, right]])["miou"] == pytest.approx(0.5)
    assert SamInstance().score([[square(0, 0, 1, 1)]], [[left]])["miou"] == pytest.approx(0.5)
    assert SamInstance().score([[]], [[]])["miou"] == 1


@pytest.mark.parametrize("bad", [3, [1], [Instance(())], [square(0, 0, 2, 1)], np.zeros((2, 2, 3), np.uint8), {"a": 1},
                                 [Instance(square(0, 0, 1, 1).outlines, np.array([1]))]])  # fmt: skip
def test_other_values_are_refused(bad):
    with pytest.raises(ValueProblem):
        SamInstance().accept(bad)


def test_instances_are_what_the_draws_that_show_them_agree_on(sam):
    left, right, inner = square(0, 0, 0.5, 1), square(0.5, 0, 1, 1), square(0.1, 0.1, 0.3, 0.3)
    merged = sam.merge([[left, inner], [square(0, 0, 0.52, 1), right], [right], [inner, square(0.4, 0.4, 0.4, 0.4)]])
    assert sorted(map(area, merged)) == pytest.approx([0.04, 0.5, 0.52], abs=0.01)
    thirds = sam.merge([[square(0, 0, side, 1)] for side in (0.5, 0.625, 0.75)])
    assert [area(i) for i in thirds] == pytest.approx([0.625], abs=0.01)
    assert sam.merge([[], []]) == []
    seldom = sam.merge([[left, inner], *[[right]] * 6])  # a small one is seldom asked for, half of the picture is not
    assert sorted(map(area, seldom)) == pytest.approx([0.04, 0.5], abs=0.01)
    same = sam.merge([[right, left]] * 5)
    assert [i.box for i in same] == [pytest.approx(i.box, abs=0.01) for i in (right, left)]
    fifths = sam.merge([[square(0, 0, side, 1)] for side in (0.6, 0.6, 0.6, 0.75, 0.75)])  # two of five are enough
    assert [area(i) for i in fifths] == pytest.approx([0.75], abs=0.01)


def test_what_one_of_many_draws_shows_is_left_out(sam):
    left, small = square(0, 0, 0.5, 1), square(0.6, 0.1, 0.8, 0.3)
    assert len(sam.merge([[left, small], *[[left]] * 6])) == 2
    assert len(sam.merge([[left, small], *[[left]] * 7])) == 1
    assert len(sam.merge([[left, small], [small], *[[left]] * 6])) == 2


def test_a_piece_that_few_draws_show_of_what_more_show_is_left_out(sam):
    left, piece, beside = square(0, 0, 0.5, 1), square(0.3, 0.2, 0.6, 0.4), square(0.6, 0.2, 0.9, 0.4)
    few, more = [[left, piece, beside]] * 2, [[left, piece, beside]] * 3
    assert len(sam.merge([*few, *[[left]] * 10])) == 2  # two thirds of the piece lie in what twelve show
    assert len(sam.merge([*more, *[[left]] * 9])) == 3


def test_draws_of_one_instance_are_known_by_their_boxes(sam):
    around = np.array([(0.1, 0.1), (0.9, 0.1), (0.9, 0.9)]), np.array([(0.9, 0.9), (0.1, 0.9), (0.1, 0.1)])
    merged = sam.merge([[Instance((half,))] for half in around])  # their masks have nothing in common
    assert [i.box for i in merged] == [pytest.approx((0.1, 0.1, 0.9, 0.9), abs=0.01)]


def test_show(sam):
    value = [square(0, 0, 0.5, 0.5)]
    assert sam.show(value, 80).size == (80, 80)
    assert sam.show([], 80, np.zeros((9, 9, 3), np.uint8)).mode == "RGB"
    assert sam.preprocess(value).shape == (1, 64, 64) and sam.preprocess(value).min() == 1


@pytest.fixture
def labeler(tmp_path) -> SamLabeler:
    """Segment Anything, small and random; it is sure of every mask."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.SamConfig(
        vision_config=transformers.SamVisionConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=64, output_channels=16,
            window_size=0, global_attn_indexes=[0], num_pos_feats=8,
        ),
        prompt_encoder_config=transformers.SamPromptEncoderConfig(hidden_size=16, image_size=64, mask_input_channels=4),
        mask_decoder_config=transformers.SamMaskDecoderConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16, mlp_dim=16
        ),
    )  # fmt: skip
    transformers.SamModel(config).save_pretrained(tmp_path)
    processor = transformers.SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    processor.save_pretrained(tmp_path)
    labeler = SamLabeler(tmp_path, device="cpu")
    labeler.confident, labeler.side = -1e9, 4
    return labeler


def test_segment_anything_of_the_real_class_labels(labeler):
    picture = np.random.default_rng(0).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    (found,) = labeler.label([{"rgb": picture}])
    assert found and len(SamInstance().accept(found)) == len(found)


class Largest(TorchFunctionMode):
    """The most numbers that a tensor has that is made in the body."""

    numbers = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.numbers = max(self.numbers, made.numel() if isinstance(made, torch.Tensor) else 0)
        return made


def test_many_masks_take_no_more_memory_than_few(labeler):
    """They are as large as the network's picture for a moment, 4 MB each of the real one, and hundreds are found."""
    low = torch.randn(100, 16, 16, generator=torch.Generator().manual_seed(0))
    with Largest() as largest:
        together = labeler._in_picture(low, [32, 64], (24, 48))
    assert together.shape == (100, 24, 48) and largest.numbers <= together.size
    alone = [labeler._in_picture(each[None], [32, 64], (24, 48))[0] for each in low[::9]]
    assert np.array_equal(together[::9], alone)


BOXES = {"boxes": [(0.25, 0.5, 0.75, 1.0), (0.0, 0.0, 0.5, 0.25)]}
FIRST = "point v0=168 v1=112 polygon v0=56 v1=112 v2=168 v3=224"
CODES = " ".join(["v0=7"] * 16)


def test_instances_are_asked_for_by_boxes_after_which_their_codes_are_written(sam):
    asked = sam.accept(BOXES)
    assert [each.box for each in asked] == BOXES["boxes"]
    _, pieces = sam.started(asked)
    assert pieces == [FIRST, 16, "point v0=28 v1=56 polygon v0=0 v1=0 v2=112 v3=56", 16]
    known = square(0.6, 0.6, 0.8, 0.9)
    value, pieces = sam.started([asked[0], known])
    assert value == [asked[0], known] and pieces[1:] == [FIRST, 16] and pieces[0].count("polygon") == 1
    assert sam.started([]) == ([], [])
    thin = sam.started(sam.accept({"boxes": [(0.999, 0.0, 1.0, 0.001)]}))[1][0]
    assert thin == "point v0=0 v1=223 polygon v0=223 v1=0 v2=224 v3=1"


def test_what_was_drawn_fills_the_boxes_in_their_order(sam, monkeypatch):
    full = np.full((1, 64, 64), 9.0, np.float32)
    monkeypatch.setattr(sam, "decode_parts", lambda codes: [full] * len(codes))
    asked = sam.accept(BOXES)
    both = sam.joined(asked, [], [CODES, CODES, ""])
    assert np.allclose([each.box for each in both], BOXES["boxes"], atol=0.01) and both[0].codes.tolist() == [7] * 16
    known = square(0.6, 0.6, 0.8, 0.9)
    found = sam.joined([asked[0], known, asked[1]], [], ["v0=7 point none", CODES, ""])
    assert found[0] is known and len(found) == 2 and np.allclose(found[1].box, BOXES["boxes"][1], atol=0.01)
    assert sam.joined(asked, [], []) == []


def test_a_box_holds_what_most_draws_believe_of_each_pixel(sam, monkeypatch):
    left, top = (np.full((1, 64, 64), -3.0, np.float32) for _ in range(2))
    left[..., :32], top[:, :32] = 9.0, 9.0
    shown = {1: left, 2: top}
    monkeypatch.setattr(sam, "decode_parts", lambda codes: [shown[int(each[0])] for each in codes])
    draws = [[" ".join([f"v0={k}"] * 16), ""] for k in (1, 2, 2)] + [["point", ""]]
    value, doubts = sam.united(sam.accept({"boxes": [(0, 0, 1, 1)]}), [], draws)
    believed = (1 / (1 + np.exp(-left)) + 2 / (1 + np.exp(-top)))[0] / 3 > 0.5
    assert np.array_equal(value[0].pixels(64, 64), believed) and value[0].codes is None
    assert np.allclose(doubts, [0.5])  # a draw without codes lacks it, and one that shows the left half alone
    none, nothing = sam.united(sam.accept({"boxes": [(0, 0, 1, 1)]}), [], [["point", ""]] * 2)
    assert none == [] and nothing.shape == (0,)


def test_boxes_are_cut_as_pictures_are_and_cannot_be_inputs(sam):
    crop = Crop(0.25, 0.0, 0.5, 1.0)
    assert sam.crop(sam.accept({"boxes": [(0.25, 0.5, 0.5, 1.0)]}), crop)[0].box == (0.0, 0.5, 0.5, 1.0)
    with pytest.raises(ValueProblem, match="asked for what lies outside of the square that is seen"):
        sam.crop(sam.accept({"boxes": [(0.8, 0.5, 0.9, 1.0)]}), crop)
    with pytest.raises(ValueProblem, match="has boxes without outlines: ask for these with start"):
        sam.spell(sam.accept(BOXES))
    for wrong in ([], [(0, 0, 1)], [(0.5, 0, 0.2, 1)], [(0, 0, 1, float("nan"))], [("a", 0, 1, 1)], 5):
        with pytest.raises(ValueProblem, match="is asked by"):
            sam.accept({"boxes": wrong})


@pytest.mark.parametrize("before", [b"", b"\n  ", b"\xef\xbb\xbf"])
def test_json_in_memory_is_known_by_how_it_begins(sam, before):
    content = before + b'{"instances": [{"outlines": [[[0, 0], [1, 0], [1, 1]]]}]}'
    assert len(sam.accept(content)) == 1


def test_a_map_is_read_and_not_written(sam, tmp_path):
    with pytest.raises(ValueProblem, match="written as JSON"):
        sam.write([square(0, 0, 0.5, 0.5)], tmp_path / "value.png")
    assert not list(tmp_path.iterdir())
