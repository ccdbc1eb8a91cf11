"""How an aligned dataset becomes a tokenized one: shard by shard, each a pure function of the data and the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from anymodal.config.arguments import COUNT, FUNCTION, PLACE, takes
from anymodal.data.crops import Crops
from anymodal.data.digest import digest
from anymodal.data.files.values import ValueSource, open_values
from anymodal.data.jobs.inputs import Inputs, address, inputs_of
from anymodal.data.jobs.manifest import Plan, versions
from anymodal.data.jobs.runner import Summary, make_dataset
from anymodal.data.jobs.shard_tokenizer import ShardTokenizer
from anymodal.data.store.arrays import map_arrays, shard_name
from anymodal.data.store.reader import FORMAT, INFO, KIND, read_stream, stream_specs
from anymodal.errors import DataError, system_errors
from anymodal.families.ready import tokenizer_of, vocabulary_of
from anymodal.modality import Modality
from anymodal.spaces import Stream
from anymodal.tokens import ModalitySet

MakeSet = Callable[[], ModalitySet]
CENTER = Crops()


@takes(data=PLACE, out=PLACE, count=COUNT, batch=COUNT, shard_size=COUNT, make_set=FUNCTION)
@system_errors(DataError)
def tokenize_dataset(
    data: str | Path,
    make_set: MakeSet,
    out: Path,
    *,
    crops: Crops = CENTER,
    shard_size: int = 1000,
    count: int | None = None,
    batch: int = 64,
    executor: str = "local",
    workers: int | None = 1,
    max_bad: float = 0.01,
) -> Summary | None:
    """Tokenize an aligned dataset into `out`, or go on with it, or add modalities to it.

    Args:
        data: the dataset of values: folders, tars, or an address of such.
        make_set: makes the modalities with their tokenizers, once in every process; picklable for more than one.
        out: the folder of the tokens.
        crops: how many crops of every sample, and how they are drawn.
        shard_size: samples a file.
        count: only the first samples of the data.
        batch: values that go through a tokenizer together.
        executor: who works: "local", "ray", or "torchrun".
        workers: how many processes; None for one a GPU, or else a core.
        max_bad: the share of samples, in [0, 1], that may have problems.

    Returns:
        How the run ended; None in processes of torchrun that do not lead.

    Raises:
        CheckpointError: a modality that the data has lacks its tokenizer or vocabulary.
        DataError: `out` was made with other settings (it names which), the disk is full, the data cannot be read, or
            more samples than `max_bad` have problems. What is finished stays, and the same call goes on from there.
    """
    modalities = make_set()
    streams = {m.name: modalities.streams(m.name) for m in modalities}
    work = Tokenizing(str(data), make_set, Path(out), streams, crops, shard_size, count, batch)
    return make_dataset(
        work,
        lambda: work.plan(modalities),
        extra=work.shards,
        executor=executor,
        workers=workers,
        max_bad=max_bad,
        what="tokenizing",
    )


@attrs.frozen
class Tokenizing:
    """The work of tokenizing, as it travels to other processes."""

    data: str
    make_set: MakeSet
    out: Path
    streams: dict[str, tuple[Stream, ...]]
    crops: Crops
    shard_size: int
    count: int | None
    batch: int

    def plan(self, modalities: ModalitySet) -> Plan:
        source = open_values(self.data, modalities, count=self.count)
        for name in source.found:
            expect_ready(modalities[name])
        names = source.names
        settings = {
            "samples": len(names),
            "names": digest(list(names)),
            "shard_size": self.shard_size,
            "crops": attrs.asdict(self.crops),
        }
        starts = range(0, len(names), self.shard_size)
        return Plan(
            kind=KIND,
            format=FORMAT,
            settings=settings,
            modalities={m.name: describe(m, self.streams[m.name]) for m in modalities},
            counts=[min(self.shard_size, len(names) - start) for start in starts],
            parts=[INFO, *self.streams],
            versions=versions(modalities),
            data=address(self.data),
            inputs=lambda shard: self.inputs(source, shard),
            passed_over=source.files.problems,
        )

    def inputs(self, source: ValueSource, shard: int) -> dict[str, Inputs]:
        """The files of the data that a shard is made from."""
        rows = range(shard * self.shard_size, min((shard + 1) * self.shard_size, len(source)))
        return inputs_of(source.files, source.modalities, rows)

    def outputs(self, shard: int, part: str) -> dict[str, list[Path]]:
        folders = [INFO] if part == INFO else [stream.name for stream in self.streams[part]]
        names = [f"{folder}/{shard_name(shard)}" for folder in folders]
        return {name: [self.out / name] for name in names}

    def open(self, device: str | None) -> ShardTokenizer:
        return ShardTokenizer(self, device)

    def shards(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """What the manifest says of shards: the samples of each shard, and which of them have nothing at all."""
        samples = manifest["settings"]["samples"]
        streams = [read_stream(s) for m in manifest["modalities"].values() for s in m["streams"]]
        shards = []
        for shard, start in enumerate(range(0, samples, self.shard_size)):
            count = min(self.shard_size, samples - start)
            present = np.zeros(count, bool)
            for stream in streams:
                name = f"{stream.name}/{shard_name(shard)}"
                specs = {"present": stream_specs(stream, count, self.crops.count)["present"]}
                present |= map_arrays(self.out / name, manifest["files"][name]["size"], specs)["present"]
            shards.append({"samples": count, "empty": np.flatnonzero(~present).tolist()})
        return {"shards": shards}


def describe(modality: Modality, streams: Sequence[Stream]) -> dict[str, Any]:
    """What the tokens of a modality depend on; equal descriptions mean equal tokens."""
    spelled = any(stream.is_sequence and not stream.is_dense for stream in streams)
    vocabulary = modality.vocabulary if spelled else None
    return {
        **{member.name: describe(member, member.streams()) for member in modality.members.values()},
        "tokenizer": None if modality.tokenizer is None else modality.tokenizer.fingerprint(),
        "settings": modality.config(),
        "vocabulary": None if vocabulary is None else digest(vocabulary.to_json()),
        "streams": [attrs.asdict(stream) for stream in streams],
    }


def expect_ready(modality: Modality) -> None:
    """Raise CheckpointError for a modality that lacks what all of its tokens are made with."""
    for each in (modality, *modality.members.values()):
        if each.spelled:
            vocabulary_of(each)
        if each.has_tokenizer and not any(stream.is_dense for stream in each.streams()):
            tokenizer_of(each)
