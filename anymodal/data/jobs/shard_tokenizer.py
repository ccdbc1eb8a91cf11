"""Makes the tokens of one shard after the other, with the tokenizers loaded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from anymodal.crops import Crop, center_crops
from anymodal.data.files.alignment import misaligned
from anymodal.data.files.values import open_values
from anymodal.data.jobs.inputs import Inputs
from anymodal.data.jobs.problems import Problem, Problems, noted, told_apart
from anymodal.data.jobs.runner import Job
from anymodal.data.store.arrays import map_arrays, shard_name, write_arrays
from anymodal.data.store.reader import INFO, info_specs
from anymodal.data.store.writer import Put, writing_stream
from anymodal.errors import AnymodalError, CheckpointError, ValueProblem
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.spaces import Stream
from anymodal.tokens.checks import unfit_tokens

if TYPE_CHECKING:
    from anymodal.data.jobs.tokenize import Tokenizing

Tokens = dict[str, list[np.ndarray]]


@attrs.frozen
class Views:
    """The crops of a sample, and the values of each of them by modality."""

    number: int
    name: str
    crops: list[Crop]
    values: list[dict[str, Any]]


class ShardTokenizer:
    """Makes the parts of shards."""

    def __init__(self, work: Tokenizing, device: str | None) -> None:
        self.work, self.set = work, work.make_set()
        if device is not None:
            for modality in self.set:
                modality.to(device)
        self.source = open_values(work.data, self.set, count=work.count)

    def inputs(self, shard: int) -> dict[str, Inputs]:
        return self.work.inputs(self.source, shard)

    def __call__(self, job: Job) -> Iterator[tuple[str, list[Problem]]]:
        """The parts that are finished one after the other, each with what was left out. Raises DataError."""
        start = job.shard * self.work.shard_size
        names = self.source.names[start : start + job.samples]
        wanted = [m for m in self.set if m.name in job.parts]
        told = told_apart(self.source, range(start, start + job.samples))
        problems = {part: Problems(part, told) for part in job.parts}
        reading = self._needed(wanted) if INFO not in job.parts else list(self.set)
        stored = None if INFO in job.parts else self._stored_crops(job)
        drawn: list[list[Crop]] = []
        with ExitStack() as files:
            put = {
                stream.name: files.enter_context(self._writing(job, stream))
                for modality in wanted
                for stream in self.work.streams[modality.name]
            }
            step = max(1, self.work.batch // self.work.crops.count)
            for first in range(0, job.samples, step):
                rows = range(first, min(first + step, job.samples))
                views = [
                    self._views(start + k, names[k], stored[k] if stored else None, reading, problems) for k in rows
                ]
                drawn += [view.crops for view in views]
                for modality in wanted:
                    tokens = self._tokenize(modality, views, problems[modality.name])
                    for stream in self.work.streams[modality.name]:
                        put[stream.name](first, [None if each is None else each.get(stream.name) for each in tokens])
        if INFO in job.parts:
            self._write_info(job, names, drawn)
        for part, found in problems.items():
            yield part, found.all

    def _writing(self, job: Job, stream: Stream) -> AbstractContextManager[Put]:
        path = self.work.out / stream.name / shard_name(job.shard)
        return writing_stream(path, stream, job.samples, self.work.crops.count)

    def _needed(self, wanted: Sequence[Modality]) -> list[Modality]:
        """The modalities of the set that have to be read for those that are wanted."""
        sources = {name for modality in wanted for name in modality.derived_from}
        return [m for m in self.set if m in wanted or m.name in sources]

    def _views(
        self,
        number: int,
        name: str,
        crops: list[Crop] | None,
        reading: Sequence[Modality],
        problems: Mapping[str, Problems],
    ) -> Views:
        """One sample, cut; a file that cannot be used is a problem of its modality, and of no other."""
        whole: dict[str, Any] = {}
        for modality in reading:
            if self.source.files.holds(modality.name, number):
                with noted(problems, modality, number, "read"):
                    whole[modality.name] = self.source.read_file(modality.name, number)
        extents = {each: self.set[each].extent(value) for each, value in whole.items()}
        while found := misaligned(
            extents, self.set.modalities
        ):  # left out, for its square would be another than that of the picture
            with noted(problems, self.set[found[0]], number, "crop"):
                raise ValueProblem(found[1])
            del extents[found[0]], whole[found[0]]
        if crops is None:
            crops = self.work.crops.draw(name, next((extent for extent in extents.values() if extent), None))
        centers = center_crops(extents)
        views = []
        for k, crop in enumerate(crops):
            values: dict[str, Any] = {}
            for each, value in whole.items():
                with noted(problems, self.set[each], number, "crop"):
                    values[each] = self.set[each].crop(value, crop if k else centers[each])
            for modality in reading:
                sources = modality.derived_from
                if modality.name not in whole and sources and all(source in values for source in sources):
                    with noted(problems, modality, number, "derive"):
                        values[modality.name] = modality.derive({source: values[source] for source in sources})
            views.append(values)
        return Views(number, name, crops, views)

    def _tokenize(self, modality: Modality, views: Sequence[Views], problems: Problems) -> list[Tokens | None]:
        """Per sample the arrays of each crop by stream, or None where it has no good value of the modality."""
        has = [k for k, view in enumerate(views) if all(modality.name in values for values in view.values)]
        found: list[Tokens | None] = [None] * len(views)
        try:
            for k, tokens in zip(has, self._ids(modality, [views[k] for k in has]), strict=True):
                found[k] = tokens
        except CheckpointError:
            raise
        except AnymodalError:  # of one of them: which?
            for k in has:
                try:
                    (found[k],) = self._ids(modality, [views[k]])
                except AnymodalError as error:
                    problems.add(views[k].number, error)
        return found

    def _ids(self, modality: Modality, views: Sequence[Views]) -> list[Tokens]:
        """As `_tokenize`, for samples that have the modality. Raises the error of any of them."""
        if not views:
            return []
        at_once = range(1 if modality.draws else self.work.crops.count)  # further crops each have an order of their own
        with blame(modality, "tokenize"):
            values = [view.values[crop][modality.name] for view in views for crop in at_once]
            together = modality.tokenize(values)
            for k, view in enumerate(views):
                for crop in range(len(at_once), self.work.crops.count):
                    rng = self.work.crops.rng(view.name, crop)
                    alone = modality.tokenize([view.values[crop][modality.name]], rng)  # type: ignore[call-arg]
                    for name, (array,) in alone.items():
                        together[name].insert(k * self.work.crops.count + crop, array)
        count = self.work.crops.count
        streams = {stream.name for stream in self.work.streams[modality.name]}
        tokens = {name: [self._stored(name, a) for a in arrays] for name, arrays in together.items() if name in streams}
        return [
            {name: arrays[k * count : (k + 1) * count] for name, arrays in tokens.items()} for k in range(len(views))
        ]

    def _stored(self, stream: str, tokens: Any) -> np.ndarray:
        """Tokens of one value as they are stored. Raises ValueProblem if they do not fit their stream."""
        array = np.asarray(tokens)
        if self.set.layout[stream].is_dense:
            with np.errstate(over="ignore"):
                array = array.astype(np.float16)
        if wanted := unfit_tokens(self.set.layout, stream, array, stored=True):
            raise ValueProblem(f"its tokens of {stream!r} are {array.dtype} of shape {array.shape}, not {wanted}")
        return array

    def _info(self, job: Job) -> Path:
        return self.work.out / INFO / shard_name(job.shard)

    def _write_info(self, job: Job, names: Sequence[str], crops: Sequence[Sequence[Crop]]) -> None:
        encoded = [name.encode() for name in names]
        arrays: dict[str, np.ndarray] = {
            "names": np.frombuffer(b"".join(encoded), np.uint8),
            "name_ends": np.cumsum([len(name) for name in encoded], dtype=np.int64),
            "crops": np.array([[attrs.astuple(crop) for crop in each] for each in crops], np.float64),
        }
        write_arrays(arrays, self._info(job))

    def _stored_crops(self, job: Job) -> list[list[Crop]]:
        path = self._info(job)
        crops = map_arrays(path, path.stat().st_size, info_specs(job.samples, self.work.crops.count))["crops"]
        return [[Crop(row[0], row[1], row[2], row[3], bool(row[4])) for row in each] for each in crops.tolist()]
