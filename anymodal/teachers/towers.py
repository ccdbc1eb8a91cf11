"""Towers: a transformer for values over the image plane, one for text; both give one vector for the whole value.

Shapes: B batch, C channels, H W pixels, N places (tokens) in row-major order, T text positions, D width, E embedding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from anymodal.checkpoints.atomic import replacing_folder, whole_folder
from anymodal.checkpoints.swap import WEIGHT_FILES
from anymodal.checkpoints.weights import WEIGHTS, WeightFile, fill, save_weights
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, ValueProblem
from anymodal.files import read_json, write_json
from anymodal.nn.init import normal
from anymodal.teachers.config import TowerConfig
from anymodal.tokenizers.config import ViTConfig
from anymodal.tokenizers.networks.vit import Block, ViTEncoder

FORMAT = "anymodal-teacher"


class PictureTower(nn.Module):
    """Values over the image plane (B, C, H, W), sides multiples of the patch."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        vit = ViTConfig(dim=config.dim, depth=config.depth, heads=config.heads, patch=config.patch, post_mlp=False)
        self.encoder = ViTEncoder(vit, config.channels, config.size)
        self.norm = nn.LayerNorm(config.dim)
        self.project = nn.Linear(config.dim, config.embedding)

    def features(self, x_BCHW: Tensor) -> Tensor:
        """Normed features (B, N, D) of the patches."""
        return self.norm(self.encoder(x_BCHW))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Vectors (B, E): the mean over the patches, projected."""
        return self.project(self.features(x_BCHW).mean(1))


class TextTower(nn.Module):
    """Token ids (B, T) of a vocabulary, padded with 0, to vectors (B, E)."""

    def __init__(self, config: TowerConfig, vocabulary: int, length: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, config.dim, padding_idx=0)
        self.places = nn.Parameter(normal(length, config.dim, std=0.02))
        self.blocks = nn.Sequential(*(Block(config.dim, config.heads) for _ in range(max(1, config.depth // 2))))
        self.norm = nn.LayerNorm(config.dim)
        self.project = nn.Linear(config.dim, config.embedding)

    def forward(self, ids_BT: Tensor) -> Tensor:
        real_BT1 = (ids_BT != 0)[..., None]
        x_BTD = self.norm(self.blocks((self.tokens(ids_BT) + self.places[: ids_BT.shape[1]]) * real_BT1))
        return self.project((x_BTD * real_BT1).sum(1) / real_BT1.sum(1).clamp_min(1))


def save_tower(tower: PictureTower, folder: Path, dtype: torch.dtype | None = None) -> Path:
    """Write a tower as a folder of config.json and model.safetensors, both or neither. Raises DataError."""
    with replacing_folder(folder, lambda root: WEIGHT_FILES) as staging:
        save_weights(tower.state_dict().items(), staging, dtype)
        write_json({"format": FORMAT, "tower": attrs.asdict(tower.config)}, staging / "config.json")
    return folder


def load_tower(folder: str | Path) -> PictureTower:
    """The tower in a folder, in float32 and evaluation mode. Raises CheckpointError."""
    folder = whole_folder(Path(folder))
    try:
        raw: Any = read_json(folder / "config.json")
    except ValueProblem as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise CheckpointError(f"{folder / 'config.json'} does not describe a teacher (its 'format' is not {FORMAT!r})")
    try:
        tower = PictureTower(structure(raw.get("tower"), TowerConfig, str(folder / "config.json")))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    with WeightFile.single(folder / WEIGHTS) as file, torch.no_grad():
        fill(tower.state_dict().items(), file.rows, str(folder / WEIGHTS))
    return tower.eval().requires_grad_(False)
