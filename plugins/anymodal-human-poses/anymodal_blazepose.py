"""People found in photographs by BlazePose, as SMPL poses.

BlazePose (Bazarevsky et al. 2020; three-dimensional in Grishchenko et al. 2022) finds people, and 33 landmarks of each,
in the picture and in meters. The rotations of SMPL follow from them in closed form as in HybrIK (Li et al. 2021), with
the smallest turn of each limb: how it is twisted round itself, landmarks do not show.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from anymodal_smpl import JOINTS, PARENTS, SHAPES, Person, rest, skeleton

from anymodal import CheckpointError, Labeler, PictureLabeler, PluginError, hookimpl
from anymodal.families.boxes import box_iou, clip_box

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

LANDMARKS = 33
NOSE, EARS, SHOULDERS, HIPS = 0, (7, 8), (11, 12), (23, 24)
# Joints of SMPL turned by a limb: joint, its child, and the landmarks at the ends of the limb, left and right.
LIMBS = (
    *((16, 18, (11,), (13,)), (17, 19, (12,), (14,)), (18, 20, (13,), (15,)), (19, 21, (14,), (16,))),
    *((20, 22, (15,), (17, 19)), (21, 23, (16,), (18, 20))),
    *((1, 4, (23,), (25,)), (2, 5, (24,), (26,)), (4, 7, (25,), (27,)), (5, 8, (26,), (28,))),
    *((7, 10, (27,), (31,)), (8, 11, (28,), (32,))),
)
SPINE, COLLARS, ARMS, LEGS, NECK, HEAD = (3, 6, 9), (13, 14), (16, 17), (1, 2), 12, 15
# Where joints of SMPL and landmarks are the same point of the body.
SHARED = {16: 11, 17: 12, 18: 13, 19: 14, 20: 15, 21: 16, 1: 23, 2: 24, 4: 25, 5: 26, 7: 27, 8: 28}
FACING = (0.0, -0.2, 1.0)  # from between the ears to the tip of the nose, head upright

DETECTORS = (
    *("modules/pose_detection/pose_detection.tflite", "pose_detection.tflite"),
    "pose_solution_packed_assets.data",  # of the npm package, and nothing but that file
)
LANDMARKERS = (
    *("pose_landmark_heavy.tflite", "pose_landmark_full.tflite", "pose_landmark_lite.tflite"),
    "modules/pose_landmark/pose_landmark_full.tflite",
)
GRIDS = ((28, 2), (14, 2), (7, 6))  # cells a side of the detector's three maps, and boxes a cell
SEEN, CUT = 224, 256  # pixels a side of the pictures that the detector and the landmarker see
STRAY = 0.003  # share of the pixels of a person that the box leaves out on each side, for some are specks
NEAR = 3  # cells of a heat map round a landmark that refine it
MARGIN = 1.25  # of the square that the landmarks are sought in round the circle of the body


class BlazePoseLabeler(PictureLabeler):
    """People of a photograph: box, orientation and pose; average shape, and a camera that fits the landmarks.

    Limbs that are out of sight are where BlazePose supposes them. The weights come with the package mediapipe before
    0.10.30, or are the folder of the npm package @mediapipe/pose, whose larger network is the better one.
    """

    modality, checkpoint, packages = "human_poses", "mediapipe", ("ai_edge_litert",)
    least = 0.5  # chance that a detection is a person, that a landmark is visible, that a pixel is of the person
    overlap = 0.3  # intersection over union above which two detections are one person

    def load(self) -> None:
        folder = self._folder()
        self.detector = Network(present(folder, DETECTORS))
        self.landmarker = Network(present(folder, LANDMARKERS))

    def _folder(self) -> Path:
        if self.checkpoint != type(self).checkpoint:
            return Path(str(self.checkpoint))
        package = find_spec("mediapipe")
        if package is None or not package.origin or not (Path(package.origin).parent / DETECTORS[0]).exists():
            raise PluginError(
                "BlazePose has no weights here; npm install @mediapipe/pose and give the folder"
                " node_modules/@mediapipe/pose, or pip install --no-deps 'mediapipe<0.10.30'"
            )
        return Path(package.origin).parent

    def predict(self, pictures: "list[np.ndarray]") -> list[Any]:
        return [self.people(picture) for picture in pictures]

    def people(self, picture: "np.ndarray") -> list[Person]:
        """The people of a photograph uint8 (H, W, 3), those seen best first."""
        bodies = [body for body in (self.body(picture, square) for square in self.squares(picture)) if body is not None]
        kept: list[Body] = []
        for body in sorted(bodies, key=lambda b: -float(b.visible.mean())):
            if all(distance(body, other) > 0.5 for other in kept):
                kept.append(body)
        return [as_person(body, picture.shape[1], picture.shape[0], self.least) for body in kept]

    def squares(self, picture: "np.ndarray") -> "list[Square]":
        """Where people are, in the whole picture and in parts of it, for the network finds few in one view."""
        height, width = picture.shape[:2]
        found = [self.detected(picture, view) for view in views(height, width)]
        boxes, chances, rays = (np.concatenate(column) for column in zip(*found, strict=True))
        return [around(*rays[number]) for number in kept_boxes(boxes, chances, self.least, self.overlap)]

    def detected(self, picture: "np.ndarray", view: "Square") -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
        """Boxes (n, 4), chances (n,), and middle and rim (n, 2, 2) of people in a square of the picture, in pixels."""
        boxes, scores = self.detector(2 * cut(picture, view, SEEN) - 1, ((12,), (1,)))
        chances = sigmoid(scores[:, 0])
        sure = chances >= self.least
        points = boxes.reshape(-1, 6, 2)[sure] / SEEN
        half = points[:, 1] / 2
        points = points + anchors()[sure, None]
        corners = np.stack([points[:, 0] - half, points[:, 0] + half], 1)
        placed = [view.placed(corner) for corner in (*corners.transpose(1, 0, 2), points[:, 2], points[:, 3])]
        return np.concatenate(placed[:2], 1), chances[sure], np.stack(placed[2:], 1)

    def body(self, picture: "np.ndarray", square: "Square") -> "Body | None":
        """The landmarks in a square; None if nobody is there."""
        ends = ((195,), (1,), (CUT, CUT, 1), (64, 64, 39), (117,))
        landmarks, chance, inside, heat, meters = self.landmarker(cut(picture, square, CUT), ends)
        if chance.item() < self.least:
            return None
        rows = landmarks.reshape(-1, 5)[:LANDMARKS]
        return Body(
            square.placed(refined(rows[:, :2] / CUT, sigmoid(heat))),
            meters.reshape(-1, 3)[:LANDMARKS] @ square.turn(3).T,
            sigmoid(rows[:, 3]),
            square.placed((np.argwhere(sigmoid(inside[..., 0]) > self.least)[:, ::-1] + 0.5) / CUT),
        )


@attrs.frozen
class Square:
    """A turned square of a picture, in pixels and radians: upright is 0, lying on its right side a quarter turn."""

    x: float
    y: float
    side: float
    angle: float

    def turn(self, axes: int = 2) -> "np.ndarray":
        """The rotation in the plane of the picture from the upright square into this one."""
        turn = np.eye(axes)
        turn[:2, :2] = [[np.cos(self.angle), -np.sin(self.angle)], [np.sin(self.angle), np.cos(self.angle)]]
        return turn

    def placed(self, points: "np.ndarray") -> "np.ndarray":
        """Points (n, 2) in fractions of the square, in pixels of the picture."""
        return (points - 0.5) * self.side @ self.turn().T + [self.x, self.y]


@attrs.frozen(eq=False)
class Body:
    """Landmarks (33, 2) in pixels, the same (33, 3) in meters (x right, y down, z away), how visible each is, and the
    pixels (n, 2) that are of the person.
    """

    points: "np.ndarray"
    meters: "np.ndarray"
    visible: "np.ndarray"
    inside: "np.ndarray"


class Network:
    """A network of LiteRT that reads one picture."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.path = path
        self.interpreter = Interpreter(model_content=path.read_bytes())
        self.interpreter.allocate_tensors()

    def __call__(self, picture: "np.ndarray", ends: tuple[tuple[int, ...], ...]) -> "list[np.ndarray]":
        """The outputs whose shapes end in `ends`, for a picture (H, W, 3). Raises CheckpointError if one is missing."""
        (entry,) = self.interpreter.get_input_details()
        self.interpreter.set_tensor(entry["index"], picture[None].astype(np.float32))
        self.interpreter.invoke()
        outputs = {}
        for output in self.interpreter.get_output_details():
            outputs[tuple(output["shape"])] = self.interpreter.get_tensor(output["index"])[0]
        return [self._ending(outputs, end) for end in ends]

    def _ending(self, outputs: "dict[tuple[int, ...], np.ndarray]", end: tuple[int, ...]) -> "np.ndarray":
        for shape, values in outputs.items():
            if shape[-len(end) :] == end:
                return values
        raise CheckpointError(f"{self.path}: no output of shape (..., {', '.join(map(str, end))}); not BlazePose")


def present(folder: Path, names: tuple[str, ...]) -> Path:
    """The first of some files that the folder has. Raises CheckpointError."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder} has no {' nor '.join(names[1:])}; npm install @mediapipe/pose and give its folder")


def anchors() -> "np.ndarray":
    """The centers (2254, 2) that boxes of the detector are relative to, in fractions of its picture."""
    found = []
    for cells, count in GRIDS:
        ys, xs = np.divmod(np.repeat(np.arange(cells**2), count), cells)
        found.append((np.stack([xs, ys], 1) + 0.5) / cells)
    return np.concatenate(found)


def views(height: int, width: int) -> list[Square]:
    """The square round a picture, and nine of half its size that overlap by half."""
    side = max(height, width)
    quarters = (0.25, 0.5, 0.75)
    whole = Square(width / 2, height / 2, side, 0.0)
    parts = [whole.placed(np.array([x, y])).tolist() for y in quarters for x in quarters]
    return [whole, *(Square(x, y, side / 2, 0.0) for x, y in parts)]


def refined(points: "np.ndarray", heat: "np.ndarray") -> "np.ndarray":
    """Points (n, 2) in fractions moved to the center of mass of their heat maps (cells, cells, more than n) near them.

    A point stays where no cell near it reaches one half.
    """
    cells, moved = len(heat), points.copy()
    for number, (x, y) in enumerate((points * cells).astype(int).tolist()):
        left, top = max(x - NEAR, 0), max(y - NEAR, 0)
        near = heat[top : max(y + NEAR + 1, 0), left : max(x + NEAR + 1, 0), number]
        if near.size and near.max() >= 0.5:
            ys, xs = np.indices(near.shape)
            moved[number] = np.array([(near * (xs + left)).sum(), (near * (ys + top)).sum()]) / near.sum() / cells
    return moved


def kept_boxes(boxes: "np.ndarray", chances: "np.ndarray", least: float, overlap: float) -> list[int]:
    """The numbers of the boxes (n, 4) that are sure enough and overlap no surer one, the surest first."""
    left = np.argsort(-chances, kind="stable")
    left, kept = left[chances[left] >= least], []
    while len(left):
        kept.append(int(left[0]))
        left = left[1:][box_iou(boxes[left[:1]], boxes[left[1:]])[0] <= overlap]
    return kept


def around(center: "np.ndarray", rim: "np.ndarray") -> Square:
    """The square round a body with `center` between its hips and `rim` on the circle round it, beyond the head."""
    (x, y), (right, down) = center.tolist(), (rim - center).tolist()
    return Square(x, y, max(2 * MARGIN * float(np.hypot(right, down)), 1.0), float(np.arctan2(right, -down)))


def cut(picture: "np.ndarray", square: Square, size: int) -> "np.ndarray":
    """That square of a picture uint8 (H, W, 3), black outside of it: float32 (size, size, 3) from 0 to 1."""
    from PIL import Image

    less = max(1, int(square.side / size))
    image = Image.fromarray(picture).reduce(less)
    step = square.turn() * (square.side / size / less)
    corner = (np.array([square.x, square.y]) / less) - step @ np.full(2, size / 2)
    affine = (step[0, 0], step[0, 1], corner[0], step[1, 0], step[1, 1], corner[1])
    turned = image.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    return np.asarray(turned, np.float32) / 255


def sigmoid(logits: "np.ndarray") -> "np.ndarray":
    return 1 / (1 + np.exp(-logits.clip(-50, 50)))


def distance(a: Body, b: Body) -> float:
    """How far apart two bodies are in the picture, by head, arms and trunk, in lengths of the longer trunk."""
    trunks = [np.linalg.norm(x.points[list(SHOULDERS)].mean(0) - x.points[list(HIPS)].mean(0)) for x in (a, b)]
    upper = slice(HIPS[1] + 1)
    return float(np.linalg.norm(a.points[upper] - b.points[upper], axis=1).mean() / max(*trunks, 1e-9))


# From landmarks to SMPL.


def as_person(body: Body, width: int, height: int, least: float = 0.5) -> Person:
    """The person with these landmarks in a picture of that size; its joints in the picture are those of the pose."""
    seen = body.visible >= least
    outline = body.inside if len(body.inside) else body.points[seen] if seen.any() else body.points
    corners = np.quantile(outline, (STRAY, 1 - STRAY), axis=0).ravel() / [width, height, width, height]
    box = clip_box(corners.tolist())
    turns = pose(body.meters)
    upright = Person(box, turns[0], turns[1:], np.zeros(SHAPES), np.array([1.0, 0.0, 0.0]))
    joints = skeleton(upright)[:, :2]
    scale, shift = fitted(joints, body.points, seen)
    pixels = np.array(box) * [width, height, width, height]
    side = max(pixels[2] - pixels[0], pixels[3] - pixels[1], 1.0)
    middle = (pixels[:2] + pixels[2:]) / 2
    camera = np.array([2 * scale / side, *((shift - middle) / scale)])
    return attrs.evolve(upright, camera=camera, joints_2d=(joints * scale + shift) / [width, height])


def fitted(joints: "np.ndarray", points: "np.ndarray", seen: "np.ndarray") -> "tuple[float, np.ndarray]":
    """Pixels a meter and the pixel of the pelvis that bring the joints (24, 2) nearest to the visible landmarks."""
    pairs = [pair for pair in SHARED.items() if seen[pair[1]]]
    pairs = pairs if len(pairs) > 1 else list(SHARED.items())
    ours, theirs = joints[[a for a, _ in pairs]], points[[b for _, b in pairs]]
    left, right = ours - ours.mean(0), theirs - theirs.mean(0)
    scale = max(float((left * right).sum() / max((left**2).sum(), 1e-9)), 1e-3)
    return scale, theirs.mean(0) - scale * ours.mean(0)


def pose(landmarks: "np.ndarray") -> "np.ndarray":
    """The rotations (24, 3, 3) of SMPL for landmarks (33, 3) in meters, the first that of the body in the camera.

    The body is upright along the line from hips to shoulders; the spine is twisted from the one to the other but not
    bent; collars, toes and fingers are as at rest.
    """
    base, local = rest(), np.tile(np.eye(3), (JOINTS, 1, 1))
    turns = local.copy()

    def at(numbers: tuple[int, ...]) -> "np.ndarray":
        return landmarks[list(numbers)].mean(0)

    def across(pair: tuple[int, int]) -> "np.ndarray":
        return landmarks[pair[0]] - landmarks[pair[1]]

    def turn(joint: int, by: "np.ndarray") -> None:
        local[joint] = by
        turns[joint] = turns[PARENTS[joint]] @ by if joint else by

    left, up = np.array([1.0, 0, 0]), at(SHOULDERS) - at(HIPS)
    trunk = frame(left, base[list(ARMS)].mean(0) - base[list(LEGS)].mean(0)).T
    turn(0, frame(across(HIPS), up) @ trunk)
    twist = turns[0].T @ frame(across(SHOULDERS), up) @ trunk
    for joint in SPINE:
        turn(joint, share(twist, 1 / len(SPINE)))
    for collar in COLLARS:
        turn(collar, np.eye(3))
    from_shoulders = base[HEAD] - base[list(ARMS)].mean(0)
    turn(NECK, arc(from_shoulders, turns[SPINE[-1]].T @ (at(EARS) - at(SHOULDERS))))
    facing = frame(across(EARS), landmarks[NOSE] - at(EARS)) @ frame(left, np.array(FACING)).T
    turn(HEAD, turns[NECK].T @ facing)
    for joint, child, start, end in LIMBS:
        turn(joint, arc(base[child] - base[joint], turns[PARENTS[joint]].T @ (at(end) - at(start))))
    return local


def frame(x: "np.ndarray", y: "np.ndarray") -> "np.ndarray":
    """The rotation whose second axis is along y and whose first is as near to x as can be; Gram-Schmidt."""
    y = y / max(float(np.linalg.norm(y)), 1e-9)
    x = x - (x @ y) * y
    x = x / max(float(np.linalg.norm(x)), 1e-9)
    return np.stack([x, y, np.cross(x, y)], 1)


def arc(a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
    """The smallest rotation from the direction of a to that of b (Rodrigues' formula)."""
    a, b = (v / max(float(np.linalg.norm(v)), 1e-9) for v in (a, b))
    axis, cosine = np.cross(a, b), float(a @ b)
    if cosine < -0.999999:
        other = np.cross(a, np.eye(3)[np.abs(a).argmin()])
        other /= np.linalg.norm(other)
        return 2 * np.outer(other, other) - np.eye(3)
    return np.eye(3) + cross(axis) + cross(axis) @ cross(axis) / (1 + cosine)


def share(turn: "np.ndarray", part: float) -> "np.ndarray":
    """A part of a rotation of less than half a turn, round the same axis."""
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    length = float(np.linalg.norm(axis))
    if length < 1e-9:
        return np.eye(3)
    angle = part * float(np.arctan2(length, np.trace(turn) - 1))
    k = cross(axis / length)
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def cross(v: "np.ndarray") -> "np.ndarray":
    """The matrix whose product with a vector is v x vector."""
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"blazepose": BlazePoseLabeler}
