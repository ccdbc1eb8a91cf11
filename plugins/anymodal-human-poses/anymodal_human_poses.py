"""How people stand, in the parameters of SMPL."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from anymodal_bodies import draw_body
from anymodal_smpl import (
    CODES,
    JOINTS,
    MIRROR,
    POSE,
    SHAPES,
    Body,
    Person,
    geodesic,
    in_picture,
    mean_person,
    read_body,
    rotations,
    skeleton,
)

from anymodal import CodedModality, Crop
from anymodal.errors import ValueProblem, one_line, require
from anymodal.families.agreement import grouped, matched
from anymodal.families.boxes import backdrop, box_iou, clip_box, crop_box, crop_points, match
from anymodal.families.drawing import marked, note
from anymodal.families.text import MOST_LEVELS
from anymodal.files import naming, read_json
from anymodal.text import parse_value

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

MOST_PEOPLE = 1000  # of one picture
MOST = 1e6  # of any number of a person; all are about 1 in size
BLOCKS = ("pose", "global", "camera", "shape")
NAMES_IN_FILES = {"codes": "pose_tokenized"}
LEAST_SHARE = 0.25  # of several draws that have a person
COUNTS = {"pose": CODES, "global": 9, "camera": 3, "shape": SHAPES}


class HumanPoses(CodedModality):
    """People: a list of `Person`, SMPL parameters (Loper et al. 2015) as HMR2 predicts them (Goel et al. 2023).

    Spelled (4M-21, arXiv 2406.09406) `human` and the box, then in any order `pose` and 8 codes of the body pose,
    `global` and the orientation, `camera`, `shape`; `none` without people. The codes come from a tokenizer of 207
    numbers with 8 codebooks. A mirrored picture mirrors the pose, left for right.
    Files: JSON in the layout of 4D-Humans, boxes in pixels of a picture of `img_size` [width, height]; where a file
    does not say it, `picture` gives the side of all pictures.
    """

    settings = (*CodedModality.settings, "bins", "picture")
    repository = "EPFL-VILAB/4M_tokenizers_human-poses_1k_8"
    loss = "smooth_l1"
    codes, channels = CODES, POSE
    limits = {"bins": (2, MOST_LEVELS)}
    length = 275
    bins = 1000
    picture = 0

    # Values.

    def accept(self, value: Any) -> list[Person]:
        if self.is_file(value):
            return self.from_file(value)
        if isinstance(value, Mapping):
            return self._from_humans(value)
        if not isinstance(value, (list, tuple)) or not all(isinstance(p, Person) for p in value):
            raise self.problem(value, "a list of Person, or the dict of 4D-Humans")
        if len(value) > MOST_PEOPLE:
            raise ValueProblem(f"{self.name} takes up to {MOST_PEOPLE} people, got {len(value)}; keep the largest")
        return [self._checked(p) for p in value]

    def _checked(self, person: Person) -> Person:
        shapes = {"box": (4,), "global_orient": (3, 3), "betas": (SHAPES,), "camera": (3,)}
        options = {"body_pose": (23, 3, 3), "joints": (JOINTS, 3), "joints_2d": (JOINTS, 2), "codes": (CODES,)}
        values: dict[str, Any] = {}
        for key, shape in (shapes | options).items():
            given = getattr(person, key)
            if given is None and key in options:
                continue
            try:
                array = np.asarray(given, np.float64)
            except (TypeError, ValueError, OverflowError):
                array = np.empty(0)
            if array.shape != shape or not (np.abs(array) <= MOST).all():  # NaN is neither
                raise ValueProblem(
                    f"{self.name}: {key} of a person is {shape} numbers up to {MOST:g}, got {one_line(repr(given), 80)}"
                )
            values[key] = array
            if key in ("global_orient", "body_pose") and not self.are_rotations(array):
                raise ValueProblem(f"{self.name}: {key} of a person is made of rotations, these matrices are none")
        x0, y0, x1, y1 = values["box"].tolist()
        if x0 > x1 or y0 > y1:
            raise ValueProblem(f"{self.name}: a box is (xmin, ymin, xmax, ymax), got {(x0, y0, x1, y1)}")
        codes = values.get("codes")
        if codes is not None:
            if codes.min() < 0 or codes.max() >= self.codebook or (codes % 1).any():
                said = one_line(repr(person.codes), 80)
                raise ValueProblem(f"{self.name}: codes are whole numbers 0 to {self.codebook - 1}, got {said}")
            values["codes"] = codes.astype(np.int64)
        elif "body_pose" not in values:
            raise ValueProblem(f"{self.name}: a person needs body_pose or codes, this one has neither")
        return Person(**{"body_pose": None} | values | {"box": tuple(values["box"].tolist())})

    def parts_in(self, value: list[Person], other: list[Person]) -> "np.ndarray":
        """Which people another value has too: with an overlap (IoU) of their boxes of at least 0.5."""
        return matched(box_overlaps(value, other))

    def merge(self, values: list[list[Person]]) -> list[Person]:
        """The people that enough of the draws have, each the mean of those who stand in one place."""
        groups = grouped(values, box_overlaps)
        return [mean_person(group) for group in groups if len(group) >= LEAST_SHARE * len(values)]

    def examples(self, rng: "np.random.Generator") -> dict[str, list[Person]]:
        turns = rotations(rng.standard_normal((48, 3, 3))).reshape(2, 24, 3, 3)
        boxes, camera = ((0.125, 0.25, 0.5, 0.75), (0.4, 0.1, 0.7, 1.0)), np.array([0.9, 0.1, 0.2])
        people = [Person(b, t[0], t[1:], rng.uniform(-2, 2, SHAPES), camera) for b, t in zip(boxes, turns, strict=True)]
        return {"one": people[:1], "none": [], "two": people}

    def read(self, path: Path) -> list[Person]:
        path = Path(path)
        value = read_json(path)
        with naming(path):
            return self.accept(value if value else [])

    @staticmethod
    def are_rotations(matrices: "np.ndarray") -> bool:
        """Whether matrices (..., 3, 3) are rotations, up to rounding: orthogonal within a tenth, and no mirrors."""
        products = matrices @ np.swapaxes(matrices, -1, -2)
        return bool((np.abs(products - np.eye(3)) < 0.1).all() and (np.linalg.det(matrices) > 0).all())

    def _from_humans(self, value: Mapping[str, Any]) -> list[Person]:
        """People in the layout of 4D-Humans. Raises ValueProblem."""
        if not value:
            return []
        layout = f"{self.name}: the dict of 4D-Humans"
        require(value, ("bbox_xyxy", "pred_smpl_params", "pred_cam"), layout)
        boxes, smpl = value["bbox_xyxy"], value["pred_smpl_params"]
        require(smpl, ("global_orient", "betas"), f"'pred_smpl_params' of {layout}")
        try:
            stated = value.get("img_size")  # null is absent
            size = np.asarray(self.picture if stated is None else stated, np.float64).reshape(-1)[:2]
            if not (size > 0).all():
                raise ValueProblem(
                    f"{self.name}: boxes in pixels need 'img_size' [width, height] in the file,"
                    " or the number 'picture', the side of all pictures"
                )
            scale = np.tile(np.broadcast_to(size, 2), 2)
            optional = {"body_pose": smpl, "joints": value, "joints_2d": value, "pose_tokenized": value}
            found = {key: where.get(key) for key, where in optional.items()}
            lacks = [key for key, given in found.items() if given is None or not len(given)]
            named = {"global_orient": smpl["global_orient"], "betas": smpl["betas"], "pred_cam": value["pred_cam"]}
            for key, rows in (named | {key: rows for key, rows in found.items() if key not in lacks}).items():
                if len(rows) != len(boxes):
                    raise ValueProblem(f"{layout} has {len(boxes)} boxes and {len(rows)} {key}; give one a person")
            extra: dict[str, Any] = found | dict.fromkeys(lacks, [None] * len(boxes))
            return [
                self._checked(
                    Person(
                        tuple(np.asarray(box, np.float64) / scale),  # type: ignore[arg-type]
                        np.asarray(smpl["global_orient"][k], np.float64).reshape(3, 3),
                        extra["body_pose"][k],
                        smpl["betas"][k],
                        value["pred_cam"][k],
                        extra["joints"][k],
                        extra["joints_2d"][k],
                        extra["pose_tokenized"][k],
                    )
                )
                for k, box in enumerate(boxes)
            ]
        except (IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
            if isinstance(error, ValueProblem):
                raise
            raise ValueProblem(
                f"{self.name}: not in the layout of 4D-Humans: {type(error).__name__}: {error}"
            ) from None

    def plain(self, value: list[Person]) -> dict[str, Any] | list[Any]:
        """4D-Humans' layout, in a picture of 1 x 1."""
        if not value:
            return []
        people: dict[str, Any] = {
            "img_size": [1, 1],
            "bbox_xyxy": [list(p.box) for p in value],
            "pred_smpl_params": {
                "global_orient": [[p.global_orient.tolist()] for p in value],
                "betas": [p.betas.tolist() for p in value],
            },
            "pred_cam": [p.camera.tolist() for p in value],
        }
        for key in ("body_pose", "joints", "joints_2d", "codes"):
            known = [getattr(p, key) for p in value]
            if any(part is not None for part in known):
                target = people["pred_smpl_params"] if key == "body_pose" else people
                target[NAMES_IN_FILES.get(key, key)] = [part if part is None else part.tolist() for part in known]
        return people

    def crop(self, value: list[Person], crop: Crop) -> list[Person]:
        """The people in the crop with what is left of their boxes, mirrored with it.

        The camera stays that of the whole box, as in 4M.
        """
        kept = []
        for person in value:
            box = crop_box(person.box, crop)
            if max(box[0], box[1]) > 1 or min(box[2], box[3]) < 0:
                continue
            points = None if person.joints_2d is None else crop_points(person.joints_2d, crop)
            person = attrs.evolve(person, box=clip_box(box), joints_2d=points)
            kept.append(self.mirrored(person) if crop.flip else person)
        return kept

    def mirrored(self, person: Person) -> Person:
        """The person in a mirror, whose box and `joints_2d` are already there. Raises ValueProblem without a pose."""
        pose = self._pose(person)
        axis = np.array([-1.0, 1.0, 1.0])
        turned = np.outer(axis, axis)
        order = list(MIRROR)
        return attrs.evolve(
            person,
            global_orient=person.global_orient * turned,
            body_pose=pose[[k - 1 for k in order[1:]]] * turned,
            camera=person.camera * np.array([1.0, -1.0, 1.0]),
            joints=None if person.joints is None else person.joints[order] * axis,
            joints_2d=None if person.joints_2d is None else person.joints_2d[order],
            codes=None,
        )

    def joints(self, person: Person, body: Body | None = None) -> "np.ndarray":
        """The joints (24, 3) of a person in meters, the pelvis first; as measured, or those of `body` in the pose."""
        return skeleton(person, body)

    def body(self, path: str | Path) -> Body:
        """The joints of SMPL's body model, from a file that its license allows you to have; see `read_body`."""
        return read_body(Path(path))

    # The tokenizer inside the sequence.

    def preprocess(self, value: list[Person]) -> "np.ndarray":
        """The pose (207,) of the first person; zeros without people."""
        return self._pose(value[0]).reshape(POSE).astype(np.float32) if value else np.zeros(POSE, np.float32)

    def parts(self, value: list[Person]) -> "list[np.ndarray]":
        """The poses (207,) of all people whose pose is known."""
        return [self.preprocess([person]) for person in value if person.body_pose is not None]

    def postprocess(self, tensor: "np.ndarray") -> "np.ndarray":
        """Body poses (23, 3, 3), made rotations again (nearest in the Frobenius norm)."""
        return rotations(np.asarray(tensor, np.float64).reshape(-1, 3, 3))

    def _pose(self, person: Person) -> "np.ndarray":
        return self._decoded([person.codes])[0] if person.body_pose is None else person.body_pose

    def _codes(self, value: list[Person]) -> "list[np.ndarray]":
        poses = [p.body_pose.reshape(POSE) for p in value if p.codes is None and p.body_pose is not None]
        made = self.encode_parts(poses)
        return [made.pop(0) if p.codes is None else p.codes for p in value]

    def _decoded(self, codes: "list[Any]") -> "list[np.ndarray]":
        return [self.postprocess(row) for row in self.decode_parts(codes)]

    # Text.

    def chunks(self, value: list[Person], rng: "np.random.Generator | None" = None) -> list[str]:
        if not value:
            return ["none"]
        return [self._spelled(p, codes, rng) for p, codes in zip(value, self._codes(value), strict=True)]

    def spell(self, value: list[Person], rng: "np.random.Generator | None" = None) -> str:
        return " ".join(self.chunks(value, rng))

    def _spelled(self, person: Person, codes: "np.ndarray", rng: "np.random.Generator | None") -> str:
        blocks = {
            "pose": self.spell_codes(codes),
            "global": self._levels(person.global_orient, -1, 1),
            "camera": self._levels(person.camera, -1, 19),
            "shape": self._levels(person.betas, -3, 3),
        }
        order = range(len(BLOCKS)) if rng is None else rng.permutation(len(BLOCKS))
        corners = [f"v{k}={round(v * (self.bins - 1))}" for k, v in enumerate(clip_box(person.box))]
        words = [["human", *corners], *([BLOCKS[k], *blocks[BLOCKS[k]]] for k in order)]
        return " ".join(word for block in words for word in block)

    def _levels(self, values: "np.ndarray", low: float, high: float) -> list[str]:
        top = self.bins - 1
        shares = (np.asarray(values).ravel().clip(low, high) - low) * (top / (high - low))
        return [f"v0={round(v)}" for v in shares.tolist()]

    def parse(self, text: str) -> list[Person]:
        """The people whose box and four blocks are whole.

        Raises CheckpointError if there are some and no tokenizer.
        """
        people = [p for p in map(self._person, re.split(r"(?:^|\s)human(?!\S)", text)[1:]) if p is not None]
        if not people:
            return []
        poses = self._decoded([p.codes for p in people])
        return [attrs.evolve(p, body_pose=pose) for p, pose in zip(people, poses, strict=True)]

    def _person(self, text: str) -> Person | None:
        """The person in the words after `human`."""
        block, found = "box", {"box": [], **{name: [] for name in BLOCKS}}  # type: ignore[var-annotated]
        for word in text.split():
            value = parse_value(word)
            if value is not None:
                found[block].append(value)
            elif word in BLOCKS and not found[word]:
                block = word
            else:
                break
        corners = found.pop("box")
        whole = [k for k, _ in corners] == [0, 1, 2, 3] and all(len(found[n]) == c for n, c in COUNTS.items())
        codes, top = self.read_codes(found["pose"]), self.bins - 1
        numbers = {n: [v for k, v in found[n] if k == 0 and v <= top] for n in BLOCKS[1:]}
        if not whole or codes is None or any(len(v) != COUNTS[n] for n, v in numbers.items()):
            return None
        x0, y0, x1, y1 = (min(v / top, 1.0) for _, v in corners)
        if x0 > x1 or y0 > y1:
            return None
        unit = {n: np.array(v) / top for n, v in numbers.items()}
        return Person(
            (x0, y0, x1, y1),
            rotations((2 * unit["global"] - 1).reshape(1, 3, 3))[0],
            None,
            6 * unit["shape"] - 3,
            20 * unit["camera"] - 1,
            codes=codes,
        )

    # For people.

    def show(self, value: list[Person], size: int = 256, picture: "np.ndarray | None" = None) -> "Image":
        """Bodies, left limbs warm and right ones cool, over the dimmed picture or paper, the large ones on top."""
        canvas = backdrop(size, picture, 0.7 if value else 1.0)
        if not value:
            return note(canvas, "no people")
        for person in sorted(value, key=lambda p: p.box[3] - p.box[1]):
            draw_body(canvas, in_picture(person) * size)
        return canvas

    def show_over(self, value: list[Person], picture: "np.ndarray", size: int = 256) -> "Image":
        return self.show(value, size, picture)

    def show_doubts(self, value: list[Person], uncertainty: "np.ndarray", size: int = 256) -> "Image":
        places = [((p.box[0] + p.box[2]) / 2, (p.box[1] + p.box[3]) / 2) for p in value]
        return marked(self.show(value, size), places, [f"{1 - doubt:.0%}" for doubt in uncertainty.tolist()])

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Over people matched by their boxes: mean angle between the 24 rotations in degrees, and `mpjpe`.

        `mpjpe` is the mean distance of the joints in millimeters, pelvis on pelvis; `found` the share of true people.
        """
        angles, gaps, found, wanted = [], [], 0, 0
        for predicted, true in zip(predictions, truths, strict=True):
            pairs = match(box_iou([p.box for p in predicted], [t.box for t in true]))
            found, wanted = found + len(pairs), wanted + len(true)
            for row, column in pairs:
                p, t = predicted[row], true[column]
                if p.body_pose is None or t.body_pose is None:
                    continue
                turns = [np.concatenate([x.global_orient[None], x.body_pose]) for x in (p, t)]
                angles.append(geodesic(*turns).mean())
                joints = [x - x[:1] for x in map(skeleton, (p, t))]
                gaps.append(np.linalg.norm(joints[0] - joints[1], axis=1).mean())
        scores = {"found": found / wanted if wanted else 1.0}
        if angles:
            scores |= {"rotation_error": float(np.mean(angles)), "mpjpe": float(1000 * np.mean(gaps))}
        return scores


def box_overlaps(value: Sequence[Person], other: Sequence[Person]) -> "np.ndarray":
    """The overlaps (IoU) (n, m) of the boxes of two values."""
    return box_iou([p.box for p in value], [p.box for p in other])
