"""What things are made of: colored triangle meshes, built from scaled and turned primitives.

World and object axes: x to the right, y up, z towards the viewer, in meters. Faces are counter-clockwise seen from
outside and every surface is closed, so faces that look away are never needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import cos, sin, sqrt

import attrs
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Vector = Sequence[float] | Floats


@attrs.frozen(eq=False)
class Mesh:
    """Triangles with normals, colors and textures."""

    vertices: Floats  # (V, 3)
    normals: Floats  # (V, 3), unit
    faces: Ints  # (F, 3)
    colors: Floats  # (F, 3), linear, 0..1
    textures: Ints  # (F,), numbers of `shade.TEXTURES`
    local: Floats  # (V, 3), where textures are looked up: stays with the object when it moves

    def moved(self, turn: Floats, by: Vector) -> Mesh:
        """The mesh turned by a rotation (3, 3) about the origin, then shifted; textures move along."""
        return attrs.evolve(
            self, vertices=turned(self.vertices, turn) + np.asarray(by), normals=turned(self.normals, turn)
        )

    @property
    def low(self) -> Floats:
        """The smallest x, y and z."""
        return self.vertices.min(0)

    @property
    def high(self) -> Floats:
        """The largest x, y and z."""
        return self.vertices.max(0)


@attrs.frozen(eq=False)
class Primitive:
    """A shape of unit size about the origin."""

    vertices: Floats
    normals: Floats
    faces: Ints


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of many."""
    first = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        faces=np.concatenate([mesh.faces + start for mesh, start in zip(meshes, first, strict=False)]),
        colors=np.concatenate([mesh.colors for mesh in meshes]),
        textures=np.concatenate([mesh.textures for mesh in meshes]),
        local=np.concatenate([mesh.local for mesh in meshes]),
    )


def rotation(axis: Vector, angle: float) -> Floats:
    """Rotation matrix (3, 3) by an angle in radians about an axis of any length (Rodrigues' formula)."""
    x, y, z = axis
    length = sqrt(x * x + y * y + z * z)
    x, y, z, s, c = x / length, y / length, z / length, sin(angle), cos(angle)
    d = 1 - c
    return np.array([
        [c + x * x * d, y * x * d - z * s, z * x * d + y * s],
        [x * y * d + z * s, c + y * y * d, z * y * d - x * s],
        [x * z * d - y * s, y * z * d + x * s, c + z * z * d],
    ])  # fmt: skip


def turned(points: Floats, turn: Floats) -> Floats:
    """Points (n, 3) under a matrix (3, 3), spelled out because matrix products of libraries differ in the last bit."""
    return points[:, :1] * turn[:, 0] + points[:, 1:2] * turn[:, 1] + points[:, 2:] * turn[:, 2]


def dot(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Dot products of vectors whose three coordinates come first: (3,) or (3, n) with (3, n)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def from_vector(vector: Vector) -> Floats:
    """Rotation matrix (3, 3) of an axis-angle vector: its direction is the axis, its length the angle in radians."""
    angle = float(np.linalg.norm(vector))
    return rotation(vector, angle) if angle > 1e-9 else np.eye(3)


def about_y(angle: float) -> Floats:
    """Rotation (3, 3) about the vertical; a positive angle turns +z towards +x."""
    return rotation((0.0, 1.0, 0.0), angle)


def part(
    shape: Primitive, size: Vector, at: Vector, color: Vector,
    texture: int = 0, turn: Floats | None = None,
) -> Mesh:  # fmt: skip
    """A primitive of the given size (width, height, depth in meters), turned, then put at a place."""
    scale = np.asarray(size, np.float64)
    vertices, normals = shape.vertices * scale, shape.normals / scale
    normals = normals / np.sqrt((normals**2).sum(1, keepdims=True))
    if turn is not None:
        vertices, normals = turned(vertices, turn), turned(normals, turn)
    vertices = vertices + np.asarray(at, np.float64)
    count = len(shape.faces)
    colors = np.empty((count, 3))
    colors[:] = color
    return Mesh(vertices, normals, shape.faces, colors, np.full(count, texture), vertices)


@cache
def box() -> Primitive:
    """The unit cube, with sharp edges."""
    return frustum(1.0, 1.0)


@cache
def frustum(width: float, depth: float, shift: float = 0.0) -> Primitive:
    """A cube whose top is `width` and `depth` times as large as its bottom and shifted along z: roofs, windscreens."""
    bottom = [(-0.5, -0.5, 0.5), (0.5, -0.5, 0.5), (0.5, -0.5, -0.5), (-0.5, -0.5, -0.5)]
    top = [(x * width, 0.5, z * depth + shift) for x, _, z in bottom]
    p = np.array(bottom + top)
    quads = np.array([(0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7), (3, 2, 1, 0)])
    normals = np.cross(p[quads[:, 1]] - p[quads[:, 0]], p[quads[:, 3]] - p[quads[:, 0]])
    flat = np.linalg.norm(normals, axis=1) < 1e-12
    normals[flat] = np.cross(p[quads[flat, 2]] - p[quads[flat, 1]], p[quads[flat, 3]] - p[quads[flat, 1]])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    corner = 4 * np.arange(6)[:, None]
    faces = np.concatenate([corner + (0, 1, 2), corner + (0, 2, 3)])
    return Primitive(p[quads].reshape(-1, 3), np.repeat(normals, 4, 0), faces)


@cache
def wedge() -> Primitive:
    """A cube whose top is a ridge along x: a gabled roof."""
    return frustum(1.0, 1e-4)


@cache
def lathe(profile: tuple[tuple[float, float], ...], sides: int = 12) -> Primitive:
    """A surface of revolution about y from (radius, height) points going up; a point named twice is a sharp edge."""
    points = np.array(profile)
    steps = np.diff(points, axis=0)
    length = np.linalg.norm(steps, axis=1, keepdims=True)
    outward = np.where(length > 0, np.stack([steps[:, 1], -steps[:, 0]], 1) / np.maximum(length, 1e-12), 0.0)
    slope = np.zeros_like(points)
    slope[:-1] += outward
    slope[1:] += outward
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(angle), np.ones(sides), -np.sin(angle)], 1)
    vertices = ring[None] * points[:, None, [0, 1, 0]]
    normals = ring[None] * slope[:, None, [0, 1, 0]]
    i, j = np.arange(sides), (np.arange(sides) + 1) % sides
    faces = []
    for k in range(len(points) - 1):
        a, b = k * sides, (k + 1) * sides
        if length[k] > 0 and points[k, 0] > 0:
            faces.append(np.stack([a + i, a + j, b + j], 1))
        if length[k] > 0 and points[k + 1, 0] > 0:
            faces.append(np.stack([a + i, b + j, b + i], 1))
    return Primitive(vertices.reshape(-1, 3), normals.reshape(-1, 3), np.concatenate(faces))


@cache
def ball(sides: int = 12, rings: int = 7) -> Primitive:
    """The sphere of diameter 1."""
    angle = np.linspace(0, np.pi, rings + 1)
    profile = [(float(np.sin(a)) / 2, -float(np.cos(a)) / 2) for a in angle]
    profile[0], profile[-1] = (0.0, -0.5), (0.0, 0.5)
    return lathe(tuple(profile), sides)


@cache
def cylinder(sides: int = 12, top: float = 1.0) -> Primitive:
    """An upright cylinder of diameter and height 1; its upper end is `top` times as wide."""
    r = top / 2
    return lathe(((0.0, -0.5), (0.5, -0.5), (0.5, -0.5), (r, 0.5), (r, 0.5), (0.0, 0.5)), sides)


@cache
def cone(sides: int = 12) -> Primitive:
    """An upright cone of diameter and height 1."""
    return lathe(((0.0, -0.5), (0.5, -0.5), (0.5, -0.5), (0.0, 0.5)), sides)
