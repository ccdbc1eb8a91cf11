"""What a model is fine-tuned for: the table of tasks, and what each one has to say.

Shapes: B samples, C numbers that the head says, h x w cells of its map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.errors import CheckpointError
from anymodal.modality import Modality

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from anymodal.tokens import ModalitySet


class Solver(ABC):
    """A task on certain data: what the head learns, and what it means.

    facts: what was found in the training data, such as the names of classes, as JSON can hold it.
    channels: C.
    cells: how many cells of the head's map each cell of the encoder's becomes, a side; 0 for a head that reads the mean
        of all tokens, and says (B, C) instead of (B, C, h, w).
    """

    facts: dict[str, Any]
    channels: int
    cells: int = 0

    @abstractmethod
    def targets(self, truth: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        """What the head should say of a sample; arrays of the same shapes for each. `shape`: of the head's map."""

    @abstractmethod
    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        """What losses are means over, (k,) numbers that add up over batches: samples, pixels or objects."""

    @abstractmethod
    def losses(self, said: Tensor, targets: Mapping[str, Tensor], totals: Tensor) -> dict[str, Tensor]:
        """The share that a batch has in the metrics of an update with these total counts; "loss" is minimized."""

    @abstractmethod
    def values(self, said: Tensor, focal: float | None = None) -> list[Any]:
        """The values of samples. `focal`: focal length of the cameras in widths of the picture, where that matters."""

    @abstractmethod
    def score(self, predictions: Sequence[Any], truths: Sequence[Any]) -> dict[str, float]:
        """How good values are."""

    def initial_bias(self) -> Tensor | None:
        """What the last layer of the head says before it has learned anything, (C,); zeros by default."""
        return None


@attrs.frozen
class Task(ABC):
    """What a model is fine-tuned for. Add your own: a frozen attrs class under ``@TASKS.add``.

    `cut`: whether what it learns of truths depends on how they are cut with their picture.
    """

    name: str = attrs.field(init=False)
    description: ClassVar[str] = ""
    cut: ClassVar[bool] = False

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that truths are read with, if the model has them with settings of its own."""
        return ()

    @abstractmethod
    def truth(self, modalities: ModalitySet) -> Modality:
        """What reads the truth of a sample."""

    @abstractmethod
    def learn(self, truth: Modality, values: Iterable[Any]) -> Solver:
        """The task on data whose training part has these truths. Raises ConfigError or DataError for unusable ones."""

    @abstractmethod
    def restore(self, truth: Modality, facts: Mapping[str, Any]) -> Solver:
        """The task as it was learned, by its `facts`. Raises CheckpointError for facts that cannot be."""


@attrs.frozen
class ModalityTask(Task):
    """A task whose truths are values of a modality: with the settings it has in the model, or with others.

    to: the modality.
    settings: its own, where the model lacks it or has others.
    """

    to: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        return (self.to,)

    def truth(self, modalities: ModalitySet) -> Modality:
        """The modality of the model, or an installed one. Raises UnknownModality."""
        if self.to in modalities and not self.settings:
            return modalities[self.to]
        from anymodal.plugins.registry import registry

        return registry().modality(self.to)(**self.settings)


def class_names(facts: Mapping[str, Any]) -> list[str]:
    """The classes among the facts of a task. Raises CheckpointError where there are none."""
    names = facts.get("classes")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError("the result of this transfer is damaged: it names no classes")
    return names


TASKS: SettingsTable[Task] = SettingsTable(Task, "transfer task")  # type: ignore[type-abstract]
