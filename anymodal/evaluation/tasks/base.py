"""What a task is, and the table of them.

Another distribution adds its own with ``@TASKS.add`` above a frozen attrs class, or by an entry point in the group
"anymodal.evaluation_tasks".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import as_tuple, names

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel
    from anymodal.evaluation.layouts.base import Sample, Samples
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality
    from anymodal.tokens import ModalitySet


@attrs.frozen
class Request:
    """What the model is asked with: inputs by name, and what the target begins with, as `AnyModel.generate` has it."""

    inputs: Mapping[str, Any]
    start: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Task(ABC):
    """What is evaluated. A class derived from it states its `name`, `description`, `target` and `layout`.

    inputs: the modalities that the target is generated from.
    bounded: whether truths are values of the target, whose tokens can be compared with them.
    paired: whether scores depend on which truth belongs to which prediction.
    license: what one has to know before the data is used.
    """

    name: str = attrs.field(init=False)
    inputs: tuple[str, ...] = attrs.field(default=("rgb",), converter=as_tuple, validator=names)
    description: ClassVar[str] = ""
    target: ClassVar[str] = ""
    layout: ClassVar[str] = ""
    license: ClassVar[str] = ""
    bounded: ClassVar[bool] = True
    paired: ClassVar[bool] = True

    @property
    def title(self) -> str:
        """What a report calls the task."""
        return self.name

    @abstractmethod
    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        """The samples below a folder, with truths as the model's modalities have them. Raises DataError."""

    @abstractmethod
    def metric(self, modality: Modality) -> Metric:
        """What accumulates the scores of the target of a model."""

    def state(self) -> object:
        """What tells that files beside the data and the model, which scores depend on, are others now, for JSON."""
        return None

    def constant(self, truths: Sequence[Any]) -> Any:
        """One prediction for all samples, fitted to some truths; None where that means nothing."""
        return None

    def fit(self, model: AnyModel, sample: Sample) -> Sample:
        """A sample with its inputs and its truth cut to the centered square at the model's size."""
        values = model.accept({**sample.inputs, self.target: sample.truth})
        return attrs.evolve(sample, inputs={name: values[name] for name in sample.inputs}, truth=values[self.target])

    def requests(self, sample: Sample) -> Sequence[Request]:
        """What the model is asked for a sample that fits, once or several times."""
        return [Request(sample.inputs)]

    def values(self, truth: Any) -> Sequence[Any]:
        """The value of the target that a truth is, one for each request; only of `bounded` tasks."""
        return [truth]

    def as_made(self, modality: Modality, value: Any) -> Any:
        """A true value as the model would make it exactly, beside which its spread of several draws is looked at."""
        return value

    def joined(self, values: Sequence[Any]) -> Any:
        """One prediction of the values of all requests of a sample."""
        return values[0]

    def moved(self, prediction: Any, source: Any, truth: Any) -> Any:
        """The prediction of another sample, of which `source` is the truth, as one of the sample with this truth."""
        return prediction

    def shown(self, prediction: Any) -> Any:
        """A prediction as a value of the target, for pictures; only of `bounded` tasks."""
        return prediction

    def judged(self, model: AnyModel, samples: Sequence[Sample], made: Sequence[Any]) -> list[Any]:
        """What the metric gets as the predictions of samples, from the values that the model made."""
        return list(made)

    def reference(self, data: Path, modalities: ModalitySet, count: int) -> Samples | None:
        """Samples whose predicted vectors are kept before the first `count` samples are scored, by their truths.

        They reach the metric by `refer`; see `anymodal.evaluation.scores.neighbors`.
        """
        return None


TASKS = SettingsTable(Task, "evaluation task")  # type: ignore[type-abstract]
