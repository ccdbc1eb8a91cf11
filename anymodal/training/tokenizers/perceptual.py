"""A loss that compares pictures as a trained network sees them, which judges structure where pixels judge averages.

Hidden states of both pictures are normalized at every place, and the squared lengths of their differences are averaged
over places and layers: LPIPS (Zhang et al. 2018, arXiv 1801.03924) without its learned weights, after Johnson et al.
2016 (arXiv 1603.08155). The network is any of the transformers library that reads pictures and tells its hidden states.
"""

from __future__ import annotations

import inspect
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal.errors import CheckpointError, ConfigError, one_line
from anymodal.training.tokenizers.config import PerceptualConfig

EXTRA = "anymodal[label]"
LAYERS = 4  # compared where none are named


class PerceptualLoss(nn.Module):
    """The distance between pictures (B, 3, H, W) in [-1, 1], a scalar in [0, 4]; the network does not learn."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: PerceptualConfig) -> None:
        """Load the network. Raises ConfigError without transformers or with layers that it does not have."""
        super().__init__()
        self.size, self.weight = config.size, config.weight
        if find_spec("transformers") is None:
            raise ConfigError(f"a perceptual loss needs transformers; pip install '{EXTRA}'")
        processor, network = _load(config.network)
        self.register_buffer("mean", torch.tensor(processor.image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(processor.image_std).view(3, 1, 1), persistent=False)
        self.network = network.eval().requires_grad_(False)
        self.options = {"output_hidden_states": True}
        if "interpolate_pos_encoding" in inspect.signature(network.forward).parameters:
            self.options["interpolate_pos_encoding"] = True
        count = self._count(config)
        self.layers = config.layers or tuple(sorted({round(count * k / LAYERS) for k in range(1, LAYERS + 1)}))
        if outside := [layer for layer in self.layers if not 0 <= layer <= count]:
            raise ConfigError(f"perceptual.layers names {outside[0]}, but {config.network} has 0 to {count}")

    def _count(self, config: PerceptualConfig) -> int:
        """The number of the last hidden state, found by looking at a gray picture. Raises CheckpointError."""
        side = config.size or getattr(self.network.config, "image_size", None) or 224
        try:
            with torch.no_grad():
                return len(self._states(torch.zeros(1, 3, side, side))) - 1
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error, 300)}"
            raise CheckpointError(f"{config.network} does not show hidden states of pictures: {reason}") from error

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._states(target)
        states = self._states(output)
        return torch.stack([_distance(states[layer], wanted[layer]) for layer in self.layers]).mean()

    def _states(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        if self.size is not None:
            x_BCHW = F.interpolate(x_BCHW, size=(self.size, self.size), mode="bilinear", antialias=True)
        pixels_BCHW = ((x_BCHW + 1) / 2 - self.mean) / self.std
        return self.network(pixel_values=pixels_BCHW, **self.options).hidden_states

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stays in evaluation mode."""
        return super().train(False)


def _load(place: str) -> tuple[nn.Module, nn.Module]:
    """The processor and the network, its part for pictures alone where it has one for text too."""
    import transformers

    try:
        processor = transformers.AutoImageProcessor.from_pretrained(place, backend="pil")
        network = transformers.AutoModel.from_pretrained(place, use_safetensors=True, dtype=torch.float32)
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error, 300)}"
        raise CheckpointError(f"cannot load the perceptual network {place!r}: {reason}") from error
    return processor, getattr(network, "vision_model", network)


def _distance(state: Tensor, wanted: Tensor) -> Tensor:
    """Of states (B, C, H, W) or (B, N, C)."""
    axis = 1 if state.ndim == 4 else -1
    difference = F.normalize(state.float(), dim=axis) - F.normalize(wanted.float(), dim=axis)
    return difference.square().sum(axis).mean()
