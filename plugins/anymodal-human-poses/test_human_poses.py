from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
import torch
from anymodal_bodies import draw_body
from anymodal_human_poses import HumanPoses
from anymodal_scenes import render
from anymodal_scenes.write import contents
from anymodal_smpl import Person, geodesic, in_picture, rotations
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anymodal import Crop
from anymodal.errors import CheckpointError, ConfigError, ValueProblem
from anymodal.testing import conformance
from anymodal.tokenizers.tokenizer import VQTokenizer

test_conformance = conformance("human_poses")

MLP = {"width": 16, "blocks": 1}
WORDS = ["human", "pose", "global", "camera", "shape", "none", "humans"]
numbers = st.builds("v{}={}".format, st.integers(0, 3), st.integers(0, 999))
texts = st.lists(st.one_of(numbers, st.sampled_from(WORDS), st.text(max_size=4)), max_size=90).map(" ".join)


@pytest.fixture(scope="module")
def poses() -> HumanPoses:
    torch.manual_seed(0)
    modality = HumanPoses(latent=64)
    modality.tokenizer = VQTokenizer(modality.tokenizer_config(MLP, MLP)).eval()
    return modality


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory):
    """People of a rendered scene, as scenes are written."""
    for index in range(20):
        files = contents(render(5, index, 64))
        if len(json.loads(files["human_poses"]) or []):
            path = tmp_path_factory.mktemp("people") / "people.json"
            path.write_bytes(files["human_poses"])
            return path
    raise AssertionError("no people in twenty scenes")


def random_person(seed: int) -> Person:
    rng = np.random.default_rng(seed)
    turns = rotations(rng.standard_normal((24, 3, 3)))
    return Person((0.2, 0.1, 0.6, 0.9), turns[0], turns[1:], rng.uniform(-2, 2, 10), np.array([0.9, 0.1, 0.2]))


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_people_survive_spelling_but_for_rounding(seed):
    modality, person = HumanPoses(latent=64), random_person(seed)
    torch.manual_seed(0)
    modality.tokenizer = VQTokenizer(modality.tokenizer_config(MLP, MLP)).eval()
    text = modality.spell([person, person], np.random.default_rng(seed))
    assert len(text.split()) == 2 * 39
    again, other = modality.parse(text)
    assert np.allclose(again.box, person.box, atol=1e-3)
    assert geodesic(again.global_orient[None], person.global_orient[None])[0] < 0.5
    assert np.allclose(again.betas, person.betas, atol=4e-3)
    assert np.allclose(again.camera, person.camera, atol=1.1e-2)
    assert np.array_equal(again.codes, other.codes) and again.body_pose.shape == (23, 3, 3)
    assert modality.spell([again]) == modality.spell([other])


@given(texts)
@settings(deadline=None)
def test_any_text_is_parsed_into_people_that_are_accepted(poses, text):
    assert poses.accept(poses.parse(text)) is not None


def test_only_whole_people_are_taken(poses):
    whole = poses.spell([random_person(1)])
    cut = " ".join(whole.split()[:-1])
    assert len(poses.parse(f"{cut} {whole} {cut}")) == 1
    assert poses.parse("none") == [] and poses.parse(cut) == []
    assert poses.parse(whole.replace("pose", "shape")) == []


def test_without_a_tokenizer_the_error_says_so():
    person = random_person(0)
    known = attrs.evolve(person, codes=np.arange(8))
    text = HumanPoses().spell([known])
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        HumanPoses().spell([person])
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        HumanPoses().parse(text)
    assert HumanPoses().spell([]) == "none" and HumanPoses().parse("none") == []


def test_the_published_tokenizer_fits(poses):
    published = {"width": 1024, "blocks": 6}
    config = HumanPoses().tokenizer_config(published, published)
    assert (config.channels, config.quantizer.codebooks, config.quantizer.size) == (207, 8, 1024)


def test_a_mirrored_person_is_the_mirrored_skeleton():
    modality, person, flip = HumanPoses(), random_person(4), Crop(flip=True)
    (mirrored,) = modality.crop([person], flip)
    (again,) = modality.crop([mirrored], flip)
    order = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]
    straight, turned = in_picture(person), in_picture(mirrored)
    assert np.allclose(turned[order], straight * [-1, 1] + [1, 0], atol=1e-9)
    assert np.allclose(again.body_pose, person.body_pose) and np.allclose(again.camera, person.camera)
    assert np.allclose(np.linalg.det(mirrored.body_pose), 1)


def test_scenes_are_read_and_their_skeletons_lie_on_the_people(scene_file):
    modality = HumanPoses()
    people = modality.read(scene_file)
    assert people and modality.score([people], [people]) == {"found": 1, "rotation_error": 0, "mpjpe": 0}
    for person in people:
        drawn = in_picture(attrs.evolve(person, joints_2d=None, joints=None))
        height = person.box[3] - person.box[1]
        assert np.abs(drawn - person.joints_2d).mean() < 0.12 * height
    no_joints = [attrs.evolve(p, joints=None) for p in people]
    assert 0 < modality.score([no_joints], [people])["mpjpe"] < 150


def test_files_come_back(tmp_path, poses):
    path = tmp_path / "a.json"
    for value in ([], [random_person(1), random_person(2)]):
        poses.write(value, path)
        again = poses.read(path)
        assert len(again) == len(value)
        for a, b in zip(again, value, strict=True):
            assert np.allclose(a.box, b.box) and np.allclose(a.body_pose, b.body_pose) and np.allclose(a.betas, b.betas)


def test_boxes_in_pixels_need_the_size_of_the_picture(tmp_path):
    value = HumanPoses().plain([random_person(1)])
    del value["img_size"]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ValueProblem, match="img_size"):
        HumanPoses().read(path)
    assert np.allclose(HumanPoses(picture=2).read(path)[0].box, (0.1, 0.05, 0.3, 0.45))
    path.write_text(json.dumps(value | {"img_size": None}))
    assert np.allclose(HumanPoses(picture=2).read(path)[0].box, (0.1, 0.05, 0.3, 0.45))


def test_one_level_says_nothing():
    with pytest.raises(ConfigError, match="'bins' of 'human_poses': expected at least 2, got 1"):
        HumanPoses(bins=1)


@pytest.mark.parametrize("bad", [3, [1], {"a": 1}, {"bbox_xyxy": 1, "pred_smpl_params": []}])
def test_other_values_are_refused(bad):
    with pytest.raises(ValueProblem):
        HumanPoses().accept(bad)
    with pytest.raises(ValueProblem, match="global_orient"):
        HumanPoses().accept([attrs.evolve(random_person(0), global_orient=np.eye(2))])
    with pytest.raises(ValueProblem, match="neither"):
        HumanPoses().accept([attrs.evolve(random_person(0), body_pose=None)])


@pytest.mark.parametrize("key", ["bbox_xyxy", "pred_cam", "joints_2d"])
@pytest.mark.parametrize("more", [True, False])
def test_files_of_people_have_one_of_everything_for_each(key, more):
    joints = np.zeros((24, 2))
    value = HumanPoses().plain([attrs.evolve(random_person(k), joints_2d=joints) for k in range(2)])
    value[key] = [*value[key], value[key][0]] if more else value[key][:1]
    with pytest.raises(ValueProblem, match=r"human_poses: the dict of 4D-Humans has \d boxes and \d .*; give one"):
        HumanPoses().accept(value)


def test_arrays_of_4d_humans_are_taken_as_its_files_are(poses):
    written = poses.plain(poses.examples(np.random.default_rng(0))["two"])
    arrays = {key: np.array(each) for key, each in written.items() if key != "pred_smpl_params"}
    arrays["pred_smpl_params"] = {key: np.array(each) for key, each in written["pred_smpl_params"].items()}
    assert poses.plain(poses.accept(arrays)) == poses.plain(poses.accept(written))


def test_angles_by_hand():
    quarter = np.array([[[1, 0, 0], [0, 0, -1], [0, 1, 0]]], float)
    assert geodesic(quarter, np.eye(3)[None])[0] == pytest.approx(90)
    assert geodesic(quarter @ quarter, np.eye(3)[None])[0] == pytest.approx(180)


def test_crops_drop_who_is_outside_and_show_draws(poses):
    person = random_person(0)
    assert poses.crop([person], Crop(0.7, 0, 0.3, 1)) == []
    assert poses.show([person], 80).size == (80, 80)
    assert poses.show([], 80, np.zeros((9, 9, 3), np.uint8)).size == (80, 80)
    assert poses.preprocess([person]).shape == (207,) and not poses.preprocess([]).any()


def test_a_person_is_drawn_as_a_body_with_its_own_sides(poses):
    joints = np.full((24, 2), 0.5) + np.array([0.0, 0.3])
    joints[[12, 15, 9]], joints[[1, 4, 7, 10]], joints[[2, 5, 8, 11]] = (0.5, 0.3), (0.6, 0.8), (0.4, 0.8)
    for k, reach in enumerate((0.1, 0.3, 0.45, 0.47)):  # shoulder, elbow, wrist, hand
        joints[16 + 2 * k], joints[17 + 2 * k] = (0.5 + reach, 0.4), (0.5 - reach, 0.4)
    person = attrs.evolve(random_person(0), joints_2d=joints)
    pixels = np.asarray(poses.show([person], 120), int)
    left, right = pixels[48, 79], pixels[48, 41]
    assert left[0] > left[2] + 60 and right[2] > right[0] + 60
    assert np.abs(left - pixels[20, 79]).sum() > 100  # paper beside the arm


def test_people_with_and_without_a_pose_share_a_file(tmp_path):
    known, coded = random_person(1), attrs.evolve(random_person(2), body_pose=None, codes=np.arange(8))
    HumanPoses().write([known, coded], tmp_path / "a.json")
    back = HumanPoses().read(tmp_path / "a.json")
    assert np.allclose(back[0].body_pose, known.body_pose) and back[0].codes is None
    assert np.array_equal(back[1].codes, coded.codes) and back[1].body_pose is None


@pytest.mark.parametrize(
    "change",
    [
        {"camera": np.full(3, 1e300)},
        {"betas": np.full(10, np.nan)},
        {"box": (0.9, 0.1, 0.2, 0.5)},
        {"codes": np.full(8, 0.5)},
    ],
)
def test_what_is_no_person_is_refused_in_one_line(change):
    with pytest.raises(ValueProblem) as caught:
        HumanPoses().accept([attrs.evolve(random_person(1), **change)])
    assert "\n" not in str(caught.value)


def test_a_box_beyond_the_picture_is_spelled_at_its_edge():
    person = attrs.evolve(random_person(1), box=(-0.5, 0.25, 1.5, 1.0), codes=np.arange(8))
    assert HumanPoses().spell([person]).startswith("human v0=0 v1=250 v2=999 v3=999 pose")


def test_a_body_costs_as_much_as_it_covers(monkeypatch):
    """A crowd of small people is not drawn as so many whole pictures; where a body stands changes nothing of it."""
    sizes: list[tuple[int, int]] = []
    new = Image.new
    monkeypatch.setattr(Image, "new", lambda mode, size, *rest: sizes.append(tuple(size)) or new(mode, size, *rest))
    joints = in_picture(random_person(3))
    joints = (joints - joints.min(0)) / np.ptp(joints, axis=0).max() * 12 + 20
    small, large = new("RGB", (64, 64)), new("RGB", (1024, 1024))
    draw_body(small, joints)
    draw_body(large, joints + 500)
    assert small.getbbox() and small.tobytes() == large.crop((500, 500, 564, 564)).tobytes()
    assert max(max(size) for size in sizes) < 3 * 64
    for away in (-1e9, -200, 5000, 1e9):
        before = large.tobytes()
        draw_body(large, joints + away)
        assert large.tobytes() == before


def test_people_of_several_draws_are_the_mean_of_those_who_stand_in_one_place():
    poses, rng = HumanPoses(), np.random.default_rng(0)
    (person,) = poses.examples(rng)["one"]
    turned = attrs.evolve(person, global_orient=about_y(0.4) @ person.global_orient, betas=person.betas + 1)
    (found,) = poses.merge([[person], [turned], [person], [turned]])
    assert np.allclose(found.global_orient, about_y(0.2) @ person.global_orient)
    assert np.allclose(found.betas, person.betas + 0.5) and np.allclose(found.body_pose, person.body_pose)
    assert found.codes is None
    assert poses.accept([found])
    assert poses.merge([[person], [], [], [], []]) == []  # one draw in five is not enough
    assert poses.merge([[], []]) == []


def about_y(angle):
    """The rotation by an angle in radians about the y axis."""
    return np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
