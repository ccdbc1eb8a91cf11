"""Any aligned dataset of ours: folders or tars of modalities, such as `anymodal scenes` and `anymodal label` write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from anymodal.data.files.values import ValueSource, open_values
from anymodal.data.jobs.inputs import inputs_of
from anymodal.errors import ConfigError, ValueProblem
from anymodal.evaluation.layouts.base import Sample, Samples
from anymodal.modality import Modality
from anymodal.tokens import ModalitySet


def _with_sources(modalities: ModalitySet, names: tuple[str, ...]) -> dict[str, Modality]:
    """Modalities of these names, and those that they are derived from."""
    sources = {source for name in names for source in modalities[name].derived_from if source in modalities}
    return {name: modalities[name] for name in modalities.modalities if name in {*names, *sources}}


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
        beside: tuple[str, ...] = (),
    ) -> None:
        """`target` is "" where the place of a sample is its truth; `truth` turns a value into what is compared with.

        `beside` are modalities that are not read, whose files have numbers too.
        """
        self.inputs, self.target, self.truth = inputs, target, truth
        self.needed = (*inputs, target) if target else inputs
        self.whole = open_values(str(root), _with_sources(modalities, (*self.needed, *beside)).values())
        self.values = ValueSource(self.whole.files, _with_sources(modalities, self.needed))
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
        # In tars, samples of one name are told apart by their shards alone.
        true = values[self.target] if self.target else self.values.describe(number)
        return Sample({name: values[name] for name in self.inputs}, self.truth(true) if self.truth else true)


class NamedSamples(AlignedSamples):
    """Samples that have some modalities, each with its place as the truth; of a search, what is asked for or found.

    Both sides are numbered by the files of both, so that the first samples of one are those of the other.
    """

    def __init__(self, root: Path, inputs: tuple[str, ...], beside: tuple[str, ...], modalities: ModalitySet) -> None:
        """`beside` are the modalities of the other side."""
        super().__init__(root, inputs, "", modalities, beside=beside)
        self.rows = self._having(inputs)

    def _having(self, names: tuple[str, ...]) -> list[int]:
        held = (set(self.whole.held(row)) for row in range(len(self.whole)))
        return [row for row, found in enumerate(held) if not found.isdisjoint(names)]

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, number: int) -> str:
        return super().name(self.rows[number])

    def state(self, count: int) -> object:
        return super().state(self.rows[count - 1] + 1 if count else 0)

    def read(self, number: int) -> Sample:
        return super().read(self.rows[number])


class FoundSamples(NamedSamples):
    """What the first `count` questions by the modalities `asked` may find: all up to the last of these, or all."""

    def __init__(
        self, root: Path, inputs: tuple[str, ...], asked: tuple[str, ...], modalities: ModalitySet, count: int
    ) -> None:
        super().__init__(root, inputs, asked, modalities)
        questions = self._having(asked)
        if count < len(questions):
            self.rows = [row for row in self.rows if row <= questions[count - 1]]
