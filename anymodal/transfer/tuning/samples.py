"""The samples of a transfer, and batches of them.

Shapes: B samples.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.crops import Crop
from anymodal.data.files.values import open_values
from anymodal.data.order import EpochOrder, Share, generator
from anymodal.data.replacing import Replacing
from anymodal.data.report import problem_line
from anymodal.errors import AnymodalError, ConfigError, DataError
from anymodal.generation.state import SampleState
from anymodal.modality import Modality
from anymodal.tokens import Inputs, ModalitySet, Packed, collate
from anymodal.transfer.class_folders import read_class_folders
from anymodal.transfer.tuning.tasks import Solver

log = logging.getLogger("anymodal")
KEPT_BYTES = 2**28  # of tokens, so that each sample is read once if they are few
Tokens = Mapping[str, np.ndarray]


class Source(Protocol):
    """Samples: values by modality, and the truth of each."""

    def __len__(self) -> int: ...

    def describe(self, index: int) -> str: ...

    def read(self, index: int, flip: bool) -> tuple[dict[str, Any], Any] | None:
        """The inputs that a sample has, and its truth; None where it has none of one of them."""

    def truths(self, cut: bool = False) -> Iterator[Any]:
        """The truths as they are, or those that `read` gives, which takes the time of reading the inputs too."""
        ...

    def stamps(self) -> str:
        """A digest of where the samples lie, and of what changes when their files do."""
        ...


class AlignedSource:
    """An aligned dataset, whose truths are files beside the inputs."""

    def __init__(self, path: str, readers: Sequence[Modality], truth: Modality, count: int | None) -> None:
        names = [reader.name for reader in readers]
        if truth.name in names:
            raise ConfigError(f"{truth.name!r} is the task, so it cannot be an input too")
        self.path, self.inputs, self.truth = path, names, truth.name
        self._values = open_values(path, [*readers, truth], count=count)
        self._truths = open_values(path, [truth], count=count)
        if truth.name not in self._values.found:
            raise DataError(f"{path} has no {truth.name!r}, which this task learns; it has {self._found()}")
        if not any(name in self._values.found for name in names):
            raise DataError(f"{path} has none of {', '.join(names)}; it has {self._found()}")

    def _found(self) -> str:
        return ", ".join(self._values.found) or "none of the modalities"

    def __len__(self) -> int:
        return len(self._values)

    def describe(self, index: int) -> str:
        return self._values.describe(index)

    def read(self, index: int, flip: bool) -> tuple[dict[str, Any], Any] | None:
        held = self._values.held(index)
        if self.truth not in held or not any(name in held for name in self.inputs):
            return None

        def crop(extent: tuple[float, float] | None) -> Crop:
            return attrs.evolve(Crop() if extent is None else Crop.center(*extent), flip=flip)

        values = self._values.read(index, crop if flip else None)
        truth = values.pop(self.truth)
        return values, truth

    def truths(self, cut: bool = False) -> Iterator[Any]:
        for index in range(len(self._values if cut else self._truths)):
            try:
                if not cut and self.truth in self._truths.held(index):
                    yield self._truths.read(index)[self.truth]
                elif cut and (found := self.read(index, False)) is not None:
                    yield found[1]
            except AnymodalError:  # counted when it is trained on
                continue

    def stamps(self) -> str:
        files, whole = self._values.files, hashlib.sha256()
        for index in range(len(files)):
            held = [name for name in self._values.modalities if files.holds(name, index)]
            found = [files.place(name, index) + " " + files.stamp(name, index) for name in held]
            whole.update(f"{self.describe(index)} {found}\n".encode())
        return whole.hexdigest()


class ClassFolderSource:
    """Pictures in a folder for each class; of folders "train" and "val", those of one part."""

    def __init__(self, path: Path, reader: Modality, learned: bool, count: int | None) -> None:
        found = read_class_folders(path, reader.suffixes)
        rows = [k for k in range(len(found.files)) if found.learned is None or found.learned[k] == learned]
        spread = np.random.default_rng(0).permutation(len(rows)) if count else np.arange(len(rows))
        self.rows = [rows[k] for k in np.sort(spread[:count])]
        self.found, self.reader = found, reader

    def __len__(self) -> int:
        return len(self.rows)

    def describe(self, index: int) -> str:
        return str(self.found.files[self.rows[index]])

    def read(self, index: int, flip: bool) -> tuple[dict[str, Any], Any] | None:
        row = self.rows[index]
        value = self.reader.accept(self.found.files[row])
        extent = self.reader.extent(value)
        crop = Crop() if extent is None else Crop.center(*extent)
        return {self.reader.name: self.reader.crop(value, attrs.evolve(crop, flip=flip))}, self.found.labels[row]

    def truths(self, cut: bool = False) -> Iterator[Any]:
        return (self.found.labels[row] for row in self.rows)

    def stamps(self) -> str:
        whole = hashlib.sha256()
        for row in self.rows:
            found = self.found.files[row].stat()
            whole.update(f"{self.found.files[row]} {found.st_size} {found.st_mtime_ns}\n".encode())
        return whole.hexdigest()


def open_source(
    path: str, readers: Sequence[Modality], truth: Modality, count: int | None, *, learned: bool = True
) -> Source:
    """The samples of a dataset: an aligned one, or folders of classes where the truth is the name of one.

    Raises DataError for what is neither, ConfigError for inputs that it cannot have.
    """
    from anymodal.transfer.tuning.classification import ClassName

    folder = Path(path)
    if isinstance(truth, ClassName) and folder.is_dir() and not (folder / truth.name).is_dir():
        if len(readers) > 1:
            raise ConfigError(
                f"{path} has no folder {truth.name!r}, and folders of classes hold one modality: name one input alone"
            )
        return ClassFolderSource(folder, readers[0], learned, count)
    return AlignedSource(path, readers, truth, count)


@attrs.frozen(eq=False)
class Lessons:
    """Packed inputs of B samples, what should be said of them, and a line for each sample that was replaced."""

    inputs: Inputs
    targets: Mapping[str, Tensor]
    problems: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Lessons:
        inputs = Packed(self.inputs).to(device).inputs
        return Lessons(inputs, {name: tensor.to(device) for name, tensor in self.targets.items()}, self.problems)


class TokenReader:
    """The tokens and the truths of samples, kept in memory as far as there is room.

    `thoughts` are the tokens of what was generated first, by sample and whether it is mirrored; `told`: that samples
    cannot be read.
    """

    def __init__(self, source: Source, modalities: ModalitySet, thoughts: Mapping[tuple[int, bool], Tokens]) -> None:
        self.source, self.modalities, self.thoughts = source, modalities, thoughts
        self._kept: dict[tuple[int, bool], tuple[dict[str, Tokens], Any]] = {}
        self._bytes = 0
        self.told = False

    def __call__(self, index: int, flip: bool) -> tuple[dict[str, Tokens], Any] | None:
        """The tokens of each input by its name, and the truth; None of a sample that lacks one of them."""
        if (index, flip) in self._kept:
            return self._kept[index, flip]
        read = self.source.read(index, flip)
        if read is None:
            return None
        tokens: dict[str, Tokens] = {name: self.modalities.condition({name: value}) for name, value in read[0].items()}
        if (thought := self.thoughts.get((index, flip))) is not None:
            tokens["thought"] = thought
        size = sum(array.nbytes for each in tokens.values() for array in each.values())
        size += read[1].nbytes if isinstance(read[1], np.ndarray) else 1000
        if self._bytes + size <= KEPT_BYTES:
            self._kept[index, flip], self._bytes = (tokens, read[1]), self._bytes + size
        return tokens, read[1]


def usable(reader: TokenReader, indices: Iterable[int]) -> Iterator[tuple[Tokens, Any]]:
    """The tokens and truths of samples that have both, as they are.

    Those that cannot be read are left out, and told of when all were looked at, once for a reader.
    """
    problems = []
    for index in indices:
        try:
            found = reader(index, False)
        except Exception as error:  # damaged files make libraries and plugins fail in many ways
            problems.append(problem_line(reader.source.describe(index), error))
            continue
        if found is not None:
            yield {stream: array for each in found[0].values() for stream, array in each.items()}, found[1]
    if problems and not reader.told:
        reader.told = True
        log.warning("left out: %d held-out samples that cannot be read, such as %s", len(problems), problems[0])


class LessonBatches:
    """Batches by number of the step and part; a pure function of the seed, the step and the row."""

    def __init__(
        self,
        read: TokenReader,
        solver: Solver,
        shape: tuple[int, int],
        batch_size: int,
        seed: int,
        share: Share,
        drop: float,
        flip: float,
    ) -> None:
        share.check(batch_size)
        self.read, self.solver, self.shape, self.batch_size, self.seed = read, solver, shape, batch_size, seed
        self.share, self.drop, self.flip = share, drop, flip
        self.order = EpochOrder(len(read.source), batch_size, seed)

    def __call__(self, number: int) -> Lessons:
        step, part = divmod(number, self.share.parts)
        order, problems = self.order(step), list[str]()
        rows = [self._row(step, row, order[row], problems) for row in self.share.rows(self.batch_size, part)]
        return lessons(rows, self.read.modalities, problems)

    def _row(self, step: int, row: int, index: int, problems: list[str]) -> tuple[Tokens, dict[str, np.ndarray]]:
        source = self.read.source

        def read(index: int, _: np.random.Generator) -> tuple[Tokens, dict[str, np.ndarray]] | None:
            rng = generator(self.seed, "view", step, row)
            found = self.read(index, bool(rng.random() < self.flip))
            if found is None:
                return None
            return chosen(found[0], self.drop, rng), self.solver.targets(found[1], self.shape)

        nothing = "no sample has an input and the truth"
        replacing = Replacing("the training data", len(source), source.describe, nothing)
        return replacing.read(read, index, lambda failed: generator(self.seed, "row", step, row, failed), problems)


def chosen(tokens: Mapping[str, Tokens], drop: float, rng: np.random.Generator) -> Tokens:
    """The tokens of the inputs that are left when each is dropped with a probability; one stays."""
    names = list(tokens)
    stays = [name for name in names if rng.random() >= drop]
    last = names[int(rng.integers(len(names)))]
    return {stream: array for name in stays or [last] for stream, array in tokens[name].items()}


def lessons(
    rows: Iterable[tuple[Tokens, Mapping[str, np.ndarray]]], modalities: ModalitySet, problems: Sequence[str] = ()
) -> Lessons:
    """Rows in one batch."""
    pairs = list(rows)
    packed = packed_inputs([tokens for tokens, _ in pairs], modalities)
    targets = {
        name: torch.from_numpy(np.stack([targets[name] for _, targets in pairs])) for name in pairs[0][1]
    } if pairs else {}  # fmt: skip
    return Lessons(packed, targets, tuple(problems))


def packed_inputs(samples: Sequence[Tokens], modalities: ModalitySet) -> Inputs:
    """What the encoder reads of tokens by stream."""
    states = [SampleState(modalities.layout, tokens) for tokens in samples]
    return collate([state.pack() for state in states], modalities.layout, input_tokens=1).inputs
