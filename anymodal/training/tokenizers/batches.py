"""What tokenizers are trained on: inputs from a dataset of files, as a pure function of the step."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.crops import Crop
from anymodal.data.config import CropConfig
from anymodal.data.crops import random_crop
from anymodal.data.files.values import ValueSource, open_values
from anymodal.data.order import Share, generator
from anymodal.data.replacing import Replacing
from anymodal.modality import Modality
from anymodal.plugins.registry import registry

MEMORY = 2 * 1024**3  # bytes of values that a run keeps, so that files are read and resized once
UNKNOWN = 16 * 1024  # bytes that a value which is no array counts for


@attrs.frozen(eq=False)
class Inputs:
    """What a tokenizer reads, one row a sample, and a line for each sample that could not be used and was replaced."""

    rows: Tensor
    problems: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Inputs:
        return Inputs(self.rows.to(device, non_blocking=True), self.problems)


class Values:
    """Natural values of one modality in the samples of a dataset, each the centered square or a random `crop`.

    As many as fit into `memory` bytes are kept: the squares, or the files that crops are cut from.
    """

    def __init__(self, source: ValueSource, modality: Modality, memory: int, crop: CropConfig | None = None) -> None:
        self.source, self.modality, self.crop = source, modality, crop
        self._kept: dict[int, dict[str, Any]] = {}
        self._free = memory

    def __len__(self) -> int:
        return len(self.source)

    def value(self, index: int, rng: np.random.Generator, flip: bool) -> Any:
        """The value of a sample, mirrored half of the time with `flip`, or as the crops say; None where it has none."""
        if (config := self.crop) is not None:

            def draw(extent: tuple[float, float] | None) -> Crop:
                width, height = extent or (1.0, 1.0)
                return random_crop(config, width, height, rng)

            return self.source.derive(self.source.cut(self._stored(index), draw)).get(self.modality.name)
        value = self._stored(index).get(self.modality.name)
        mirrored = flip and self.modality.aligned and rng.random() < 0.5
        return self.modality.crop(value, Crop(flip=True)) if mirrored and value is not None else value

    def tensor(self, index: int, rng: np.random.Generator, flip: bool) -> np.ndarray | None:
        """What the tokenizer reads of a sample; None where there is nothing.

        Where a value has several parts to be tokenized, one of them is drawn.
        """
        value = self.value(index, rng, flip)
        parts = [] if value is None else self.modality.parts(value)
        return parts[rng.integers(len(parts))] if parts else None

    def _stored(self, index: int) -> dict[str, Any]:
        """The values of the files of a sample if there are to be crops, else its value alone, cut and resized."""
        if index in self._kept:
            return self._kept[index]
        if self.crop is not None:
            held = {name: name for name in self.source.modalities if self.source.files.holds(name, index)}
            values = self.source.read_files(index, held)
        else:
            name = self.modality.name
            values = {key: value for key, value in self.source.read(index).items() if key == name}
        size = sum(getattr(value, "nbytes", UNKNOWN) for value in values.values())
        if size <= self._free:
            self._free -= size
            self._kept[index] = values
        return values


class PreparedBatches:
    """Tokenizer inputs: `batches(n)` is part n % parts of our share in step n // parts.

    Row k of a step depends on the seed, the step and k alone, not on the number of processes and parts. `values` are
    those of the modality at one size or more; each step draws one of them. A sample that has nothing for the tokenizer
    is replaced by the next one that has, and one that cannot be used by another, of which the batch tells. Raises
    DataError if there is nothing, or nothing usable, to be found.
    """

    def __init__(self, values: list[Values], batch_size: int, seed: int, flip: bool, share: Share) -> None:
        share.check(batch_size)
        self.values, self.seed, self.flip = values, seed, flip
        self.batch_size, self.share = batch_size, share
        self.order = values[0].source.files.order(seed)

    def __call__(self, n: int) -> Inputs:
        step, part = divmod(n, self.share.parts)
        values = self.values[generator(self.seed, "size", step).integers(len(self.values))]
        problems: list[str] = []
        rows = [self._row(values, step, row, problems) for row in self.share.rows(self.batch_size, part)]
        return Inputs(torch.from_numpy(np.stack(rows)), tuple(problems))

    def _row(self, values: Values, step: int, row: int, problems: list[str]) -> np.ndarray:
        source, rng = values.source, generator(self.seed, "row", step, row)
        nothing = f"{source.files.root} has no {values.modality.name} for a tokenizer to learn from"
        return Replacing(source.files.root, len(values), source.describe, nothing).read(
            lambda index, numbers: values.tensor(index, numbers, self.flip),
            self.order(step * self.batch_size + row),
            lambda failed: rng,
            problems,
        )


def source_of(data: str, modality: Modality) -> ValueSource:
    """The dataset with what is needed for a modality: its files, or those that it derives from, at the same size."""
    same = {key: value for key, value in modality.config().items() if modality.sizes and key in ("size", "patch")}
    classes = [registry().modality(name) for name in modality.derived_from]
    sources = [cls(**{key: value for key, value in same.items() if key in cls.settings}) for cls in classes]
    return open_values(data, [*sources, modality])
