"""Any aligned dataset of ours: folders or tars of modalities, such as `anymodal scenes` and `anymodal label` write."""

from __future__ import annotations

from pathlib import Path

from anymodal.data.files.values import open_values
from anymodal.data.jobs.inputs import inputs_of
from anymodal.errors import ConfigError, ValueProblem
from anymodal.evaluation.layouts.base import Sample, Samples
from anymodal.tokens import ModalitySet


class AlignedSamples(Samples):
    """Samples with some modalities as inputs and one as the truth, cut to the centered square at the model's size."""

    sized = True

    def __init__(self, root: Path, inputs: tuple[str, ...], target: str, modalities: ModalitySet) -> None:
        self.inputs, self.target = inputs, target
        wanted = [modalities[name] for name in (*inputs, target)]
        sources = {source for each in wanted for source in each.derived_from if source in modalities}
        chosen = {name: modalities[name] for name in modalities.modalities if name in {*inputs, target, *sources}}
        self.values = open_values(str(root), chosen.values())
        for name in (*inputs, target):
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
        for name in (*self.inputs, self.target):
            if name not in values:
                raise ValueProblem(f"there is no file of {name!r}")
        return Sample({name: values[name] for name in self.inputs}, values[self.target])
