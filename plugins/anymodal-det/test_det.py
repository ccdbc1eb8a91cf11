from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
from anymodal_det import Box, Det, DetLabeler
from hypothesis import given
from hypothesis import strategies as st

from anymodal import AnyModel, Crop, ModalitySet, PixelModality, registry
from anymodal.errors import CheckpointError, ConfigError, ValueProblem
from anymodal.families.boxes import LabeledBox
from anymodal.model import ModelConfig
from anymodal.outputs import Outputs
from anymodal.testing import conformance

test_conformance = conformance("det")

unit = st.floats(0, 1)
corners = st.tuples(unit, unit, unit, unit).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)
boxes = st.lists(st.builds(lambda c, n: Box(*c, n), corners, st.sampled_from(["cup", "traffic light"])), max_size=6)
words = st.lists(
    st.one_of(
        st.builds("v{}={}".format, st.integers(0, 4), st.integers(0, 1200)),
        st.sampled_from(["cup", "traffic", "light", "none", "v0=", "v0=-1", "=", "[UNK]", "v1=" + "9" * 5000]),
        st.text(max_size=5),
    )
).map(" ".join)
CUP = Box(0.1, 0.2, 0.5, 0.6, "cup")


@given(boxes)
def test_boxes_survive_spelling_but_for_rounding(value):
    det = Det()
    again = det.parse(det.spell(value))
    expected = sorted(value, key=lambda b: b.xmin**2 + b.ymin**2)
    assert [b.class_name for b in again] == [b.class_name for b in expected]
    assert np.allclose([b.corners for b in again], [b.corners for b in expected], atol=0.5 / 999 + 1e-9)


@given(boxes)
def test_boxes_drawn_by_hand_are_a_value(value):
    det = Det()
    assert Det.has_boxes and det.from_boxes(det.boxes(value)) == det.accept(value)


def test_a_box_without_a_class_is_refused():
    with pytest.raises(ValueProblem, match="class names that are words"):
        Det().from_boxes([LabeledBox("", (0, 0, 1, 1))])


@given(words)
def test_any_text_is_parsed_into_boxes_that_are_accepted(text):
    det = Det()
    assert det.accept(det.parse(text)) is not None


def test_the_valid_part_of_a_broken_text_is_kept():
    whole = "v0=100 v1=200 v2=300 v3=400 traffic light"
    (box,) = Det().parse(f"v0=1 v1=2 cup {whole} v0=1 v2=2 v1=3 v3=4 dog v0=9 v1=9 v2=5 v3=9 cat v0=1 v1=1")
    assert box.class_name == "traffic light"
    assert box.corners == tuple(v / 999 for v in (100, 200, 300, 400))


@given(boxes)
def test_two_flips_give_the_same_boxes(value):
    det, flip = Det(), Crop(flip=True)
    solid = [b for b in value if b.area > 1e-6]
    again = det.crop(det.crop(solid, flip), flip)
    assert np.allclose([b.corners for b in again], [b.corners for b in solid], atol=1e-9)


def test_crops_move_clip_and_drop_boxes():
    crop = Crop(0.3, 0.0, 0.5, 0.5, flip=True)
    (box,) = Det().crop([CUP, Box(0.0, 0.0, 0.2, 0.2, "dog")], crop)
    assert np.allclose(box.corners, (0.6, 0.4, 1.0, 1.0))


def test_draws_change_the_order_only_where_it_is_random():
    value = [Box(0.1 * k, 0, 1, 1, f"n{k}") for k in range(6)]
    rng = np.random.default_rng(0)
    assert Det().spell(value, rng) == Det().spell(value)
    drawn = Det(order="random").chunks(value, rng)
    assert drawn != Det().chunks(value) and sorted(drawn) == sorted(Det().chunks(value))


def test_files_of_4m_and_of_coco(tmp_path):
    det, path = Det(), tmp_path / "a.json"
    det.write([CUP], path)
    assert det.read(path) == [CUP]
    coco = {
        "images": [{"width": 100, "height": 50}],
        "categories": [{"id": 7, "name": "cup"}],
        "annotations": [{"bbox": [10, 10, 40, 20], "category_id": 7}],
    }
    path.write_text(json.dumps(coco))
    assert det.read(path)[0].corners == pytest.approx(CUP.corners)
    coco["annotations"][0]["image_id"] = 3  # of a picture that has no number of its own
    assert det.accept(coco)[0].corners == pytest.approx(CUP.corners)


def test_corners_in_arrays_are_those_in_lists():
    corners = np.array([0.125, 0.25, 0.5, 0.75], np.float32)
    one, same = ({"boxes": each, "class_name": "cup", "score": corners[2]} for each in (corners, corners.tolist()))
    assert Det().accept([one]) == Det().accept([same]) == [Box(0.125, 0.25, 0.5, 0.75, "cup", 0.5)]


@pytest.mark.parametrize(
    "bad",
    [3, {"instances": 1}, [1], [{"boxes": [0, 0, 1]}], [Box(0.5, 0, 0.1, 1, "cup")], [Box(0, 0, 2, 1, "cup")],
     [Box(0, 0, 1, 1, "")], [Box(0, 0, 1, 1, "v0=1")], [Box(0, 0, float("nan"), 1, "cup")], {"annotations": []},
     [{"boxes": ["a", 0, 1, 1], "class_name": "cup"}], [{"boxes": np.ones((4, 4)), "class_name": "cup"}]],
)  # fmt: skip
def test_other_values_are_refused(bad):
    with pytest.raises(ValueProblem):
        Det().accept(bad)


def test_average_precision_by_hand():
    truth = [[Box(0, 0, 0.5, 0.5, "cup"), Box(0.5, 0.5, 1, 1, "cup")]]
    right, wrong = Box(0, 0, 0.5, 0.5, "cup", 0.9), Box(0, 0.5, 0.5, 1, "cup", 0.8)
    assert Det().score(truth, truth)["ap"] == 1
    assert Det().score([[right, wrong]], truth)["ap"] == pytest.approx(51 / 101)
    second = Box(0.5, 0.5, 1, 1, "cup", 0.1)
    assert Det().score([[right, wrong, second]], truth)["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert Det().score([[right, right]], truth)["ap"] == pytest.approx(51 / 101)  # found twice counts once
    loose = Box(0, 0, 0.5, 0.4, "cup", 0.9)  # IoU 0.8: right at seven of ten thresholds
    assert Det().score([[loose]], [[truth[0][0]]])["ap"] == pytest.approx(0.7)
    assert Det().score([[]], truth) == {"ap": 0, "ap50": 0, "ap75": 0}


def test_one_level_says_nothing():
    with pytest.raises(ConfigError, match="'bins' of 'det': expected at least 2, got 1"):
        Det(bins=1)


@pytest.mark.parametrize("picture", [None, np.zeros((20, 30, 3), np.uint8)])
def test_show(picture):
    assert Det().show([CUP, Box(0, 0.97, 1, 1, "dog")], 96, picture).size == (96, 96)
    assert Det().show([], 96, picture).mode == "RGB"


def detector(folder, **names):
    transformers = pytest.importorskip("transformers")
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[8, 8, 8], encoder_ffn_dim=16, d_model=16,
        decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, decoder_layers=1, decoder_attention_heads=2,
        encoder_attention_heads=2, num_queries=10, num_denoising=0, **names,
    )  # fmt: skip
    transformers.RTDetrForObjectDetection(config).save_pretrained(folder)
    transformers.RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_a_detector_whose_classes_have_no_names_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"names no class \(LABEL_0, LABEL_1, \.\.\.\); name them"):
        DetLabeler(detector(tmp_path, num_labels=2), device="cpu")


def test_a_detector_of_the_real_class_labels(tmp_path):
    labeler = DetLabeler(detector(tmp_path, id2label={0: "cup", 1: "dog"}), device="cpu")
    labeler.threshold = 0.0
    (found,) = labeler.label([{"rgb": np.zeros((48, 64, 3), np.uint8)}])
    assert found and Det().accept(found) == found and {b.class_name for b in found} <= {"cup", "dog"}


def test_outputs_draw_boxes_over_the_picture():
    class Photo(PixelModality):
        """A picture."""

        channels, low, high, dtype = 3, 0.0, 255.0, "uint8"

    red = np.full((32, 32, 3), (250, 0, 0), np.uint8)
    both = ModalitySet([Photo(size=32), Det()])
    alone = np.asarray(Outputs(both, {"det": [CUP]}, {}, {}).show())
    over = np.asarray(Outputs(both, {"det": [CUP]}, {"photo": red}, {}).show())
    assert (over == (250, 0, 0)).all(-1).mean() > 0.6 and not (alone == (250, 0, 0)).all(-1).any()


def test_boxes_given_with_a_wide_picture_are_cut_to_its_square():
    transformer = ModelConfig(dim=16, encoder_depth=1, decoder_depth=1, heads=2)
    model = AnyModel(ModalitySet([registry().modality("rgb")(size=32), Det()]), transformer)
    value = model.accept({"det": [Box(0.5, 0, 0.75, 1, "cup")], "rgb": np.zeros((20, 40, 3), np.uint8)})
    assert value["det"] == [Box(0.5, 0, 1, 1, "cup")]
    assert model.accept({"det": [CUP]})["det"] == [CUP]


def test_boxes_of_several_draws_are_their_mean_with_the_share_that_has_them():
    dog, moved, cat = (Box(x, 0.1, x + 0.5, 0.6, name) for x, name in ((0.1, "dog"), (0.2, "Dog"), (0.1, "cat")))
    found = Det().merge([[dog], [moved, cat], [dog], [], *[[dog]] * 4])
    assert [(box.class_name, box.score) for box in found] == [("dog", 7 / 8)]  # one cat in eight draws is none
    assert found[0].corners == pytest.approx((0.8 / 7, 0.1, 4.3 / 7, 0.6))
    assert [box.class_name for box in Det().merge([[cat], [dog], [dog]])] == ["dog", "cat"]
    assert Det().merge([[dog, moved], []]) == [attrs.evolve(dog, score=0.5), attrs.evolve(moved, score=0.5)]
    assert Det().merge([[], []]) == []


def test_score_and_doubt_of_a_box_are_of_the_same_draws():
    """A picture and the list beside it would say two shares of one box."""
    rng, det = np.random.default_rng(0), Det()
    for _ in range(50):
        near = rng.uniform(0, 0.4, (6, 3, 2))
        draws = [[Box(x, y, x + 0.5, y + 0.5, "dog") for x, y in each.tolist()] for each in near]
        found, doubts = det.agreed(draws)
        assert found and np.allclose(1 - doubts, [box.score for box in found])
