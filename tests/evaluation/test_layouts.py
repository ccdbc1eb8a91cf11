"""Published data sets, each in a miniature of exactly its layout: types, axes, units, ignored labels, ids in colors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from anymodal_semseg import Semseg
from layouts_made import make_ade, make_coco, make_diode, make_nyu, save
from scipy.io import savemat

from anymodal.errors import ConfigError, DataError, ValueProblem
from anymodal.evaluation.layouts.ade20k import Ade20k
from anymodal.evaluation.layouts.coco import CocoCaptions, CocoPanoptic
from anymodal.evaluation.layouts.diode import DiodeDepth, DiodeNormal
from anymodal.evaluation.layouts.nyu import NyuDepth

CLASSES = Semseg.classes


# DIODE.


@pytest.fixture
def diode(tmp_path: Path) -> Path:
    return make_diode(tmp_path)


def test_diode_depth_is_in_meters_and_masked(diode):
    for root in (diode, diode / "val"):
        samples = DiodeDepth(root)
        assert len(samples) == 2 and samples.name(0).endswith("00019_00183_indoors_000_010.png")
        sample = samples.read(1)
        expected = np.arange(48, dtype=np.float32).reshape(6, 8)
        expected[:, :2] = 0
        assert sample.truth.dtype == np.float32 and np.array_equal(sample.truth, expected)
        assert sample.inputs["rgb"].shape == (6, 8, 3)


def test_diode_normals_have_signs(diode):
    assert np.allclose(DiodeNormal(diode).read(0).truth[1:], (0.6, 0, 0.8))
    assert np.allclose(DiodeNormal(diode, (-1, 1, -1)).read(0).truth[1:], (-0.6, 0, -0.8))
    assert not DiodeNormal(diode).read(0).truth[0].any()
    with pytest.raises(ConfigError, match="three signs"):
        DiodeNormal(diode, (1, 2, 1))


def test_truths_that_are_others_now_are_told(tmp_path):
    """An evaluation that was interrupted would go on with others than it began with."""
    diode, ade = make_diode(tmp_path / "diode"), make_ade(tmp_path / "ade")
    for samples, truths in (
        (DiodeDepth(diode), sorted(diode.rglob("*_depth_mask.npy"))),
        (DiodeNormal(diode), sorted(diode.rglob("*_normal.npy"))),
        (Ade20k(ade, CLASSES), [*sorted(ade.glob("annotations/validation/*.png")), ade / "objectInfo150.txt"]),
    ):
        for truth in truths:
            before, one = samples.state(len(samples)), samples.state(1)
            truth.write_bytes(truth.read_bytes() + b"\n")
            assert samples.state(len(samples)) != before
            assert (samples.state(1) != one) == (truth in samples.parts(0) or truth.suffix == ".txt")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda depth, mask: depth.unlink(), "no such file"),
        (lambda depth, mask: depth.write_bytes(b"\x93NUMPY"), "not a numeric .npy"),
        (lambda depth, mask: np.save(depth, np.ones((8, 6, 1), np.float32)), "not of shape"),
        (lambda depth, mask: np.save(depth, np.ones((6, 8, 1), np.uint16)), "holds uint16"),
        (lambda depth, mask: np.save(mask, np.zeros((6, 8))), "no valid depth"),
        (lambda depth, mask: np.save(depth, np.full((6, 8, 1), np.nan, np.float32)), "no valid depth"),
    ],
)
def test_diode_files_that_cannot_be_used_are_named(diode, change, said):
    (depth,) = diode.glob("val/indoors/*/*/*_depth.npy")
    change(depth, depth.with_name(depth.name.replace("depth", "depth_mask")))
    samples = DiodeDepth(diode)
    with pytest.raises(ValueProblem, match=said):
        samples.read(0)
    assert samples.read(1).truth.any()


# NYUv2.


@pytest.fixture
def nyu(tmp_path: Path) -> Path:
    return make_nyu(tmp_path)


def test_nyu_has_its_axes_reversed_and_numbers_from_one(nyu):
    samples = NyuDepth(nyu)
    assert [samples.name(k) for k in range(len(samples))] == ["0002", "0003"]
    sample = samples.read(0)
    assert sample.inputs["rgb"].shape == (480, 640, 3) and sample.inputs["rgb"][50, 100].tolist() == [200, 0, 0]
    assert sample.truth[50, 100] == 7 and sample.truth[300, 300] == 2.5
    rows, columns = np.nonzero(sample.truth)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (45, 470, 41, 600)  # the crop of Eigen et al.


def test_nyu_files_that_do_not_fit_are_refused(nyu):
    savemat(nyu / "splits.mat", {"testNdxs": np.array([[4]])})
    with pytest.raises(DataError, match="names the pictures 4 to 4 of 3"):
        NyuDepth(nyu)
    (nyu / "splits.mat").write_bytes(b"no matrix")
    with pytest.raises(DataError, match="no testNdxs"):
        NyuDepth(nyu)
    (nyu / "splits.mat").unlink()
    with pytest.raises(DataError, match=r"has no splits\.mat"):
        NyuDepth(nyu)
    (nyu / "nyu_depth_v2_labeled.mat").write_bytes(b"no matrix")
    savemat(nyu / "splits.mat", {"testNdxs": np.array([[1]])})
    with pytest.raises(DataError, match="cannot be read"):
        NyuDepth(nyu)


# ADE20K.


@pytest.fixture
def ade(tmp_path: Path) -> Path:
    return make_ade(tmp_path)


def test_ade_counts_from_one_and_goes_by_names(ade):
    samples = Ade20k(ade, CLASSES)
    truth = samples.read(0).truth
    expected = [255, 255, CLASSES.index("person"), CLASSES.index("car")]
    assert truth.dtype == np.uint8 and [set(row.tolist()) for row in truth] == [{value} for value in expected]
    assert samples.notes == ["1 of 3 classes are none of the model's, and their pixels are left out: wall"]


def test_ade_labels_that_cannot_be_right_are_named(ade):
    path = ade / "annotations/validation/ADE_val_00000001.png"
    save(np.full((4, 5), 9, np.uint8), path)
    with pytest.raises(ValueProblem, match="class 9"):
        Ade20k(ade, CLASSES).read(0)
    save(np.zeros((5, 4), np.uint8), path)
    with pytest.raises(ValueProblem, match="and its picture"):
        Ade20k(ade, CLASSES).read(0)
    with pytest.raises(DataError, match="none of the classes"):
        Ade20k(ade, ("zebra",))
    (ade / "objectInfo150.txt").write_text("Idx\tName\nx\twall\n")
    with pytest.raises(DataError, match="no table of classes"):
        Ade20k(ade, CLASSES)


# COCO.


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return make_coco(tmp_path)


def test_coco_ids_lie_in_three_colors_and_categories_have_gaps(coco):
    samples = CocoPanoptic(coco, CLASSES)
    truth = samples.read(0).truth
    assert set(truth[0].tolist()) == {CLASSES.index("wall-other-merged")}
    assert set(truth[1].tolist()) == {CLASSES.index("toothbrush")}  # a crowd has a class like all others
    assert set(truth[2:].ravel().tolist()) == {255} and "unicorn" in samples.notes[0]
    (coco / "annotations/panoptic_val2017").rename(coco / "panoptic_val2017")  # where the archive is unpacked to
    assert np.array_equal(CocoPanoptic(coco, CLASSES).read(0).truth, truth)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row["segments_info"].pop(0), "of which segments_info says nothing"),
        (lambda row: row["segments_info"][0].update(category_id=7), "of no category"),
        (lambda row: row["segments_info"].append(3), "of no category"),
        (lambda row: row.update(image_id=140), "is not among those"),
        (lambda row: row.update(file_name="../139.png"), "is no name of a file"),
        (lambda row: row.update(file_name="140.png"), "no such file"),
    ],
)
def test_coco_annotations_that_do_not_fit_are_named(coco, change, said):
    path = coco / "annotations/panoptic_val2017.json"
    raw = json.loads(path.read_text())
    change(raw["annotations"][0])
    path.write_text(json.dumps(raw))
    samples = CocoPanoptic(coco, CLASSES)
    with pytest.raises(ValueProblem, match=said):
        samples.read(0)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [], "annotations": [3], "categories": []}', '{"categories": {}}']
)
def test_coco_files_that_are_none_are_refused(coco, text):
    (coco / "annotations/panoptic_val2017.json").write_text(text)
    (coco / "annotations/captions_val2017.json").write_text(text)
    for make in (lambda: CocoPanoptic(coco, CLASSES), lambda: CocoCaptions(coco)):
        with pytest.raises(DataError, match="_val2017"):
            make()


def test_coco_pictures_have_several_captions(coco):
    samples = CocoCaptions(coco)
    assert len(samples) == 1 and samples.read(0).truth == ["A room.", "A wall\n"]


@pytest.mark.parametrize("make", [DiodeDepth, DiodeNormal, lambda root: Ade20k(root, CLASSES), CocoCaptions, NyuDepth])
def test_an_empty_folder_is_no_data_set(tmp_path, make):
    for root in (tmp_path, tmp_path / "nosuch"):
        with pytest.raises(DataError):
            make(root)
