"""Scenes: the same everywhere, every label true, every caption understood."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from anymodal_scenes import BASIC, COLORS, FAR, KINDS, Scene, SceneObject, mentions, render
from anymodal_scenes.coco import CLASSES, NONE, class_id
from anymodal_scenes.place import apart
from anymodal_scenes.scene import VERSION
from hypothesis import given, settings
from hypothesis import strategies as st

from anymodal.errors import ValueProblem

GOLDEN = json.loads((Path(__file__).parents[2] / "tests" / "golden" / "scenes.json").read_text())
SKY = class_id("sky-other-merged")
indices = st.integers(0, 10**6)
few = settings(max_examples=25)


def fingerprint(scene: Scene) -> str:
    return hashlib.sha256(scene.semseg.tobytes() + scene.instance.tobytes()).hexdigest()


def footprint(thing: SceneObject) -> tuple[tuple[float, float], ...]:
    """Corners (x, z) of the rectangle a thing stands on, in order."""
    sine, cosine = np.sin(thing.heading), np.cos(thing.heading)
    half = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * (thing.extent[0] / 2, thing.extent[2] / 2)
    turned = half @ np.array([[cosine, -sine], [sine, cosine]])
    return tuple((float(x + thing.position[0]), float(z + thing.position[2])) for x, z in turned)


# ---- the same everywhere


def test_golden_file_belongs_to_this_version() -> None:
    assert GOLDEN["version"] == VERSION, "scenes changed their meaning: make the golden file anew"


@pytest.mark.parametrize("entry", GOLDEN["scenes"], ids=lambda e: f"{e['seed']}-{e['index']}-{e['size']}")
def test_labels_and_captions_never_change(entry: dict) -> None:
    scene = render(entry["seed"], entry["index"], entry["size"], BASIC if entry["basic"] else None)
    assert scene.caption == entry["caption"]
    assert fingerprint(scene) == entry["sha256"]


@few
@given(indices)
def test_rendering_twice_gives_the_same(index: int) -> None:
    one, two = render(3, index, 16), render(3, index, 16)
    for name in ("rgb", "depth", "normal", "semseg", "instance"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert one.caption == two.caption


@settings(max_examples=10)
@given(indices, st.integers(16, 128))
def test_size_changes_nothing_but_the_sampling(index: int, size: int) -> None:
    one, two = render(1, index, 64), render(1, index, size)
    assert (one.caption, one.named, one.relations, one.setting) == (two.caption, two.named, two.relations, two.setting)
    assert np.array_equal(one.camera.eye, two.camera.eye)
    assert np.array_equal(one.camera.rotation, two.camera.rotation)
    for a, b in zip(one.objects, two.objects, strict=True):
        assert (a.kind, a.color, a.position, a.heading, a.support) == (
            b.kind,
            b.color,
            b.position,
            b.heading,
            b.support,
        )
        assert abs(a.area - b.area) < 0.1


def test_seeds_and_indices_differ() -> None:
    assert len({fingerprint(render(seed, index, 16)) for seed in range(3) for index in range(5)}) == 15


@pytest.mark.parametrize("size", [-1, 0, 15, 513])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueProblem, match="16 to 512"):
        render(0, 0, size)


def test_large_pictures_work() -> None:
    scene = render(0, 2, 512)
    assert scene.rgb.shape == scene.normal.shape == (512, 512, 3)
    assert scene.caption == render(0, 2, 16).caption


# ---- every label true


@few
@given(indices)
def test_arrays_have_their_shapes_and_ranges(index: int) -> None:
    scene = render(2, index, 32)
    assert scene.rgb.dtype == scene.semseg.dtype == scene.instance.dtype == np.uint8
    assert scene.depth.dtype == scene.normal.dtype == np.float32
    assert scene.rgb.shape == scene.normal.shape == (32, 32, 3)
    assert scene.depth.shape == scene.semseg.shape == scene.instance.shape == (32, 32)
    assert ((scene.depth > 0) & (scene.depth <= FAR)).all()
    assert ((scene.semseg < len(CLASSES)) | (scene.semseg == NONE)).all()
    sky = scene.semseg == SKY
    assert np.array_equal(sky, scene.depth == FAR)
    length = np.linalg.norm(scene.normal, axis=-1)
    assert (length[sky] == 0).all()
    assert np.allclose(length[~sky], 1, atol=1e-5)


@few
@given(indices)
def test_normals_face_the_viewer(index: int) -> None:
    scene = render(2, index, 32)
    at = (np.arange(32) + 0.5) / 32 - 0.5
    x, y = np.meshgrid(at / scene.camera.focal, -at / scene.camera.focal)
    to_viewer = -np.stack([x, y, -np.ones_like(x)], -1)
    assert ((scene.normal * to_viewer).sum(-1) > -1e-4).all()


@few
@given(indices, st.sampled_from([24, 64]))
def test_objects_describe_the_instance_map(index: int, size: int) -> None:
    scene = render(4, index, size)
    assert 1 <= len(scene.objects) == len({id(thing) for thing in scene.objects})
    assert scene.instance.max() <= len(scene.objects)
    for number, thing in enumerate(scene.objects, 1):
        rows, columns = np.nonzero(scene.instance == number)
        assert thing.area == len(rows) / size**2
        if len(rows):
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert thing.box == tuple(edge / size for edge in box)
            assert (scene.semseg[rows, columns] == thing.class_id).all()
            assert thing.depth == pytest.approx(scene.depth[rows, columns].mean(), rel=1e-4)
        assert thing.class_id == KINDS[thing.kind].class_id
        assert thing.color in (COLORS if KINDS[thing.kind].colors else (None,))


@few
@given(indices)
def test_things_never_share_the_ground(index: int) -> None:
    objects = render(5, index, 16).objects
    for i, a in enumerate(objects):
        for b in objects[:i]:
            if a.support == b.support:
                assert apart(footprint(a), footprint(b))


@few
@given(indices)
def test_things_stand_on_the_ground_or_on_a_table(index: int) -> None:
    objects = render(5, index, 16).objects
    for thing in objects:
        if thing.support is None:
            assert thing.position[1] == 0
            continue
        holder = objects[thing.support]
        assert KINDS[holder.kind].holds
        assert thing.position[1] == pytest.approx(holder.extent[1])
        away = np.hypot(thing.position[0] - holder.position[0], thing.position[2] - holder.position[2])
        assert away < np.hypot(holder.extent[0], holder.extent[2]) / 2


@few
@given(indices)
def test_relations_hold(index: int) -> None:
    scene = render(6, index, 64)
    for relation in scene.relations:
        a, b = scene.objects[relation.subject], scene.objects[relation.other]
        middle_a, middle_b = (a.box[0] + a.box[2]) / 2, (b.box[0] + b.box[2]) / 2
        match relation.predicate:
            case "left of":
                assert middle_a <= middle_b - 0.15
            case "right of":
                assert middle_a >= middle_b + 0.15
            case "in front of":
                assert a.depth <= b.depth - 0.5
            case "behind":
                assert a.depth >= b.depth + 0.5
            case "on":
                assert a.support == relation.other
            case "next to":
                assert abs(middle_a - middle_b) < 0.6
            case _:
                pytest.fail(f"unknown relation {relation.predicate!r}")


@few
@given(indices)
def test_bodies_project_to_where_people_are_seen(index: int) -> None:
    scene = render(7, index, 64)
    for thing in scene.objects:
        assert (thing.pose is not None) == (thing.kind == "person")
        if thing.pose is None:
            continue
        pose = thing.pose
        for turn in (pose.global_orient, *pose.body_pose):
            assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(turn) == pytest.approx(1)
        assert np.allclose(pose.joints_2d, 0.5 + scene.camera.focal * pose.joints[:, :2] / pose.joints[:, 2:])
        inside = (pose.joints_2d > (thing.box[0] - 0.05, thing.box[1] - 0.05)).all(1)
        inside &= (pose.joints_2d < (thing.box[2] + 0.05, thing.box[3] + 0.05)).all(1)
        if thing.area > 0.03:
            assert inside.any()
        scale, right, down = pose.camera
        side = max(thing.box[2] - thing.box[0], thing.box[3] - thing.box[1])
        middle = np.array([thing.box[0] + thing.box[2], thing.box[1] + thing.box[3]]) / 2 - 0.5
        back = [*(np.array([right, down]) + 2 * middle / (side * scale)), 2 * scene.camera.focal / (side * scale)]
        assert np.allclose(back, pose.joints[0])


def test_most_things_are_large() -> None:
    areas = [thing.area for index in range(150) for thing in render(8, index, 16).objects]
    assert np.median(areas) >= 0.05


def test_the_rest_of_the_world_can_be_left_out() -> None:
    kinds = ("person", "dog", "dining table", "cup")
    seen = {thing.kind for index in range(30) for thing in render(0, index, 16, kinds).objects}
    assert seen == set(kinds)
    with pytest.raises(ValueProblem, match="did you mean 'dog'"):
        render(0, 0, 16, ("dogg",))


# ---- every caption understood


@settings(max_examples=80)
@given(st.integers(0, 50), indices)
def test_captions_mention_what_they_name(seed: int, index: int) -> None:
    scene = render(seed, index, 16)
    named = [scene.objects[k] for k in scene.named]
    assert mentions(scene.caption) == {(thing.color, thing.kind) for thing in named}
    assert 1 <= len(named) <= 4
    assert not any(f" a {vowel}" in f" {scene.caption}" for vowel in "aeiou")


def test_captions_count_and_negate_what_is_true() -> None:
    numbers = {"two": 2, "three": 3, "four": 4}
    said = dict.fromkeys(("count", "absent"), 0)
    for index in range(200):
        scene = render(10, index, 16)
        kinds = [thing.kind for thing in scene.objects]
        number = next((numbers[word] for word in scene.caption.split() if word in numbers), None)
        if number:
            assert number in {kinds.count(kind) for kind in kinds}, scene.caption
            said["count"] += 1
        if re.search(r"\b(no|nobody|without)\b", scene.caption):
            absent = re.search(r"\b(?:no|without) (\w+)", scene.caption)
            gone = {kind for _, kind in mentions(absent[1] if absent else "people")}
            assert len(gone) == 1 and not gone & set(kinds), scene.caption
            said["absent"] += 1
    assert 16 <= said["count"] <= 48 and 8 <= said["absent"] <= 30


def test_captions_speak_of_the_light_and_the_view_that_there_are() -> None:
    for index in range(200):
        scene = render(12, index, 16)
        dark = {"at dusk": "dusk", "at night": "night", "under the stars": "night"}
        assert all(scene.setting.light == light for words, light in dark.items() if words in scene.caption)
        assert scene.setting.above == (scene.camera.rotation[2, 1] >= 0.4999)
        assert scene.setting.above or "from above" not in scene.caption


def test_nights_are_dark_and_legible() -> None:
    by_light: dict[str, list[float]] = {}
    for index in range(200):
        scene = render(13, index, 16)
        by_light.setdefault(scene.setting.place + " " + scene.setting.light, []).append(float(scene.rgb.mean()))
    mean = {light: float(np.mean(values)) for light, values in by_light.items()}
    assert 40 < mean["outdoors night"] < mean["outdoors dusk"] < mean["outdoors noon"]
    assert 50 < mean["room night"] < mean["room lamplight"]


@few
@given(indices)
def test_captions_name_the_largest(index: int) -> None:
    scene = render(9, index, 64)
    large = sorted(
        (k for k, thing in enumerate(scene.objects) if thing.area >= 0.02), key=lambda k: -scene.objects[k].area
    )
    largest = max(scene.objects, key=lambda thing: thing.area)
    assert set(scene.named) == set(large[:4]) or (not large and scene.objects[scene.named[0]] is largest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("nothing to see here, just a wall", set()),
        ("A RED CAR!", {("red", "car")}),
        ("two grey cats and a sofa", {("gray", "cat"), (None, "couch")}),
        ("the dog is brown", {("brown", "dog")}),
        ("a chair that is blue", {("blue", "chair")}),
        ("a big shiny old purple bus", {("purple", "bus")}),
        ("a red chair. the chair is left of a dog", {("red", "chair"), (None, "dog")}),
        ("a man in a green jacket and blue trousers", {("green", "person")}),
        ("a woman wearing blue trousers and a red shirt", {("red", "person")}),
        ("people dressed in white", {("white", "person")}),
        ("a person beside a red car", {(None, "person"), ("red", "car")}),
        ("a teddy bear and a stop sign", {(None, "teddy bear"), (None, "stop sign")}),
        ("an orange umbrella near an orange dog", {("orange", "umbrella"), ("orange", "dog")}),
        ("red red red", set()),
        ("chairchair table2 and and and", {(None, "dining table")}),
        ("two chairs, one red and one blue, in a room", {("red", "chair"), ("blue", "chair")}),
        ("three people dancing, two in white and one wearing pink", {("white", "person"), ("pink", "person")}),
        ("a dog and three people, one in a red shirt, a car", {(None, "dog"), ("red", "person"), (None, "car")}),
        ("two chairs and one red car", {(None, "chair"), ("red", "car")}),
        ("two red chairs", {("red", "chair")}),
        ("a red car on a road with no people", {("red", "car")}),
        ("a cup without a red table, no dogs or cats, nobody", {(None, "cup")}),
        ("no dogs and a cat", {(None, "cat")}),
        ("boys with toys", {(None, "person")}),
    ],
)
def test_free_text_is_understood(text: str, expected: set) -> None:
    assert mentions(text) == expected


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    for color, kind in mentions(text):
        assert kind in KINDS
        assert color is None or color in COLORS
