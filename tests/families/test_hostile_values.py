"""Whatever JSON holds, a sequence modality reads it or refuses it with one clear error."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anymodal.errors import ValueProblem
from anymodal.families import NumbersModality, StructuredModality
from anymodal.plugins.registry import modalities, registry
from anymodal.testing.tiny import shrunk

KEYS = """instances boxes class_name score outlines codes images annotations categories bbox id name width height
caption bbox_xyxy pred_smpl_params global_orient body_pose betas pred_cam pose_tokenized img_size joints 1 7 brightness
"""
scalars = st.one_of(st.none(), st.just(10**400), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = [n for n in modalities() if issubclass(registry().modality(n), StructuredModality)]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values)
@example({"brightness": 10**400, "n_humans": 10**400})
@example([{"1": [[10**400, 0, 0]]}])
@example({"instances": [{"boxes": [0, 0, 10**400, 1], "class_name": "cup", "outlines": [[[0, 10**400]] * 3]}]})
@example({"instances": [{"boxes": [0, 0, 1, 1], "class_name": "cup", "outlines": [[[0, 1]] * 3], "codes": [10**400]}]})
@example({"bbox_xyxy": [[10**400] * 4], "pred_smpl_params": {"global_orient": [0], "betas": [0]}, "img_size": [1, 1]})
def test_any_json_is_read_or_refused(tmp_path, name, value):
    modality, path = registry().modality(name)(), tmp_path / "value.json"
    path.write_text(json.dumps(value))
    try:
        modality.read(path)
    except ValueProblem as error:
        assert len(str(error)) < 2000


class Grumpy:
    """Says that it is an array, and is none."""

    def __array__(self, *args, **options):
        raise RuntimeError("no array")


NO_VALUES = {
    "none": None,
    "ragged": [[1, 2], [3]],
    "grumpy": Grumpy(),
    "objects": np.array([[None, 1], [2, 3]], object),
    "dates": np.zeros((4, 4), "M8[s]"),
    "halves of letters": "\ud800",
    "halves in names": [{"boxes": [0, 0, 1, 1], "class_name": "\ud800"}],
    "mixed keys": {1: [[1, 2], [3]], "2": [[0, 0, 0]]},
    "long key": {"1" * 5000: [[0, 0, 0]]},
}


@pytest.mark.parametrize("name", modalities())
@pytest.mark.parametrize("value", NO_VALUES.values(), ids=NO_VALUES)
def test_what_is_no_value_is_refused(name, value):
    with pytest.raises(ValueProblem) as caught:
        registry().modality(name)().accept(value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["depth", "normal", "clip", "dinov2_global", "t5_caption"])
@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_values_with_holes_are_scored(name, hole):
    modality = shrunk(registry().modality(name))
    shape = {"depth": (4, 4), "normal": (4, 4, 3), "clip": (4, 4, 8), "dinov2_global": (8,), "t5_caption": (3, 32)}
    value = modality.accept(np.full(shape[name], hole, np.float32))
    assert all(np.isfinite(number) for number in modality.score([value], [value]).values())


def test_numbers_of_every_width_are_numbers():
    metadata = registry().modality("metadata_image")()
    for kind in (np.float16, np.float32, np.float64, np.int8, np.uint64):
        assert metadata.accept({"brightness": kind(3)}) == {"brightness": 3}


OTHER_KEYS = [("foo",), ("foo", "bar"), (99,), ()]


@pytest.mark.parametrize("keys", OTHER_KEYS, ids=str)
@pytest.mark.parametrize("name", modalities())
def test_a_dict_of_other_keys_is_refused_by_its_keys(name, keys):
    modality = registry().modality(name)()
    if not keys and (isinstance(modality, NumbersModality) or name == "human_poses"):
        assert not modality.accept({})  # no numbers, nobody
        return
    with pytest.raises(ValueProblem) as caught:
        modality.accept(dict.fromkeys(keys, 1))
    said = str(caught.value)
    assert all(repr(key) in said for key in keys[:1])
    assert "NoneType" not in said


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("det", {"foo": 1}, ("'instances'", "'annotations'", "'foo'")),
        ("det", {"instances": None}, ("'instances'", "None")),
        ("det", [{"class_name": "cup"}], ("'boxes'", "'class_name'")),
        ("det", {"annotations": []}, ("'images'", "'categories'")),
        ("det", {"annotations": [{}], "images": [{"width": 1, "height": 1}], "categories": []}, ("'bbox'", "missing")),
        ("det", {"annotations": [], "images": [], "categories": []}, ("one picture", "0")),
        ("sam_instance", {"foo": 1}, ("'instances'", "'boxes'", "'foo'")),
        ("sam_instance", [{"codes": [1]}], ("'outlines'", "'codes'")),
        ("human_poses", {"bbox_xyxy": []}, ("'pred_smpl_params'", "'bbox_xyxy'")),
        ("human_poses", {"bbox_xyxy": [], "pred_smpl_params": {"x": 1}, "pred_cam": []}, ("'global_orient'", "'x'")),
    ],
)
def test_a_missing_key_is_named_beside_those_that_are_there(name, value, parts):
    with pytest.raises(ValueProblem) as caught:
        registry().modality(name)().accept(value)
    assert all(part in str(caught.value) for part in parts), caught.value
