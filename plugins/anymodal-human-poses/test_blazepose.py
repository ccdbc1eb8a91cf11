"""BlazePose as a labeler: its geometry, and the whole of it with small networks whose answers are planted."""

from __future__ import annotations

import attrs
import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tflite
from anymodal_blazepose import (
    CUT,
    EARS,
    LANDMARKS,
    LIMBS,
    NOSE,
    SHARED,
    BlazePoseLabeler,
    Square,
    anchors,
    around,
    cut,
    kept_boxes,
    pose,
    refined,
)
from anymodal_human_poses import HumanPoses
from anymodal_smpl import MIRROR, Person, geodesic, in_picture, rest, rotations, skeleton
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.errors import CheckpointError, PluginError

STANDING = np.diag([1.0, -1.0, -1.0])  # upright and facing the camera
seeds = st.integers(0, 2**32)
LEFT_RIGHT = [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, *(n + 1 if n % 2 else n - 1 for n in range(11, LANDMARKS))]


def person(turns: np.ndarray) -> Person:
    return Person((0, 0, 1, 1), turns[0], turns[1:], np.zeros(10), np.array([1.0, 0, 0]))


def landmarks_at_rest() -> np.ndarray:
    """A body at rest that faces the camera, in meters."""
    found, joints = np.zeros((LANDMARKS, 3)), rest()
    for joint, landmark in SHARED.items():
        found[landmark] = joints[joint]
    found[[17, 19]], found[[18, 20]], found[[31]], found[[32]] = joints[22], joints[23], joints[10], joints[11]
    found[list(EARS)] = joints[15] + np.array([[0.07, 0, 0], [-0.07, 0, 0]])
    found[NOSE] = joints[15] + np.array([0, -0.02, 0.1])
    return found @ STANDING.T


def random_landmarks(seed: int) -> np.ndarray:
    return landmarks_at_rest() + np.random.default_rng(seed).normal(scale=0.2, size=(LANDMARKS, 3))


def test_a_body_at_rest_has_no_turns():
    turns = pose(landmarks_at_rest())
    assert np.allclose(turns[0], STANDING, atol=1e-6)
    assert np.allclose(turns[1:], np.eye(3), atol=1e-6)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_every_limb_points_where_its_landmarks_do(seed):
    landmarks = random_landmarks(seed)
    turns = pose(landmarks)
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(turns), 1)
    joints = skeleton(person(turns))
    for joint, child, start, end in LIMBS:
        ours = joints[child] - joints[joint]
        theirs = landmarks[list(end)].mean(0) - landmarks[list(start)].mean(0)
        assert np.allclose(ours / np.linalg.norm(ours), theirs / np.linalg.norm(theirs), atol=1e-6)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_turned_and_mirrored_landmarks_are_the_turned_and_mirrored_person(seed):
    landmarks = random_landmarks(seed)
    turns = pose(landmarks)
    (turn,) = rotations(np.random.default_rng(seed).standard_normal((1, 3, 3)))
    again = pose(landmarks @ turn.T)
    assert np.allclose(again[0], turn @ turns[0], atol=1e-6) and np.allclose(again[1:], turns[1:], atol=1e-6)
    mirrored = pose(landmarks[LEFT_RIGHT] * [-1, 1, 1])
    expected = HumanPoses().mirrored(person(turns))
    assert np.allclose(mirrored[0], expected.global_orient, atol=1e-6)
    assert np.allclose(mirrored[1:], expected.body_pose, atol=1e-6) and len(MIRROR) == 24


@given(st.floats(-3, 3), st.floats(40, 160), st.floats(0.2, 0.8), st.floats(0.2, 0.8))
@settings(max_examples=30, deadline=None)
def test_what_is_cut_out_lies_where_the_square_places_it(angle, side, x, y):
    square = Square(150.0, 120.0, side, angle)
    spot = square.placed(np.array([x, y]))
    ys, xs = np.mgrid[:240, :300] + 0.5
    picture = np.exp(-((xs - spot[0]) ** 2 + (ys - spot[1]) ** 2) / 30) * 255
    seen = cut(np.repeat(picture[..., None], 3, 2).astype(np.uint8), square, 64)[..., 0]
    ys, xs = np.indices(seen.shape) + 0.5
    middle = np.array([(seen * xs).sum(), (seen * ys).sum()]) / seen.sum() / 64
    assert np.abs(middle - [x, y]).max() * side < 4 and seen.max() <= 1


def test_the_square_round_a_body_stands_on_its_head_with_it():
    middle, rim = np.array([50.0, 60.0]), np.array([50.0, 20.0])
    assert around(middle, rim) == Square(50, 60, 100, 0)
    lying = around(middle, np.array([90.0, 60.0]))
    assert lying.angle == pytest.approx(np.pi / 2)
    assert np.allclose(lying.placed(np.array([0.5, 0.1])), [90, 60])


def test_points_move_to_the_heat_near_them_if_there_is_any():
    heat = np.zeros((64, 64, 3))
    heat[12, 11, 0], heat[40, 40, 1], heat[12, 11, 2] = 0.9, 0.9, 0.4
    points = np.tile(np.array([10.5, 10.5]) / 64, (3, 1))
    assert np.allclose(refined(points, heat) * 64, [[11, 12], [10.5, 10.5], [10.5, 10.5]])


def test_the_surest_of_overlapping_boxes_is_kept():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [60, 0, 70, 10]], float)
    assert kept_boxes(boxes, np.array([0.7, 0.9, 0.8, 0.2]), 0.5, 0.3) == [1, 2]
    assert anchors().shape == (2254, 2) and np.allclose(anchors()[0], 0.5 / 28)


# The whole labeler, with networks of one layer.


def network(side: int, outputs: list[np.ndarray], bright: int) -> bytes:
    """A TFLite file that reads a picture (1, side, side, 3) and writes these arrays, plus to the array `bright`
    forty times the mean of the picture.
    """
    model, graph = tflite.ModelT(), tflite.SubGraphT()
    model.version, model.description, model.subgraphs = 3, b"planted", [graph]
    model.buffers, graph.tensors, graph.operators, model.operatorCodes = [tflite.BufferT()], [], [], []
    kinds = {"mean": tflite.BuiltinOperator.MEAN, "mul": tflite.BuiltinOperator.MUL, "add": tflite.BuiltinOperator.ADD}

    def tensor(shape, data=None, kind=tflite.TensorType.FLOAT32):
        made, buffer = tflite.TensorT(), tflite.BufferT()
        buffer.data = None if data is None else np.frombuffer(data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        made.shape, made.type, made.buffer, made.name = list(shape), kind, len(model.buffers) - 1, b"t"
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(name, inputs, output, options, made):
        code, node = tflite.OperatorCodeT(), tflite.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = kinds[name]
        code.version = 1
        model.operatorCodes.append(code)
        node.opcodeIndex, node.inputs, node.outputs = len(model.operatorCodes) - 1, inputs, [output]
        node.builtinOptionsType, node.builtinOptions = options, made
        graph.operators.append(node)

    picture, mean, light = tensor((1, side, side, 3)), tensor((1,)), tensor((1,))
    axes = tensor((4,), np.arange(4, dtype=np.int32), tflite.TensorType.INT32)
    operator("mean", [picture, axes], mean, tflite.BuiltinOptions.ReducerOptions, tflite.ReducerOptionsT())
    graph.inputs, graph.outputs = [picture], []
    for number, array in enumerate(outputs):
        factor = tensor((1,), np.full(1, 40.0 if number == bright else 0.0, np.float32))
        light = tensor((1,))
        operator("mul", [mean, factor], light, tflite.BuiltinOptions.MulOptions, tflite.MulOptionsT())
        graph.outputs.append(tensor(array.shape))
        constant = tensor(array.shape, array.astype(np.float32))
        operator("add", [constant, light], graph.outputs[-1], tflite.BuiltinOptions.AddOptions, tflite.AddOptionsT())
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def logit(share: np.ndarray) -> np.ndarray:
    return np.where(share, 8.0, -8.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The npm package with networks that see one body at rest in every bright picture."""
    path = tmp_path_factory.mktemp("pose")
    anchor = 2 * (14 * 28 + 14)
    boxes, scores = np.zeros((1, 2254, 12)), np.full((1, 2254, 1), -60.0)
    boxes[0, anchor] = [0, -20, 50, 50, 0, 0, 0, -80, 0, 0, 0, 0]  # round the middle; hips there, rim 80 above
    scores[0, anchor] = -10
    (path / "pose_solution_packed_assets.data").write_bytes(network(224, [boxes, scores], 1))
    meters = np.zeros((39, 3))
    meters[:LANDMARKS] = landmarks_at_rest()
    rows = np.zeros((39, 5))
    rows[:, :2] = 128 + 80 * meters[:, :2]
    rows[:, 3:] = 5
    inside = np.zeros((1, CUT, CUT, 1), bool)
    inside[0, 60:200, 100:156] = True
    heat = np.full((1, 64, 64, 39), -9.0)
    outputs = [rows.reshape(1, 195), np.zeros((1, 1)), logit(inside), heat, meters.reshape(1, 117)]
    (path / "pose_landmark_full.tflite").write_bytes(network(CUT, outputs, 1))
    return path


def test_people_are_found_where_they_are_and_as_they_stand(folder):
    labeler = am.registry().labeler("blazepose")(folder)
    bright, dark = np.full((300, 400, 3), 255, np.uint8), np.zeros((300, 400, 3), np.uint8)
    (nobody, people) = labeler.label([{"rgb": dark}, {"rgb": bright}])
    assert nobody == [] and people
    whole = [p for p in people if abs((p.box[1] + p.box[3]) / 2 - 0.5) < 0.1]
    assert HumanPoses().accept(people) and whole
    found = whole[0]
    assert geodesic(found.global_orient[None], STANDING[None])[0] < 1e-3
    assert np.allclose(found.body_pose, np.eye(3), atol=1e-5) and not found.betas.any()
    width, height = (found.box[2] - found.box[0]) * 400, (found.box[3] - found.box[1]) * 300
    assert width / height == pytest.approx(56 / 140, rel=0.05)
    pelvis, head = (found.joints_2d * [400, 300])[[0, 15]]
    assert head[1] < pelvis[1] and abs(head[0] - pelvis[0]) < 1


def test_the_camera_says_the_same_as_the_joints_in_a_square_picture(folder):
    labeler = BlazePoseLabeler(folder)
    (people,) = labeler.label([{"rgb": np.full((256, 256, 3), 255, np.uint8)}])
    for found in people:
        assert np.allclose(in_picture(attrs.evolve(found, joints_2d=None)), found.joints_2d, atol=1e-6)


def test_what_is_missing_is_named(tmp_path, folder, monkeypatch):
    with pytest.raises(CheckpointError, match="npm install @mediapipe/pose"):
        BlazePoseLabeler(tmp_path)
    monkeypatch.setattr("anymodal_blazepose.find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"npm install @mediapipe/pose.*pip install --no-deps 'mediapipe<0.10.30'"):
        BlazePoseLabeler()
    (tmp_path / "pose_detection.tflite").write_bytes(network(224, [np.zeros((1, 3))], 0))
    (tmp_path / "pose_landmark_full.tflite").write_bytes((folder / "pose_landmark_full.tflite").read_bytes())
    with pytest.raises(CheckpointError, match="not BlazePose"):
        BlazePoseLabeler(tmp_path).label([{"rgb": np.zeros((8, 8, 3), np.uint8)}])
    (tmp_path / "pose_detection.tflite").write_bytes(b"no network")
    with pytest.raises(CheckpointError, match="cannot load"):
        BlazePoseLabeler(tmp_path)
