"""Files of published data sets that are damaged or hostile, and evaluations that are interrupted and then changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from changed_json import with_each_value_changed
from changed_weights import other_weights
from PIL import Image
from scipy.io import savemat

import anymodal as am
from anymodal.errors import AnymodalError, ConfigError, DataError, ValueProblem
from anymodal.evaluation import TASKS, scoring
from anymodal.evaluation.layouts.ade20k import Ade20k
from anymodal.evaluation.layouts.base import photograph
from anymodal.evaluation.layouts.coco import CocoCaptions, CocoPanoptic
from anymodal.evaluation.layouts.diode import DiodeDepth, DiodeNormal
from anymodal.evaluation.layouts.nyu import NyuDepth

CLASSES = ("person", "car")
HEADER = "Idx\tRatio\tTrain\tVal\tName\n"
PANOPTIC = {
    "images": [{"id": 1, "file_name": "1.jpg"}],
    "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}, {"id": 3, "name": "kite"}],
    "annotations": [
        {
            "image_id": 1,
            "file_name": "1.png",
            "segments_info": [{"id": 7, "category_id": 1}, {"id": 8, "category_id": 2}],
        }
    ],
}
HALVES = np.repeat(np.uint8([7, 8]), 4)[:, None].repeat(8, 1)
IDS = np.stack([HALVES, 0 * HALVES, 0 * HALVES], -1)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations/panoptic_val2017").mkdir(parents=True)
    Image.fromarray(IDS).save(tmp_path / "val2017/1.jpg")
    Image.fromarray(IDS).save(tmp_path / "annotations/panoptic_val2017/1.png")
    captions = {"images": PANOPTIC["images"], "annotations": [{"image_id": 1, "caption": "a b"}]}
    for name, content in (("panoptic", PANOPTIC), ("captions", captions)):
        (tmp_path / f"annotations/{name}_val2017.json").write_text(json.dumps(content))
    return tmp_path


LEAVES = [None, True, -1, 1.5, 10**30, "../../etc/passwd", "\ud800", [], {}, [1], {"a": 1}]


@pytest.mark.parametrize("name", ["panoptic", "captions"])
def test_nothing_in_annotations_ends_in_another_error(coco, name):
    path = coco / f"annotations/{name}_val2017.json"
    for changed in with_each_value_changed(path.read_text(), LEAVES):
        path.write_text(changed)
        try:
            samples = CocoPanoptic(coco, CLASSES) if name == "panoptic" else CocoCaptions(coco)
            assert samples.state(len(samples))
            samples.read(0)
        except AnymodalError:
            pass


def _changed(coco: Path, change) -> CocoPanoptic:
    content = json.loads(json.dumps(PANOPTIC))
    change(content)
    (coco / "annotations/panoptic_val2017.json").write_text(json.dumps(content))
    return CocoPanoptic(coco, CLASSES)


def test_an_id_that_stands_for_two_things_is_refused(coco):
    assert np.array_equal(CocoPanoptic(coco, CLASSES).read(0).truth, HALVES - 7)
    with pytest.raises(DataError, match="the id 1 with two values of 'name'"):
        _changed(coco, lambda content: content["categories"].append({"id": 1, "name": "car"}))
    with pytest.raises(DataError, match="the id 1 with two values of 'file_name'"):
        _changed(coco, lambda content: content["images"].append({"id": 1, "file_name": "2.jpg"}))
    twice = {"id": 7, "category_id": 2}
    with pytest.raises(ValueProblem, match="the segment 7 twice"):
        _changed(coco, lambda content: content["annotations"][0]["segments_info"].append(twice)).read(0)
    with pytest.raises(DataError, match="has no annotations"):
        _changed(coco, lambda content: content["annotations"].clear())


def test_many_segments_take_one_look_at_the_pixels(coco, monkeypatch):
    many = [{"id": 1000 + k, "category_id": 1} for k in range(50_000)]
    samples = _changed(coco, lambda content: content["annotations"][0]["segments_info"].extend(many))
    assert np.array_equal(samples.read(0).truth, HALVES - 7)


@pytest.mark.parametrize("way", ["jpeg", "16 bits"])
def test_ids_in_colors_of_files_that_lose_some_are_refused(coco, way):
    path = coco / "annotations/panoptic_val2017/1.png"
    if way == "jpeg":
        Image.fromarray(np.full_like(IDS, 7) * np.uint8([1, 0, 0])).save(path, "JPEG", quality=100)
    else:  # Pillow keeps the high byte of each, so that they look like the ids 7 and 8
        cv2.imwrite(str(path), IDS[..., ::-1].astype(np.uint16) * 256 + 99)
    with pytest.raises(ValueProblem, match="lost bits of its ids"):
        CocoPanoptic(coco, CLASSES).read(0)


def test_names_of_classes_are_cut_where_they_are_listed(coco):
    lost = [{"id": 10 + k, "name": "Z\n" * 10_000} for k in range(9)]
    (note,) = _changed(coco, lambda content: content["categories"].extend(lost)).notes
    assert len(note) < 600 and "\n" not in note


@pytest.fixture
def ade(tmp_path: Path) -> Path:
    for name in ("images/validation", "annotations/validation"):
        (tmp_path / name).mkdir(parents=True)
    Image.fromarray(IDS).save(tmp_path / "images/validation/a.jpg")
    Image.fromarray(HALVES - 6).save(tmp_path / "annotations/validation/a.png")
    (tmp_path / "objectInfo150.txt").write_text(f"{HEADER}1\t0\t0\t0\tperson\n2\t0\t0\t0\tcar\n")
    return tmp_path


@pytest.mark.parametrize("line", ["300\tcar", "-1\tcar", "0\tcar", "255\tcar", "1\tcar", "two\tcar"])
def test_numbers_of_classes_that_cannot_be_are_refused(ade, line):
    (ade / "objectInfo150.txt").write_text(f"{HEADER}1\tperson\n{line}\n")
    with pytest.raises(DataError, match="no table of classes"):
        Ade20k(ade, CLASSES)


def test_a_class_in_a_gap_of_the_numbers_is_refused(ade):
    (ade / "objectInfo150.txt").write_text(f"{HEADER}1\tperson\n200\tcar\n")
    with pytest.raises(ValueProblem, match="has the class 2, which"):
        Ade20k(ade, CLASSES).read(0)


def test_ids_of_classes_are_those_that_were_written(ade):
    path = ade / "annotations/validation/a.png"
    assert np.array_equal(Ade20k(ade, CLASSES).read(0).truth, HALVES - 7)
    cv2.imwrite(str(path), (HALVES - 6).astype(np.uint16))
    assert np.array_equal(Ade20k(ade, CLASSES).read(0).truth, HALVES - 7)
    Image.fromarray(HALVES - 6).save(path, "JPEG", quality=100)
    with pytest.raises(ValueProblem, match="changes numbers by compression"):
        Ade20k(ade, CLASSES).read(0)


def test_photographs_have_the_colors_that_the_model_reads_elsewhere(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((8, 8), 30_000, np.uint16))
    assert np.unique(photograph(path)).tolist() == [117]  # 30000 of 65535, not white
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(path)
    assert np.unique(photograph(path)).tolist() == [255]  # what is transparent lies over white


def test_numbers_beyond_single_precision_are_no_depth_and_no_surface(tmp_path):
    folder = tmp_path / "val/indoors/scene_1/scan_1"
    folder.mkdir(parents=True)
    Image.fromarray(IDS).save(folder / "a.png")
    depth = np.ones((8, 8, 1))
    depth[0] = 1e300
    np.save(folder / "a_depth.npy", depth)
    np.save(folder / "a_depth_mask.npy", np.ones((8, 8)))
    np.save(folder / "a_normal.npy", np.ones((8, 8, 3)) * depth)
    with np.errstate(all="raise"):
        assert not DiodeDepth(tmp_path).read(0).truth[0].any()
        assert not DiodeNormal(tmp_path).read(0).truth[0].any()
    for axes in (5, None, "abc"):
        with pytest.raises(ConfigError, match="three signs"):
            DiodeNormal(tmp_path, axes)


@pytest.mark.parametrize("damage", ["floats", "words", "group", "empty", "integers"])
def test_pictures_of_another_type_in_nyu_are_refused_at_once(tmp_path, damage):
    savemat(tmp_path / "splits.mat", {"testNdxs": np.array([[1]])})
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        kind = {"floats": "f4", "words": "S4"}.get(damage, "u1")
        file.create_dataset("depths", (1, 640, 480), "i4" if damage == "integers" else "f4")
        if damage == "group":
            file.create_group("images")
        elif damage == "empty":
            file["images"] = h5py.Empty("u1")
        else:
            file.create_dataset("images", (1, 3, 640, 480), kind)
    with pytest.raises(DataError, match="nyu_depth_v2_labeled"):
        NyuDepth(tmp_path)


@pytest.mark.parametrize("way", ["link", "external", "virtual"])
def test_nyu_opens_no_file_that_its_own_names(tmp_path, way):
    savemat(tmp_path / "splits.mat", {"testNdxs": np.array([[1]])})
    shape = (1, 640, 480)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other.create_dataset("secret", shape, "f4")
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file.create_dataset("images", (1, 3, 640, 480), "u1")
        if way == "link":
            file["depths"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "secret")
        elif way == "external":
            file.create_dataset("depths", shape, "f4", external=[(str(tmp_path / "other.h5"), 0, 640 * 480 * 4)])
        else:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", shape)
            file.create_virtual_dataset("depths", layout)
    with pytest.raises(DataError, match="in another file"):
        NyuDepth(tmp_path)


@pytest.fixture
def begun(tmp_path: Path, small_model, monkeypatch) -> tuple[Path, Path]:
    """Data, and the folder of an evaluation of it that was interrupted after two samples."""
    data, out = tmp_path / "data", tmp_path / "out"
    for name in ("rgb", "semseg"):
        (data / name).mkdir(parents=True)
    for k in range(4):
        Image.fromarray(IDS.repeat(5, 0).repeat(5, 1) * np.uint8(k)).save(data / f"rgb/{k}.png")
        Image.fromarray(np.full((40, 40), k, np.uint8)).save(data / f"semseg/{k}.png")
    kept, calls = scoring.Scorer.generated, []

    def dying(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return kept(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(scoring.Scorer, "generated", dying)
        with pytest.raises(KeyboardInterrupt):
            am.evaluate("semseg", data, small_model, out=out, batch=2, steps=1)
    return data, out


def test_an_evaluation_does_not_go_on_with_data_that_changed(begun, small_model, tmp_path):
    data, out = begun
    Image.fromarray(np.full((40, 40), 7, np.uint8)).save(data / "semseg/0.png")
    with pytest.raises(DataError, match="other settings: files"):
        am.evaluate("semseg", data, small_model, out=out, batch=2, steps=1)
    other = Path(shutil.copytree(data, tmp_path / "other", copy_function=shutil.copy))  # the same names, other times
    with pytest.raises(DataError, match="other settings: files"):
        am.evaluate("semseg", other, small_model, out=out, batch=2, steps=1)


def test_an_evaluation_does_not_go_on_with_another_decoder(begun, small_model):
    data, out = begun
    refused = pytest.raises(DataError, match=r"other settings: model\.modalities\.semseg\.decoder")
    with other_weights(small_model.modalities["semseg"].tokenizer.decoder), refused:
        am.evaluate("semseg", data, small_model, out=out, batch=2, steps=1)
    with other_weights(small_model.modalities["rgb"].tokenizer.encoder):  # pixels need none
        assert am.evaluate("semseg", data, small_model, out=out, batch=2, steps=1).samples == 4


def test_what_scores_depend_on_beside_data_and_model_is_told(tmp_path):
    """An evaluation that was interrupted would go on with other features, or another body, than it began with."""
    network, body, model = tmp_path / "inception.onnx", tmp_path / "body.npz", tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    for task, file in (
        ({"name": "generation", "extractor": {"name": "onnx", "path": str(network)}}, network),
        ({"name": "generation", "extractor": {"name": "model", "model": str(model)}}, model / "model.safetensors"),
        ({"name": "pose", "body": str(body)}, body),
    ):
        states = []
        for content in (b"1", b"2"):
            file.write_bytes(content)
            states.append(TASKS(task).state())
        json.dumps(states)
        assert states[0] != states[1] is not None
    assert TASKS("depth").state() is TASKS("pose").state() is None


def test_an_evaluation_does_not_go_on_with_another_file_beside_it(begun, small_model, monkeypatch):
    data, out = begun
    monkeypatch.setattr(type(TASKS("semseg")), "state", lambda self: "another body")
    with pytest.raises(DataError, match="other settings: beside"):
        am.evaluate("semseg", data, small_model, out=out, batch=2, steps=1)


@pytest.mark.parametrize(
    "change", [{"done": 10**9}, {"done": -1}, {"each": [[99, 0.5]]}, {"metrics": {}}, {"problems": 5}]
)
def test_progress_that_is_not_what_was_written_is_refused(begun, small_model, change):
    data, out = begun
    path = out / "progress.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=r"progress\.json is damaged.*remove it"):
        am.evaluate("semseg", data, small_model, out=out, batch=2, steps=1)
    path.unlink()
    assert am.evaluate("semseg", data, small_model, out=out, batch=2, steps=1).samples == 4


@pytest.mark.parametrize("how", [{"batch": True}, {"batch": float("nan")}, {"limit": 0}, {"limit": "x"}, {"seed": 0.5}])
def test_numbers_of_an_evaluation_that_cannot_be_are_refused(begun, small_model, how):
    with pytest.raises(ConfigError):
        am.evaluate("semseg", begun[0], small_model, **how)
