"""People as SMPL says them (Loper et al. 2015): a pose of rotations, and where its joints are."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from anymodal.errors import ValueProblem
from anymodal.files import read_arrays

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

JOINTS, POSE, SHAPES, CODES = 24, 207, 10, 8
PARTS = ("v_template", "shapedirs", "J_regressor")  # of the file of a body model
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
MIRROR = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22)
# A standing body of average shape in meters from the pelvis, x to its left, y up, z to its front; from the Anny body
# model (Apache-2.0), as a skeleton for what has no joints of its own. SMPL's own template needs a license.
REST = """0 0 0  .111 -.015 -.006  -.111 -.015 -.006  0 .076 -.037  .143 -.425 .026  -.143 -.425 .026  0 .148 -.023
.186 -.852 -.010  -.186 -.852 -.010  0 .229 -.024  .156 -.899 .136  -.156 -.899 .136  0 .544 -.001  .023 .470 .017
-.023 .470 .017  0 .643 .033  .173 .447 .009  -.173 .447 .009  .352 .250 .019  -.352 .250 .019  .474 .129 .184
-.474 .129 .184  .518 .076 .264  -.518 .076 .264"""


@attrs.frozen(eq=False)
class Person:
    """One person. Camera frame as in HMR2: x right, y DOWN, z away, meters.

    `box` is (xmin, ymin, xmax, ymax) in fractions of the picture. `global_orient` (3, 3) turns the body into the camera
    frame; `body_pose` (23, 3, 3) turns joints 1 to 23 of SMPL relative to their parents; `betas` (10,) shape the body,
    about -3 to 3; `camera` (s, tx, ty) is the weak perspective of the square round the box. `joints` (24, 3) and
    `joints_2d` (24, 2), in fractions of the picture, are there where they were measured; `codes` (8,) where the pose
    has been tokenized, and `body_pose` may be None then.
    """

    box: tuple[float, float, float, float]
    global_orient: "np.ndarray"
    body_pose: "np.ndarray | None"
    betas: "np.ndarray"
    camera: "np.ndarray"
    joints: "np.ndarray | None" = None
    joints_2d: "np.ndarray | None" = None
    codes: "np.ndarray | None" = None


@cache
def rest() -> "np.ndarray":
    """The joints (24, 3) of the body at rest."""
    return np.array([float(word) for word in REST.split()]).reshape(JOINTS, 3)


def rotations(matrices: "np.ndarray") -> "np.ndarray":
    """The rotations nearest to matrices (n, 3, 3) (orthogonal Procrustes; Schoenemann 1966)."""
    u, _, v = np.linalg.svd(np.nan_to_num(matrices))
    u[..., -1] *= np.sign(np.linalg.det(u @ v))[..., None]
    return u @ v


def mean_person(people: Sequence[Person]) -> Person:
    """The mean of several estimates of one person; rotations are those nearest to the mean of the matrices.

    Moakher 2002 (Means and averaging in the group of rotations) has that mean. Of one estimate it is that one.
    """
    if len(people) == 1:
        return people[0]
    poses = [p.body_pose for p in people if p.body_pose is not None]
    box, camera, betas = (np.mean([getattr(p, name) for p in people], 0) for name in ("box", "camera", "betas"))
    return Person(
        tuple(box.tolist()),
        rotations(np.mean([p.global_orient for p in people], 0)[None])[0],
        rotations(np.mean(poses, 0)) if poses else None,
        betas,
        camera,
        codes=None if poses else people[0].codes,
    )


def geodesic(a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
    """Angles (n,) in degrees that turn rotations a into b (n, 3, 3); accurate for small ones too."""
    chord = np.linalg.norm(a - b, axis=(1, 2)) / (2 * np.sqrt(2))
    return np.degrees(2 * np.arcsin(chord.clip(0, 1)))


@attrs.frozen(eq=False)
class Body:
    """Where the joints of SMPL are at rest: (24, 3) in meters on the average, and (24, 3, 10) more for each shape."""

    average: "np.ndarray"
    shapes: "np.ndarray"

    def at_rest(self, betas: "np.ndarray") -> "np.ndarray":
        """The joints (24, 3) of a body with shapes (10,)."""
        return self.average + self.shapes @ betas


def read_body(path: Path) -> Body:
    """The joints of SMPL's model in an .npz file with plain `v_template`, `shapedirs` and `J_regressor` (24, n).

    The model of smpl.is.tue.mpg.de is a pickle, which is not opened: convert it, with the regressor as a full matrix.
    Raises ValueProblem.
    """
    parts = read_arrays(path, PARTS)
    if lacking := [name for name in PARTS if name not in parts]:
        raise ValueProblem(f"{path} is no .npz file of SMPL with full arrays: it has no {', '.join(lacking)}")
    points, directions, regressor = (parts[name].astype(np.float64) for name in PARTS)
    shapes = directions[..., :SHAPES] if directions.ndim == 3 else directions
    if points.ndim != 2 or points.shape[1] != 3 or shapes.shape != (*points.shape, SHAPES):
        said = f"v_template has the shape {points.shape} and shapedirs {directions.shape}"
        raise ValueProblem(f"{path} is no .npz file of SMPL with full arrays: {said}")
    if regressor.shape != (JOINTS, len(points)):
        said = f"J_regressor has the shape {regressor.shape} for {len(points)} points"
        raise ValueProblem(f"{path} is no .npz file of SMPL with full arrays: {said}")
    return Body(regressor @ points, np.einsum("jv,vcs->jcs", regressor, shapes))


def skeleton(person: Person, body: Body | None = None) -> "np.ndarray":
    """The joints (24, 3) in meters: as measured, or those of `body`, else of one of average shape, in the pose."""
    if person.joints is not None:
        return person.joints
    pose = np.eye(3)[None].repeat(23, 0) if person.body_pose is None else person.body_pose
    base = rest() if body is None else body.at_rest(person.betas)
    turns, joints = [person.global_orient], [np.zeros(3)]
    for joint, parent in enumerate(PARENTS[1:], 1):
        joints.append(joints[parent] + turns[parent] @ (base[joint] - base[parent]))
        turns.append(turns[parent] @ pose[joint - 1])
    return np.stack(joints)


def in_picture(person: Person) -> "np.ndarray":
    """The joints (24, 2) in fractions of the picture, by the weak perspective of the person's camera."""
    if person.joints_2d is not None:
        return person.joints_2d
    x0, y0, x1, y1 = person.box
    scale, *shift = person.camera
    joints = skeleton(person)
    offset = (joints - joints[0])[:, :2] + np.array(shift)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + offset * (scale * max(x1 - x0, y1 - y0) / 2)
