"""What tokenizers are trained on: inputs from an aligned folder, as a pure function of the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from anymodal.data.folder import AlignedFolder
from anymodal.data.steps import EpochOrder
from anymodal.errors import ConfigError, DataError
from anymodal.families.codes import CodedModality
from anymodal.modality import Crop, Modality
from anymodal.plugins import registry
from anymodal.training.batches import Share

MEMORY = 2 * 1024**3  # bytes of values that a run keeps, so that files are read and resized once
UNKNOWN = 16 * 1024  # bytes that a value which is no array counts for


class Values:
    """Natural values of one modality in the samples of a folder; as many as fit into `memory` bytes are kept."""

    def __init__(self, folder: AlignedFolder, modality: Modality, memory: int) -> None:
        self.folder, self.modality = folder, modality
        self._kept: dict[int, Any] = {}
        self._free = memory

    def __getitem__(self, index: int) -> Any:
        """The value of a sample; None where it has none."""
        if index in self._kept:
            return self._kept[index]
        value = self.folder.read(self.folder.names[index]).get(self.modality.name)
        self._free -= getattr(value, "nbytes", UNKNOWN)
        if self._free >= 0:
            self._kept[index] = value
        return value

    def tensor(self, index: int, rng: np.random.Generator, flip: bool) -> np.ndarray | None:
        """What the tokenizer reads of a sample, mirrored half of the time with `flip`; None where there is nothing.

        Where a value has several parts to be tokenised, one of them is drawn.
        """
        value = self[index]
        if value is None:
            return None
        if flip and self.modality.aligned and rng.random() < 0.5:
            value = self.modality.crop(value, Crop(flip=True))
        if not isinstance(self.modality, CodedModality):
            return self.modality.preprocess(value)
        parts = self.modality.parts(value)
        return parts[rng.integers(len(parts))] if parts else None


class PreparedBatches:
    """Tokenizer inputs: `batches(n)` is part n % parts of our share in step n // parts.

    Row k of a step depends on the seed, the step and k alone, not on the number of processes and parts. `values` are
    those of the modality at one size or more; each step draws one of them. A sample that has nothing for the tokenizer
    is replaced by the next one that has. Raises DataError if none has.
    """

    def __init__(self, values: list[Values], batch_size: int, seed: int, flip: bool, share: Share) -> None:
        if batch_size < share.world * share.parts:
            raise ConfigError(
                f"a batch of {batch_size} samples cannot be shared by {share.world} processes in {share.parts} parts"
            )
        self.values, self.seed, self.flip = values, seed, flip
        self.batch_size, self.share = batch_size, share
        self.order = EpochOrder(len(values[0].folder), batch_size, seed)

    def __call__(self, n: int) -> Tensor:
        step, part = divmod(n, self.share.parts)
        values = self.values[np.random.default_rng([self.seed, step]).integers(len(self.values))]
        indices = self.order(step)
        rows = [
            self._row(values, indices[row], np.random.default_rng([self.seed, step, row]))
            for row in self.share.rows(self.batch_size, part)
        ]
        return torch.from_numpy(np.stack(rows))

    def _row(self, values: Values, index: int, rng: np.random.Generator) -> np.ndarray:
        count = len(values.folder)
        for offset in range(count):
            tensor = values.tensor((index + offset) % count, rng, self.flip)
            if tensor is not None:
                return tensor
        raise DataError(f"{values.folder.root} has no {values.modality.name} for a tokenizer to learn from")


def folder_with(root: Any, modality: Modality) -> AlignedFolder:
    """The folder with what is needed for a modality: its files, or those that it derives from, at the same size."""
    same = {key: value for key, value in modality.settings().items() if key in ("size", "patch")}
    classes = [registry().modality(name) for name in modality.derived_from]
    sources = [cls(**{key: value for key, value in same.items() if key in cls.numbers}) for cls in classes]
    return AlignedFolder(root, [*sources, modality])


def at_size(modality: Modality, size: int) -> Modality:
    """The modality with values of `size` pixels a side."""
    return type(modality)(**{**modality.settings(), "size": size})
