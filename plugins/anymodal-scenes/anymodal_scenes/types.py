"""What a rendered scene consists of: plain frozen records, everything known exactly.

World: x to the right, y up, z towards the viewer, meters; the ground is y = 0.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

FAR = 80.0
"""Depth of the sky in meters; nothing is farther."""


@attrs.frozen(eq=False)
class Camera:
    """A pinhole camera with a square picture."""

    fov: float
    """Field of view in degrees, the same across and down."""
    rotation: NDArray[np.float64]
    """(3, 3) world to camera; the rows are the camera's right, up and backward directions."""
    eye: NDArray[np.float64]
    """(3,) position in meters."""
    focal: float
    """Focal length as a fraction of the image width."""


@attrs.frozen(eq=False)
class Pose:
    """The body of a person, in the layout of SMPL and the camera frame of HMR2: x right, y DOWN, z away, meters.

    `joint_j` of the chain is turned by `body_pose[j - 1]` relative to its parent, the root by `global_orient`.
    """

    action: str
    global_orient: NDArray[np.float64]  # (3, 3)
    body_pose: NDArray[np.float64]  # (23, 3, 3)
    betas: NDArray[np.float64]  # (10,), coefficients of this body's own shape space
    joints: NDArray[np.float64]  # (24, 3)
    joints_2d: NDArray[np.float64]  # (24, 2), fractions of the image
    camera: NDArray[np.float64]
    """(3,) weak-perspective camera (s, tx, ty) of the square crop around the box, as HMR2's `pred_cam`.

    With b the longer side of the box, (cx, cy) its center (both as fractions of the image), f the focal fraction and
    (X, Y, Z) the pelvis: s = 2 f / (b Z), tx = X - 2 (cx - 1/2) / (b s), ty = Y - 2 (cy - 1/2) / (b s).
    """


@attrs.frozen(eq=False)
class SceneObject:
    """One visible thing."""

    kind: str
    class_id: int
    color: str | None
    """One of COLORS; of the shirt, for a person; None where the kind comes in one color."""
    box: tuple[float, float, float, float]
    """(xmin, ymin, xmax, ymax) of its visible pixels as fractions of the image."""
    area: float
    """Share of the image it covers."""
    depth: float
    """Mean depth of its visible pixels in meters."""
    position: tuple[float, float, float]
    """Middle of its base in the world, meters."""
    heading: float
    """Angle in radians that turns +z into its front, about the vertical, positive towards +x."""
    extent: tuple[float, float, float]
    """Width, height and depth of its own box in meters, before it is turned."""
    support: int | None = None
    """Index of the object it stands on, None for the ground."""
    pose: Pose | None = None


@attrs.frozen
class Relation:
    """`subject` is `predicate` `other`, as numbers of objects."""

    subject: int
    predicate: str
    other: int


@attrs.frozen
class Setting:
    """Where and when."""

    place: str
    """"room" or "outdoors"."""
    ground: str
    light: str
    wall: str | None = None
    backdrop: str | None = None
    above: bool = False
    """Whether the camera looks down by 30 degrees or more."""


@attrs.frozen(eq=False)
class Scene:
    """A picture with everything that is known about it; H = W = size."""

    seed: int
    index: int
    rgb: NDArray[np.uint8]  # (H, W, 3)
    depth: NDArray[np.float32]
    """(H, W) meters along the optical axis; FAR in the sky."""
    normal: NDArray[np.float32]
    """(H, W, 3) unit vectors, x right, y up, z towards the viewer; zero in the sky."""
    semseg: NDArray[np.uint8]  # (H, W), COCO panoptic id, 255 none
    instance: NDArray[np.uint8]
    """(H, W); k + 1 where `objects[k]` is seen, 0 elsewhere."""
    objects: tuple[SceneObject, ...]
    relations: tuple[Relation, ...]
    named: tuple[int, ...]
    """The objects that the caption names."""
    camera: Camera
    setting: Setting
    caption: str
