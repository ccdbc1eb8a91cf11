"""What tokenizers are trained on: inputs from a dataset of files, as a pure function of the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from anymodal.tokenizers.tokenizer import GivenCodes
from anymodal.training.tokenizers.expected import ExpectedCodes, Sample

MEMORY = 2 * 1024**3  # bytes of values that a run keeps, so that files are read and resized once
UNKNOWN = 16 * 1024  # bytes that a value which is no array counts for


@attrs.frozen(eq=False)
class Inputs:
    """What a tokenizer reads, one row a sample, and a line for each sample that could not be used and was replaced.

    `given` are codes that some samples have in place of their own.
    """

    rows: Tensor
    problems: tuple[str, ...] = ()
    given: GivenCodes | None = None

    def to(self, device: torch.device | str) -> Inputs:
        given = self.given and GivenCodes(*(part.to(device, non_blocking=True) for part in self.given))
        return Inputs(self.rows.to(device, non_blocking=True), self.problems, given)


class Values:
    """Natural values of one modality in the samples of a dataset, each the centered square or a random `crop`.

    With `beside`, names of other modalities, also theirs, cut the same way. As many as fit into `memory` bytes are
    kept: the squares, or the files that crops are cut from.
    """

    def __init__(
        self,
        source: ValueSource,
        modality: Modality,
        memory: int,
        crop: CropConfig | None = None,
        beside: Sequence[str] = (),
    ) -> None:
        self.source, self.modality, self.crop = source, modality, crop
        self._names = {modality.name, *beside}
        self._kept: dict[int, dict[str, Any]] = {}
        self._free = memory

    def __len__(self) -> int:
        return len(self.source)

    def sample(self, index: int, rng: np.random.Generator, flip: bool) -> dict[str, Any]:
        """The values that a sample has, mirrored half of the time with `flip`, or as the crops say."""
        if (config := self.crop) is not None:

            def draw(extent: tuple[float, float] | None) -> Crop:
                width, height = extent or (1.0, 1.0)
                return random_crop(config, width, height, rng)

            values = self.source.derive(self.source.cut(self._stored(index), draw))
            return {name: value for name, value in values.items() if name in self._names}
        values = self._stored(index)
        if not (flip and self.modality.aligned and rng.random() < 0.5):
            return values
        return {name: self.source.modalities[name].crop(value, Crop(flip=True)) for name, value in values.items()}

    def tensor(self, sample: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray | None:
        """What the tokenizer reads of a sample; None where there is nothing.

        Where a value has several parts to be tokenized, one of them is drawn.
        """
        value = sample.get(self.modality.name)
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
            values = {key: value for key, value in self.source.read(index).items() if key in self._names}
        size = sum(getattr(value, "nbytes", UNKNOWN) for value in values.values())
        if size <= self._free:
            self._free -= size
            self._kept[index] = values
        return values


class PreparedBatches:
    """Tokenizer inputs: `batches(n)` is part n % parts of our share in step n // parts.

    Row k of a step depends on the seed, the step and k alone, not on the number of processes and parts. `values` are
    those of the modality at one size or more; each step draws one of them. A sample that has nothing for the tokenizer
    is replaced by the next one that has, and one that cannot be used by another, of which the batch tells. With
    `expected`, some of the samples that have all that the model is given come with the codes that it expects. Raises
    DataError if there is nothing, or nothing usable, to be found.
    """

    def __init__(
        self,
        values: list[Values],
        batch_size: int,
        seed: int,
        flip: bool,
        share: Share,
        expected: ExpectedCodes | None = None,
    ) -> None:
        share.check(batch_size)
        self.values, self.seed, self.flip, self.expected = values, seed, flip, expected
        self.batch_size, self.share = batch_size, share
        self.order = values[0].source.files.order(seed)

    def __call__(self, n: int) -> Inputs:
        step, part = divmod(n, self.share.parts)
        values = self.values[generator(self.seed, "size", step).integers(len(self.values))]
        problems: list[str] = []
        drawn = [self._row(values, step, row, problems) for row in self.share.rows(self.batch_size, part)]
        rows = torch.from_numpy(np.stack([row for row, _ in drawn]))
        return Inputs(rows, tuple(problems), self._given(rows, [sample for _, sample in drawn]))

    def _row(self, values: Values, step: int, row: int, problems: list[str]) -> tuple[np.ndarray, Sample | None]:
        """What the tokenizer reads of a sample, and what the model is given of it, if its codes are to be expected."""
        source, rng = values.source, generator(self.seed, "row", step, row)
        nothing = f"{source.files.root} has no {values.modality.name} for a tokenizer to learn from"

        def read(index: int, numbers: np.random.Generator) -> tuple[np.ndarray, Sample | None] | None:
            sample = values.sample(index, numbers, self.flip)
            found = values.tensor(sample, numbers)
            if found is None:
                return None
            return found, None if self.expected is None else self.expected.sample(sample, numbers)

        return Replacing(source.files.root, len(values), source.describe, nothing).read(
            read, self.order(step * self.batch_size + row), lambda failed: rng, problems
        )

    def _given(self, rows: Tensor, samples: list[Sample | None]) -> GivenCodes | None:
        """The codes that are expected of samples, zeros for those that keep their own; None where all do."""
        chosen = torch.tensor([sample is not None for sample in samples])
        if self.expected is None or not chosen.any():
            return None
        expected = self.expected([sample for sample in samples if sample is not None], rows[chosen])
        codes = expected.new_zeros(len(samples), *expected.shape[1:])
        codes[chosen] = expected
        return GivenCodes(codes, chosen)


def source_of(data: str, modality: Modality, beside: Sequence[Modality] = ()) -> ValueSource:
    """The dataset with what is needed for a modality: its files, or those that it derives from, at the same size.

    `beside` are modalities that are read too.
    """
    same = {key: value for key, value in modality.config().items() if modality.sizes and key in ("size", "patch")}
    classes = [registry().modality(name) for name in modality.derived_from]
    sources = [cls(**{key: value for key, value in same.items() if key in cls.settings}) for cls in classes]
    named = {each.name: each for each in (*sources, *beside, modality)}
    return open_values(data, list(named.values()))
