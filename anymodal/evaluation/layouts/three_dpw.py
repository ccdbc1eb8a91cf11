"""3DPW (von Marcard et al. 2018): `imageFiles/SEQUENCE/image_00000.jpg` and `sequenceFiles/test/SEQUENCE.pkl`.

A pickle of Python 2 holds for each of one or two people `poses` (N, 72) as rotation vectors, `betas` (10,) and more,
`jointPositions` (N, 72) of SMPL's 24 joints in meters of the world; for each picture `cam_poses` (N, 4, 4) from the
world to the camera (x right, y down, z away), `cam_intrinsics` (3, 3), and for each person and picture `campose_valid`.
The standard tests leave out pictures in which no person's camera is valid, and so does this.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from anymodal.errors import ValueProblem
from anymodal.evaluation.layouts.array_pickles import read_array_pickle
from anymodal.evaluation.layouts.base import FileSamples, Sample, listed, photograph, stamps

JOINTS, SHAPES = 24, 10
MARGIN = 0.1  # of the box around the joints, which end at the hands, the feet and the neck
MOST_FRAMES = 100_000
SHORTEST, LONGEST = 1.0, 1e6  # focal lengths in pixels
OFF = 1e-2  # of the product of a rotation with its transpose from the unit matrix


@attrs.frozen(eq=False)
class Sequence:
    """A sequence of N pictures with P people.

    joints: (P, N, 24, 3) meters of the world. turns: (P, N, 24, 3) rotation vectors. betas: (P, 10).
    cameras: (N, 4, 4) from the world. intrinsics: (3, 3). valid: bool (P, N).
    """

    joints: np.ndarray
    turns: np.ndarray
    betas: np.ndarray
    cameras: np.ndarray
    intrinsics: np.ndarray
    valid: np.ndarray


class ThreeDpw(FileSamples):
    """People as 4D-Humans writes them, in the camera's frame, with their measured joints."""

    layout = "imageFiles/SEQUENCE/image_*.jpg and sequenceFiles/test/*.pkl"

    def __init__(self, root: Path, every: int = 1) -> None:
        names = sorted(listed(root, "sequenceFiles/test/*.pkl"))
        found = []
        for name in names:
            sequence = read_sequence(root / name)
            usable = np.flatnonzero(sequence.valid.any(0))[::every]
            found += [f"{Path(name).stem}/image_{number:05d}.jpg" for number in usable]
        super().__init__(root, found)

    def state(self, count: int) -> object:
        names = dict.fromkeys(Path(name).parent.name for name in self.files[:count])
        pickles = [self.root / f"sequenceFiles/test/{name}.pkl" for name in names]
        return stamps([*pickles, *(self.root / "imageFiles" / name for name in self.files[:count])])

    def read(self, number: int) -> Sample:
        name = Path(self.files[number])
        picture = photograph(self.root / "imageFiles" / name)
        sequence = read_sequence(self.root / f"sequenceFiles/test/{name.parent.name}.pkl")
        frame = int(name.stem.removeprefix("image_"))
        return Sample({"rgb": picture}, people(sequence, frame, picture.shape[1], picture.shape[0]))


@lru_cache(2)
def read_sequence(path: Path) -> Sequence:
    """The parts of a sequence that a score needs. Raises ValueProblem where they do not fit together."""
    raw = read_array_pickle(path)
    try:
        people = len(raw["poses"])
        turns = np.stack([np.asarray(each, np.float64).reshape(-1, JOINTS, 3) for each in raw["poses"]])
        joints = np.stack([np.asarray(each, np.float64).reshape(-1, JOINTS, 3) for each in raw["jointPositions"]])
        betas = np.stack([np.asarray(each, np.float64).ravel()[:SHAPES] for each in raw["betas"]])
        cameras, intrinsics = (np.asarray(raw[key], np.float64) for key in ("cam_poses", "cam_intrinsics"))
        valid = np.stack([np.asarray(each).ravel() for each in raw["campose_valid"]]) > 0
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueProblem(f"{path} is no sequence of 3DPW: {type(error).__name__}: {error!s:.100}") from None
    frames = turns.shape[1]
    shapes = (joints.shape, betas.shape, cameras.shape, intrinsics.shape, valid.shape)
    wanted = ((people, frames, JOINTS, 3), (people, SHAPES), (frames, 4, 4), (3, 3), (people, frames))
    if shapes != wanted or not 0 < frames <= MOST_FRAMES:
        raise ValueProblem(f"{path} has joints, betas, cameras, intrinsics and campose_valid of shapes {shapes}")
    if not all(np.isfinite(each).all() for each in (joints, turns, betas, intrinsics)):
        raise ValueProblem(f"{path} holds numbers that are not finite")
    if not all(SHORTEST < intrinsics[k, k] < LONGEST for k in (0, 1)) or (intrinsics[2] != (0, 0, 1)).any():
        raise ValueProblem(f"{path} has cam_intrinsics of no camera: {intrinsics.round(3).tolist()!s:.120}")
    return Sequence(joints, turns, betas, cameras, intrinsics, valid)


def people(sequence: Sequence, frame: int, width: int, height: int) -> dict[str, Any]:
    """The people of a picture whose camera is valid, in the layout of 4D-Humans. Raises ValueProblem for none seen."""
    camera = sequence.cameras[frame]
    turn, shift = camera[:3, :3], camera[:3, 3]
    if np.isfinite(turn).all() and (np.abs(turn @ turn.T - np.eye(3)).max() > OFF or np.linalg.det(turn) < 0):
        raise ValueProblem(f"its camera is not turned by a rotation: {turn.round(3).tolist()!s:.120}")
    found: dict[str, list[Any]] = {key: [] for key in ("boxes", "orients", "poses", "betas", "cameras", "joints")}
    for person in np.flatnonzero(sequence.valid[:, frame]):
        joints = sequence.joints[person, frame] @ turn.T + shift
        if not np.isfinite(joints).all() or joints[:, 2].min() <= 0:
            continue
        pixels = joints @ sequence.intrinsics.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        low, high = pixels.min(0), pixels.max(0)
        spare = MARGIN * (high - low).max()
        low, high = (low - spare).clip(0), np.minimum(high + spare, (width, height))
        if (high <= low).any():
            continue
        rotations = rotation_matrices(sequence.turns[person, frame])
        side = float((high - low).max())
        scale = 2 * sequence.intrinsics[0, 0] / (joints[0, 2] * side)
        found["boxes"].append([*low.tolist(), *high.tolist()])
        found["orients"].append([turn @ rotations[0]])
        found["poses"].append(rotations[1:])
        found["betas"].append(sequence.betas[person])
        found["cameras"].append([scale, *(2 * (pixels[0] - (low + high) / 2) / (side * scale))])
        found["joints"].append(joints)
    if not found["boxes"]:
        raise ValueProblem("nobody is in front of the camera")
    smpl = {"global_orient": found["orients"], "body_pose": found["poses"], "betas": found["betas"]}
    rest = {"pred_cam": found["cameras"], "joints": found["joints"]}
    return {"img_size": [width, height], "bbox_xyxy": found["boxes"], "pred_smpl_params": smpl, **rest}


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """Rotations (n, 3, 3) by rotation vectors (n, 3) in radians (Rodrigues)."""
    angles = np.linalg.norm(vectors, axis=-1)[:, None, None]
    x, y, z = np.moveaxis(vectors / np.maximum(angles[..., 0], 1e-12), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angles) * cross + (1 - np.cos(angles)) * (cross @ cross)
