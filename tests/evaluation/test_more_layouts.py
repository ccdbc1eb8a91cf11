"""Instances, classes and people in miniatures of their published layouts: runs, gaps, mappings, pickles of Python 2."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from anymodal_human_poses import HumanPoses
from anymodal_semseg import Semseg
from layouts_made import (
    FOCAL,
    as_python2,
    make_3dpw,
    make_coco,
    make_coco_instances,
    make_imagenet,
    make_nyu_classes,
    save,
    write,
)
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from anymodal.errors import DataError, ValueProblem
from anymodal.evaluation.layouts import array_pickles
from anymodal.evaluation.layouts.array_pickles import read_array_pickle
from anymodal.evaluation.layouts.coco import CocoPairs, CocoPictures, CocoQueries
from anymodal.evaluation.layouts.coco_instances import CocoBoxes, CocoOutlines, filled_runs
from anymodal.evaluation.layouts.imagenet import training_pictures, validation_pictures
from anymodal.evaluation.layouts.nyu import NyuSemseg, rows_of_split, same_classes
from anymodal.evaluation.layouts.three_dpw import ThreeDpw, read_sequence

CLASSES = Semseg.classes

# COCO's instances.


def test_coco_boxes_are_pixels_and_crowds_are_marked(tmp_path):
    samples = CocoBoxes(make_coco_instances(tmp_path))
    assert [samples.name(k) for k in range(len(samples))] == ["000000000139", "000000000285", "000000000632"]
    first, second, third = (samples.read(k) for k in range(3))
    assert first.inputs["rgb"].shape == (40, 60, 3) and third.truth == {"instances": []}
    assert first.truth["instances"][0] == {"boxes": [0.2, 0.125, 0.5, 0.875], "class_name": "person", "score": 1.0}
    assert [each.get("iscrowd") for each in second.truth["instances"]] == [1, None]
    assert second.truth["instances"][1]["class_name"] == "toothbrush"  # the category 90


def test_coco_outlines_leave_out_crowds_and_have_all_pieces(tmp_path):
    samples = CocoOutlines(make_coco_instances(tmp_path))
    assert len(samples) == 2  # the third picture has none
    truth = samples.read(0).truth
    assert [name for name, _ in truth] == ["person", "toothbrush", "person"]
    assert truth[1][1]["outlines"][1][0] == pytest.approx((35 / 60, 0.75)) and len(truth[1][1]["outlines"]) == 2
    assert [name for name, _ in samples.read(1).truth] == ["toothbrush"]
    mask = filled_runs([400, 400, 800], 40, 40)
    assert mask[:, 10:20].all() and mask.sum() == 400
    with pytest.raises(ValueProblem, match="fill 10 pixels"):
        filled_runs([5, 5], 4, 4)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("bbox", [1, 2, 3], "a bbox is"),
        ("bbox", [70, 2, 3, 3], "outside of its picture"),
        ("bbox", [-9, 2, 3, 3], "outside of its picture"),
        ("bbox", [1, 2, 3, 10**400], "a bbox is"),
        ("iscrowd", "0", "0 or 1"),
        ("segmentation", [[1, 2, 3, 4]], "a polygon is"),
        ("segmentation", [[1, 2, 3, 4, 5, 10**400]], "a polygon is"),
        ("segmentation", [["1", "2", "3", "4", "5", "6"]], "a polygon is"),
        ("segmentation", {"counts": [1600], "size": [40, 40]}, "is not of its picture"),
        ("segmentation", None, "polygons or runs"),
    ],
)
def test_coco_instances_that_cannot_be_used_are_named(tmp_path, key, value, said):
    path = make_coco_instances(tmp_path) / "annotations/instances_val2017.json"
    raw = json.loads(path.read_text())
    raw["annotations"][0][key] = value
    write(path, **raw)
    kind = CocoBoxes if key == "bbox" else CocoOutlines
    with pytest.raises(ValueProblem, match=said):
        kind(tmp_path).read(0)
    raw["annotations"][0]["category_id"] = 2
    write(path, **raw)
    with pytest.raises(DataError, match="the category 2 without a name"):
        kind(tmp_path)


def test_captions_ask_for_pictures(tmp_path):
    root = make_coco(tmp_path)
    queries, pictures, pairs = CocoQueries(root), CocoPictures(root, 1), CocoPairs(root)
    assert [queries.read(k).inputs["caption"] for k in range(len(queries))] == ["A room.", "A wall\n"]
    assert {queries.read(k).truth for k in range(2)} == {pictures.read(0).truth} and len(pictures) == 1
    assert pairs.read(0).inputs == {"caption": "A room."} and pairs.read(0).truth.shape == (4, 6, 3)


# NYUv2's classes.


def test_nyu_classes_go_by_names_in_both_mappings(tmp_path):
    root = make_nyu_classes(tmp_path)
    samples = NyuSemseg(root, CLASSES)
    truth = samples.read(0).truth
    assert truth.shape == (480, 640) and truth.dtype == np.uint8
    wall, bed = CLASSES.index("wall-other-merged"), CLASSES.index("bed")
    assert (truth[:, :200] == 255).all() and (truth[:240, 200:] == wall).all() and (truth[240:, 300:] == bed).all()
    assert (samples.read(1).truth == 255).all() and "38 of 40 classes" in samples.notes[0]
    fewer = NyuSemseg(root, CLASSES, 13)
    assert np.array_equal(fewer.read(0).truth, truth) and "of 13 classes" in fewer.notes[0]
    same = same_classes(CLASSES)
    assert same[CLASSES.index("wall-brick")] == wall and same[bed] == bed and same[255] == 255


def test_nyu_mappings_that_do_not_fit_are_refused(tmp_path):
    root = make_nyu_classes(tmp_path)
    savemat(root / "classMapping40.mat", {"mapClass": np.full((1, 894), 41), "className": np.array([["wall"]])})
    with pytest.raises(DataError, match="has the classes 0 to 41"):
        NyuSemseg(root, CLASSES)
    savemat(root / "classMapping40.mat", {"mapClass": np.full((1, 894), 1.7), "className": np.array([["wall"]])})
    with pytest.raises(DataError, match="no whole number"):
        NyuSemseg(root, CLASSES)
    (root / "classMapping40.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no mapping"):
        NyuSemseg(root, CLASSES)
    (root / "classMapping40.mat").unlink()
    with pytest.raises(DataError, match="says what class"):
        NyuSemseg(root, CLASSES)


@pytest.mark.parametrize(("numbers", "said"), [([1.5, 2], "no whole number"), ([2, 1, 2], "twice"), ([1e300], "1000")])
def test_nyu_splits_that_cannot_be_are_refused(tmp_path, numbers, said):
    savemat(tmp_path / "splits.mat", {"testNdxs": np.array([numbers])})
    with pytest.raises(DataError, match=said) as caught:
        rows_of_split(tmp_path / "splits.mat", 3)
    assert len(str(caught.value)) < 600


# ImageNet.


@pytest.mark.parametrize("layout", ["folders", "kit", "kaggle"])
def test_imagenet_has_classes_in_each_of_its_layouts(tmp_path, layout):
    root = make_imagenet(tmp_path, layout)
    held_out, learned = validation_pictures(root), training_pictures(root)
    found = {Path(held_out.name(k)).stem[-1]: held_out.read(k).truth for k in range(len(held_out))}
    assert found == {"1": "n02123045", "2": "n01440764", "3": "n02123045"}
    assert [learned.read(k).truth for k in range(len(learned))] == ["n01440764"] * 2 + ["n02123045"] * 2
    assert learned.read(0).inputs["rgb"].shape == (8, 10, 3) and len(training_pictures(root, 1)) == 2


def test_classes_of_imagenet_that_are_others_now_are_told(tmp_path):
    """By the kit's list, which lies beside the pictures."""
    root = make_imagenet(tmp_path, "kit")
    before, one = (validation_pictures(root).state(count) for count in (3, 1))
    (truths,) = root.rglob("ILSVRC2012_validation_ground_truth.txt")
    truths.write_text("1\n1\n1\n")
    assert validation_pictures(root).state(3) != before and validation_pictures(root).state(1) == one


def test_imagenet_without_what_says_its_classes_is_refused(tmp_path):
    root = make_imagenet(tmp_path, "kit")
    kit = root / "ILSVRC2012_devkit_t12/data"
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n")
    with pytest.raises(DataError, match="do not say the class of ILSVRC2012_val_00000003"):
        validation_pictures(root)
    (kit / "meta.mat").unlink()
    with pytest.raises(DataError, match="put the development kit"):
        validation_pictures(root)
    with pytest.raises(DataError, match="no folders train and val"):
        training_pictures(tmp_path / "nowhere")


# 3DPW.


def test_people_are_in_the_frame_of_the_camera(tmp_path):
    root = make_3dpw(tmp_path)
    samples = ThreeDpw(root)
    assert [samples.name(k) for k in range(len(samples))] == ["street_00/image_00000.jpg", "street_00/image_00002.jpg"]
    truth = HumanPoses(length=275).accept(samples.read(0).truth)
    assert len(truth) == 2 and len(HumanPoses(length=275).accept(samples.read(1).truth)) == 1
    raw = read_array_pickle(root / "sequenceFiles/test/street_00.pkl")
    turn, shift = raw["cam_poses"][0][:3, :3], raw["cam_poses"][0][:3, 3]
    for person, own in enumerate(truth):
        joints = np.array([turn @ p + shift for p in raw["jointPositions"][person][0].reshape(24, 3)])
        assert np.allclose(own.joints, joints) and np.linalg.det(turn) == 1
        x, y = (FOCAL * joints[:, k] / joints[:, 2] + center for k, center in ((0, 24), (1, 32)))
        assert own.box[0] <= x.min() / 48 and y.max() / 64 <= own.box[3] and own.box[2] <= 1
        vectors = raw["poses"][person][0].reshape(24, 3).copy()
        assert np.allclose(own.body_pose, Rotation.from_rotvec(vectors[1:]).as_matrix())
        assert np.allclose(own.global_orient, turn @ Rotation.from_rotvec(vectors[0]).as_matrix())
        scale, *moved = own.camera  # the weak perspective puts the pelvis where it is
        box = own.box * np.array([48, 64, 48, 64])
        middle = (box[:2] + box[2:]) / 2 + np.array(moved) * scale * max(box[2:] - box[:2]) / 2
        assert np.allclose(middle, (x[0], y[0]))
    assert len(ThreeDpw(root, every=2)) == 1


def test_a_body_of_ones_own_moves_the_joints(tmp_path):
    rng = np.random.default_rng(0)
    points, shapes, regressor = rng.random((30, 3)), rng.random((30, 3, 12)), rng.random((24, 30))
    np.savez(tmp_path / "smpl.npz", v_template=points, shapedirs=shapes, J_regressor=regressor)
    people = HumanPoses(length=275)
    (someone,) = people.examples(rng)["one"]
    body = people.body(tmp_path / "smpl.npz")
    rest = regressor @ (points + shapes[..., :10] @ someone.betas)
    joints = people.joints(someone, body)
    assert np.allclose(joints[1], someone.global_orient @ (rest[1] - rest[0]))
    assert not np.allclose(joints, people.joints(someone))
    np.savez(tmp_path / "smpl.npz", v_template=points, shapedirs=shapes, J_regressor=np.array([None]))
    with pytest.raises(ValueProblem, match=r"smpl\.npz"):
        people.body(tmp_path / "smpl.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shapedirs": np.zeros((30, 3, 200))}, "unpacks to 1.* bytes, more than the limit of 100000"),
        ({"shapedirs": np.float64(1)}, r"v_template has the shape \(30, 3\) and shapedirs \(\)"),
        ({"v_template": None}, "smpl.npz: v_template is not a numeric .npy array"),
        ({"J_regressor": np.zeros((24, 29))}, r"J_regressor has the shape \(24, 29\) for 30 points"),
    ],
)
def test_a_body_that_is_none_is_told_and_never_unpacked_without_end(tmp_path, monkeypatch, change, said):
    """What else the file holds counts for nothing, such as a pickle or a large array."""
    monkeypatch.setattr("anymodal.files.MAX_UNPACKED", 100_000)
    parts = {"v_template": np.zeros((30, 3)), "shapedirs": np.zeros((30, 3, 12)), "J_regressor": np.zeros((24, 30))}
    others = {"posedirs": np.zeros((30, 3, 207)), "about": np.array([None])}
    np.savez_compressed(tmp_path / "smpl.npz", **parts, **others)
    assert HumanPoses().body(tmp_path / "smpl.npz").shapes.shape == (24, 3, 10)
    np.savez_compressed(tmp_path / "smpl.npz", **{**parts, **others, **change})
    with pytest.raises(ValueProblem, match=said):
        HumanPoses().body(tmp_path / "smpl.npz")


# Pickles of arrays.


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_in_pickles_are_read(tmp_path, protocol):
    content = {
        "floats": [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3))],
        "whole": np.arange(3, dtype=">i4"),
        "truths": np.array([True, False]),
        "number": np.float64(2.5),
        "texts": ["m", "é"],
        "others": [1, 2.5, True, None, 2**40],
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_array_pickle(tmp_path / "a.pkl")
    assert all(np.array_equal(each, content["floats"][0]) for each in found["floats"])
    assert found["whole"].tolist() == [0, 1, 2] and found["truths"].tolist() == [True, False]
    assert found["number"] == 2.5 and found["texts"] == ["m", "é"] and found["others"] == content["others"]


class Bad:
    def __reduce__(self):
        return (exec, ("raise SystemError",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Bad()),
        pickle.dumps(np.array([None, 1], object), protocol=2),
        pickle.dumps(Path("x"), protocol=2),
        b"\x80\x02c__builtin__\neval\nU\x011\x85R.",
        b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
        b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",
        b"\x80\x02]r\xff\xff\xff\x7f.."[:-1],  # a place in the memory that only a number makes large
        b"\x80\x02](" + b"](" * 40 + b"e" * 41 + b".",
        b"\x80\x02U\x01",
        b"R.",
        b"",
        as_python2(np.zeros(3)).replace(b"J\x03\x00\x00\x00", b"J\xff\xff\xff\x7f"),
    ],
)
def test_pickles_of_anything_else_are_refused(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    try:
        assert read_array_pickle(tmp_path / "a.pkl") == []
    except ValueProblem as error:
        assert "a.pkl" in str(error)


def test_pickles_that_hold_themselves_many_times_are_refused(tmp_path):
    value: list = []
    for _ in range(14):
        value = [value] * 10
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol=2))
    with pytest.raises(ValueProblem, match="more than"):
        read_array_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04})" + b"\x85" * 100_000 + b"K\x01s.",
        b"\x80\x04\x8c\x05numpy)" + b"\x85" * 100_000 + b"\x93.",
        b"\x80\x04(" + b"]" * 120_000 + b"l.",
        b"\x80\x04X" + (2**16).to_bytes(4, "little") + b"x" * 2**16 + b"\x94"
        + b"c_codecs\nencode\n\x94h\x00\x85R" + b"h\x01h\x00\x85R" * 100 + b".",
    ],
    ids=["a key without end", "a name without end", "many values", "many copies"],
)  # fmt: skip
def test_small_pickles_take_no_boundless_memory_or_stack(tmp_path, content, monkeypatch):
    monkeypatch.setattr(array_pickles, "MOST_INSTRUCTIONS", 110_000)
    monkeypatch.setattr(array_pickles, "MOST_BYTES", 2**20)
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(ValueProblem, match=r"keys|no text|instructions|letters"):
        read_array_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("part", "changed", "said"),
    [
        ("cam_intrinsics", lambda held: held * 0, "no camera"),
        ("cam_intrinsics", lambda held: -held, "no camera"),
        ("cam_poses", lambda held: held * 2, "no camera|not turned by a rotation"),
    ],
)
def test_cameras_that_cannot_be_are_refused(tmp_path, part, changed, said):
    root = make_3dpw(tmp_path)
    path = root / "sequenceFiles/test/street_00.pkl"
    raw = read_array_pickle(path)
    raw[part] = changed(raw[part])
    path.write_bytes(as_python2(raw))
    read_sequence.cache_clear()
    with pytest.raises(ValueProblem, match=said):
        ThreeDpw(root).read(0)


def test_a_sequence_whose_parts_do_not_fit_is_named(tmp_path):
    root = make_3dpw(tmp_path)
    path = root / "sequenceFiles/test/street_00.pkl"
    raw = read_array_pickle(path)
    raw["cam_poses"] = raw["cam_poses"][:2]
    path.write_bytes(as_python2(raw))
    with pytest.raises(ValueProblem, match=r"street_00\.pkl has joints"):
        ThreeDpw(root)
    save(np.zeros((4, 4, 3), np.uint8), root / "imageFiles/street_00/image_00000.jpg")
