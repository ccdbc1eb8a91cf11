"""Any aligned dataset of ours: folders or tars of modalities, such as `anymodal scenes` and `anymodal label` write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from anymodal.data.files.values import open_values
from anymodal.data.jobs.inputs import inputs_of
from anymodal.errors import ConfigError, ValueProblem
from anymodal.evaluation.layouts.base import Sample, Samples
from anymodal.tokens import ModalitySet


class AlignedSamples(Samples):
    """Samples with some modalities as inputs and one as the truth, cut to the centered square at the model's size."""

    sized = True

    def __init__(
        self,
        root: Path,
        inputs: tuple[str, ...],
        target: str,
        modalities: ModalitySet,
        truth: Callable[[Any], Any] | None = None,
    ) -> None:
        """`target` is "" where the name of a sample is its truth; `truth` turns a value into what is compared with."""
        self.inputs, self.target, self.truth = inputs, target, truth
        self.needed = (*inputs, target) if target else inputs
        sources = {source for name in self.needed for source in modalities[name].derived_from if source in modalities}
        chosen = {name: modalities[name] for name in modalities.modalities if name in {*self.needed, *sources}}
        self.values = open_values(str(root), chosen.values())
        for name in self.needed:
            if name not in self.values.found:
                raise ConfigError(f"{root} has no {name!r}; it has {', '.join(self.values.found)}")

    def __len__(self) -> int:
        return len(self.values)

    def name(self, number: int) -> str:
        return str(self.values.names[number])

    def state(self, count: int) -> object:
        files = self.values.files
        return {part: each.stamps for part, each in inputs_of(files, files.folders, range(count)).items()}

    def read(self, number: int) -> Sample:
        values = self.values.read(number)
        for name in self.needed:
            if name not in values:
                raise ValueProblem(f"there is no file of {name!r}")
        true = values[self.target] if self.target else self.name(number)
        return Sample({name: values[name] for name in self.inputs}, self.truth(true) if self.truth else true)


class NamedSamples(AlignedSamples):
    """Some modalities of the first samples, or of all, each with its name as the truth."""

    def __init__(self, root: Path, inputs: tuple[str, ...], modalities: ModalitySet, count: int | None = None) -> None:
        super().__init__(root, inputs, "", modalities)
        self.count = len(self.values) if count is None else min(count, len(self.values))

    def __len__(self) -> int:
        return self.count
