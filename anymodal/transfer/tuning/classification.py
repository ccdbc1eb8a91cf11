"""Classes of samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from anymodal.errors import DataError, ValueProblem
from anymodal.files import read_text
from anymodal.modality import Modality
from anymodal.spaces import Stream
from anymodal.transfer.tuning.tasks import TASKS, Solver, Task, class_names

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from anymodal.tokens import ModalitySet
else:
    from anymodal.lazy import torch

LONGEST = 200  # characters of a class's name
LABELS = "label"


class ClassName(Modality):
    """The name of a sample's class, in a text file of its own; no model reads or writes it."""

    name = LABELS
    suffixes = (".txt",)
    is_text = True

    def streams(self) -> tuple[Stream, ...]:
        return ()

    def read(self, path: Path) -> str:
        return self.accept(read_text(path))

    def accept(self, value: Any) -> str:
        if isinstance(value, Path):
            return self.read(value)
        name = value.strip() if isinstance(value, str) else ""
        if not name or len(name) > LONGEST or "\n" in name:
            raise ValueProblem(f"the name of a class is one line of up to {LONGEST} characters, got {value!r:.80}")
        return name


class ClassSolver(Solver):
    """Cross-entropy of classes, by name in alphabetical order."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self.facts, self.channels = list(names), {"classes": list(names)}, len(names)

    def targets(self, truth: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        if truth not in self.names:
            raise ValueProblem(f"the class {truth!r:.80} is not among those of the training data")
        return {"class": np.array(self.names.index(truth))}

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        return torch.tensor([float(len(targets["class"]))], dtype=torch.float64)

    def losses(self, said: Tensor, targets: Mapping[str, Tensor], totals: Tensor) -> dict[str, Tensor]:
        right = (said.argmax(-1) == targets["class"]).float().sum() / totals[0].float()
        return {
            "loss": torch.nn.functional.cross_entropy(said, targets["class"], reduction="sum") / totals[0].float(),
            "accuracy": right,
        }

    def values(self, said: Tensor, focal: float | None = None) -> list[str]:
        return [self.names[k] for k in said.argmax(-1).tolist()]

    def score(self, predictions: Sequence[Any], truths: Sequence[Any]) -> dict[str, float]:
        right = np.array([p == t for p, t in zip(predictions, truths, strict=True)])
        labels = np.array(truths)
        each = [right[labels == name].mean() for name in np.unique(labels)]
        return {"accuracy": float(right.mean()), "mean_class_accuracy": float(np.mean(each))}


@TASKS.add
@attrs.frozen
class Classification(Task):
    """The class of a sample: of pictures in a folder for each class, or, of an aligned dataset, the line of text in
    its folder `labels`."""

    name: str = attrs.field(init=False, default="classification")
    labels: str = LABELS
    description: ClassVar[str] = "classes of samples"

    def truth(self, modalities: ModalitySet) -> Modality:
        made = ClassName()
        made.name = self.labels  # type: ignore[misc]  # of the folder
        return made

    def learn(self, truth: Modality, values: Iterable[Any]) -> Solver:
        names = sorted(set(values))
        if len(names) < 2:
            raise DataError(f"the training data have one class, {names[0]!r:.80}: there is nothing to tell apart")
        return ClassSolver(names)

    def restore(self, truth: Modality, facts: Mapping[str, Any]) -> Solver:
        return ClassSolver(class_names(facts))
