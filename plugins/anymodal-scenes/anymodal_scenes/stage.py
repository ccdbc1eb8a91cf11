"""Everything that can be seen, as arrays in front of one camera, and the answer to what each sample sees."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from .backdrop import Backdrop, Plane
from .meshes import Mesh, dot, join, turned
from .raster import FIXED, INVERSE, NEAR, Grid, clip, raster, shares
from .shade import Surfaces
from .types import FAR, Camera

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_FINE = 16  # extra bits of the linear functions that give the inverse depth of planes


@attrs.frozen(eq=False)
class Seen:
    """What the samples of a square grid see; flat arrays of n samples, row by row."""

    face: Ints  # (n,), -1 where no mesh is nearest
    plane: Ints  # (n,), the plane where no mesh is nearest; -1 in the sky
    inverse: Ints  # (n,), inverse depth in 2**-26 per meter
    owner: Ints  # (n,), the object, -1 for none

    @property
    def depth(self) -> NDArray[np.float32]:
        """Meters (n,), FAR in the sky."""
        return np.where(self.sky, FAR, np.minimum(INVERSE / self.inverse, FAR)).astype(np.float32)

    @property
    def sky(self) -> NDArray[np.bool_]:
        """Where there is nothing."""
        return (self.face < 0) & (self.plane < 0)

    def middle(self, size: int) -> Seen:
        """The samples in the middles of the pixels, of samples at half pixels."""
        n = 2 * size + 1
        every = (self.face, self.plane, self.inverse, self.owner)
        return Seen(*(values.reshape(n, n)[1::2, 1::2].ravel() for values in every))


@attrs.frozen(eq=False)
class Stage:
    """Objects, decoration and planes, clipped for a camera."""

    mesh: Mesh  # in the world
    space: Floats  # (V, 3), the vertices in the camera's frame
    owner: Ints  # (F,), number of the object, -1 for decoration
    labels: Ints  # (F,), semantic class
    planes: Sequence[Plane]
    camera: Camera

    def keeping(self, objects: Sequence[int]) -> Stage:
        """The stage with only some of its objects, renumbered in the given order."""
        rank = np.full(self.owner.max() + 2, -2)
        rank[[*objects, -1]] = [*range(len(objects)), -1]
        faces = np.flatnonzero(rank[self.owner] >= -1)
        mesh = attrs.evolve(
            self.mesh,
            faces=self.mesh.faces[faces], colors=self.mesh.colors[faces], textures=self.mesh.textures[faces],
        )  # fmt: skip
        return attrs.evolve(self, mesh=mesh, owner=rank[self.owner[faces]], labels=self.labels[faces])

    def _project(self, size: int) -> tuple[Ints, Ints]:
        """Vertices (V, 2) in 1/256 pixel and their inverse depths (V,), for a picture of some size."""
        depth = np.maximum(-self.space[:, 2], NEAR / 2)
        scale = self.camera.focal * size * FIXED
        middle = size * FIXED / 2
        x = middle + scale * self.space[:, 0] / depth
        y = middle - scale * self.space[:, 1] / depth
        return np.rint(np.stack([x, y], 1)).astype(np.int64), np.rint(INVERSE / depth).astype(np.int64)

    def _behind(self, size: int, grid: Grid) -> tuple[Ints, Ints]:
        """The nearest plane (n,) of each sample, -1 for the sky, and its inverse depth (n,)."""
        ticks, middle = grid.ticks, size * FIXED // 2
        scale = self.camera.focal * size * FIXED
        nearest = np.full((grid.count, grid.count), round(INVERSE / FAR), np.int64)
        winner = np.full_like(nearest, -1)
        for number, plane in enumerate(self.planes):
            gain = INVERSE * (1 << _FINE) / (plane.offset - float(dot(plane.normal, self.camera.eye)))
            right, up, back = dot(plane.normal, self.camera.rotation.T)
            across, down, level = round(gain * right / scale), round(-gain * up / scale), round(-gain * back)
            here = (across * (ticks - middle) + level)[None] + (down * (ticks - middle))[:, None] >> _FINE
            closer = here > nearest
            nearest, winner = np.where(closer, here, nearest), np.where(closer, number, winner)
        return winner.ravel(), nearest.ravel()

    def look(self, size: int, grid: Grid) -> Seen:
        """What the samples of a grid see in a picture of a size."""
        xy, inverse = self._project(size)
        face, near = raster(xy, inverse, self.mesh.faces, grid)
        plane, far = self._behind(size, grid)
        front = (face >= 0) & (near >= far)
        face = np.where(front, face, -1)
        return Seen(
            face=face,
            plane=np.where(front, -1, plane),
            inverse=np.where(front, near, far),
            owner=np.where(front, self.owner[face], -1),
        )

    def label(self, seen: Seen, sky: int) -> Ints:
        """Semantic class (n,) of each sample, `sky` where there is nothing."""
        planes = np.array([plane.label for plane in self.planes] + [sky])
        return np.where(seen.face >= 0, self.labels[seen.face], planes[seen.plane])

    def surfaces(self, seen: Seen, size: int, grid: Grid) -> Surfaces:
        """What colors and shapes the samples see; meaningless values in the sky."""
        f32 = np.float32
        ticks = ((grid.ticks - size * FIXED // 2) / (self.camera.focal * size * FIXED)).astype(f32)
        right, up, back = self.camera.rotation.astype(f32)[:, :, None, None]
        view = (right * ticks - up * ticks[:, None] - back).reshape(3, -1)
        depth = seen.depth
        position = self.camera.eye.astype(f32)[:, None] + view * depth
        view /= np.sqrt(dot(view, view))

        color = np.array([plane.color for plane in self.planes] + [(0, 0, 0)], f32).T[:, seen.plane]
        normal = np.array([plane.normal for plane in self.planes] + [(0, 0, 0)], f32).T[:, seen.plane]
        texture = np.array([plane.texture for plane in self.planes] + [0])[seen.plane]
        local = position.copy()

        hit = np.flatnonzero(seen.face >= 0)
        face = seen.face[hit]
        corners = self.mesh.faces.T[:, face]
        xy, inverse = self._project(size)
        weights = shares(xy, inverse, corners, grid.ticks[hit % grid.count], grid.ticks[hit // grid.count])

        def blended(values: Floats) -> NDArray[np.float32]:
            return np.stack([dot(axis[corners], weights) for axis in values.T.astype(f32)])

        smooth, ray = blended(self.mesh.normals), view[:, hit]
        smooth -= np.maximum(dot(smooth, ray) + f32(0.02), 0) * ray  # what is seen faces the viewer
        normal[:, hit] = smooth / np.maximum(np.sqrt(dot(smooth, smooth)), f32(1e-6))
        local[:, hit] = blended(self.mesh.local)
        color[:, hit] = self.mesh.colors.astype(f32)[face].T
        texture[hit] = self.mesh.textures[face]
        return Surfaces(color, texture, local, normal, position, depth, view)


def build(objects: Sequence[tuple[Mesh, int]], backdrop: Backdrop, camera: Camera) -> Stage:
    """The stage of meshes with their semantic classes, in front of a backdrop."""
    everything = [*objects, *((decor.mesh, decor.label) for decor in backdrop.decor)]
    mesh = join([mesh for mesh, _ in everything])
    counts = [len(mesh.faces) for mesh, _ in everything]
    owner = np.repeat([k if k < len(objects) else -1 for k in range(len(everything))], counts)
    labels = np.repeat([label for _, label in everything], counts)
    space = turned(mesh.vertices - camera.eye, camera.rotation)
    faces, source, share, edges = clip(-space[:, 2], mesh.faces)
    if len(share):

        def extended(values: Floats) -> Floats:
            a, b = values[edges[:, 0]], values[edges[:, 1]]
            return np.concatenate([values, a + (b - a) * share[:, None]])

        mesh = attrs.evolve(
            mesh,
            vertices=extended(mesh.vertices), normals=extended(mesh.normals), local=extended(mesh.local),
        )  # fmt: skip
        space = extended(space)
    mesh = attrs.evolve(mesh, faces=faces, colors=mesh.colors[source], textures=mesh.textures[source])
    return Stage(mesh, space, owner[source], labels[source], backdrop.planes, camera)
