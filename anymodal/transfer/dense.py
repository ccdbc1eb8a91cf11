"""Tensors of a modality cut into the cells of a map, and put together again.

Shapes: n samples, h x w cells, H x W pixels, C channels, p x q pixels of a cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from anymodal.errors import ConfigError


@attrs.frozen(eq=False)
class Cells:
    """What each cell holds.

    rows: (n, h, w, K): a class (K = 1), or all numbers (C * p * q) of the cell; those that were not measured are the
        mean of those that were.
    known: (n, h, w) bool, whether the cell says anything.
    classes: how many classes there are; 0 for numbers.
    channels: C.
    size: (p, q), the pixels of a cell.
    """

    rows: np.ndarray
    known: np.ndarray
    classes: int
    channels: int
    size: tuple[int, int]

    def tensors(self, rows: np.ndarray) -> list[np.ndarray]:
        """What `postprocess` reads of rows (n, h, w, K): (C, H, W), or scores (classes, H, W) that are 1 or 0."""
        p, q = self.size
        if self.classes:
            labels = rows[..., 0].astype(np.int64).repeat(p, 1).repeat(q, 2)
            return [np.moveaxis(np.eye(self.classes, dtype=np.float32)[each], -1, 0) for each in labels]
        count, h, w, _ = rows.shape
        pixels = rows.reshape(count, h, w, self.channels, p, q).transpose(0, 3, 1, 4, 2, 5)
        return list(pixels.reshape(count, self.channels, h * p, w * q).astype(np.float32))


def cells_of(
    tensors: Sequence[np.ndarray],
    grid: tuple[int, int],
    name: str,
    measured: Sequence[np.ndarray | None] | None = None,
) -> Cells:
    """Tensors of one shape, (H, W) of class ids or (C, H, W) of numbers, cut into a grid of (h, w) cells.

    `measured`: where each of them says anything, bool (H, W), None for everywhere; other pixels count for no class.

    Raises ConfigError where they are no such tensors, or pixels do not split into these cells.
    """
    whole = np.stack(tensors)
    labels = whole.dtype.kind in "iu" and whole.ndim == 3
    if not labels and (whole.ndim != 4 or whole.dtype.kind != "f"):
        raise ConfigError(f"{name!r} is no grid of classes or numbers that cells could tell")
    (height, width), (h, w) = whole.shape[-2:], grid
    if height % h or width % w:
        raise ConfigError(f"{name!r} of {height} x {width} pixels does not split into {h} x {w} cells")
    p, q = height // h, width // w
    pixels = np.ones((len(whole), height, width), bool)
    for number, each in enumerate(measured or ()):
        if each is not None and each.shape == (height, width):
            pixels[number] = each
    said = pixels.reshape(len(whole), h, p, w, q).transpose(0, 1, 3, 2, 4).reshape(len(whole), h, w, -1)
    known = np.asarray(said.any(-1))
    channels = 1 if labels else whole.shape[1]
    blocks = whole.reshape(len(whole), channels, h, p, w, q).transpose(0, 2, 4, 1, 3, 5).reshape(len(whole), h, w, -1)
    if not labels:
        return Cells(_filled(blocks.astype(np.float32), said), known, 0, channels, (p, q))
    classes = int(whole.max()) + 1
    counts = np.zeros((*blocks.shape[:3], classes), np.int32)
    for k in range(blocks.shape[-1]):
        np.add.at(counts, (*np.indices(blocks.shape[:3]), blocks[..., k].astype(np.int64)), said[..., k])
    return Cells(counts.argmax(-1)[..., None], known, classes, channels, (p, q))


def _filled(rows: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Numbers (n, h, w, C * p * q), of which those of pixels that say nothing, by `said` (n, h, w, p * q), become the
    mean of the others of the cell and channel."""
    if said.all():
        return rows
    numbers, measured = rows.reshape(*said.shape[:3], -1, said.shape[3]), said[..., None, :]
    total = np.where(measured, numbers, 0).sum(-1, keepdims=True)
    return np.where(measured, numbers, total / np.maximum(measured.sum(-1, keepdims=True), 1)).reshape(rows.shape)
