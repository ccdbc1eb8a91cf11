"""Folders, tars, token shards, manifests, states of runs."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aligned_layouts
from datasets_made import write_config, write_pictures

import anymodal as am
from anymodal.config import load_config
from anymodal.data.crops import Crops
from anymodal.data.files.tar_index import table
from anymodal.data.files.values import open_values
from anymodal.data.jobs.receipts import checksum
from anymodal.data.jobs.tokenize import tokenize_dataset
from anymodal.data.store.reader import TokenStore
from anymodal.text import Vocabulary
from anymodal.training.log import read_log
from anymodal.training.multimodal.config import TrainConfig, build_set
from anymodal.training.stored import newest_checkpoint, read_state, write_state
from fuzz.subjects.base import Subject, small
from fuzz.subjects.base import held as held_in


def datasets(vocabulary: Vocabulary, folder: Path) -> Iterator[Subject]:
    made = aligned_layouts.samples(3)
    as_folder = held_in(aligned_layouts.as_folder(folder / "aligned", made))
    as_tars = held_in(aligned_layouts.as_tars(folder / "tars", made))
    yield Subject("datasets", "folder", as_folder, tuple(as_folder), _samples, 1)
    yield Subject("tars", "aligned", as_tars, tuple(as_tars), _samples, 3)
    yield Subject("tars", "of whole samples", {"shard-000.tar": _webdataset(made)}, ("shard-000.tar",), _samples, 2)
    yield Subject("tars", "table", {"a.tar": _webdataset(made)}, ("a.tar",), _members, 2)
    packed = {f"{part}/shard-00000.tar.gz": gzip.compress(as_tars[f"{part}/shard-00000.tar"], mtime=0) for part in made}
    yield Subject("tars", "packed", packed, tuple(packed), _samples, 1, spelled_anew=False)
    captions = [am.registry().modality(name)(length=24) for name in ("caption", "color_palette", "metadata_image")]
    seven = am.ModalitySet([small("depth"), small("rgb"), *captions], vocabulary)
    work = folder / "made"
    write_pictures(work / "data", 5)
    config = load_config(write_config(work, seven), TrainConfig)
    make = partial(build_set, config.modalities, config.tokenizers)
    tokenize_dataset(work / "data", make, work / "out", crops=Crops(2), shard_size=3, workers=1)
    held = held_in(work / "out")
    shards = tuple(name for name in held if name.endswith(".safetensors"))
    yield Subject("token shards", "shards", held, shards, _tokens, 3, spelled_anew=False)
    yield Subject("manifests", "tokens", held, ("manifest.json",), _tokens, 3)
    begun = {".jobs/plan.json": held["manifest.json"], **held}
    books, resume = (".jobs/plan.json", "manifest.json", "problems.jsonl"), partial(_again, make, work / "data")
    yield Subject("manifests", "a job taken up", begun, books, resume, 1, writes=True)
    log = b"".join(json.dumps({"step": k, "loss": 1 / k, "lr": 1e-3}).encode() + b"\n" for k in range(1, 6))
    yield Subject(
        "states of runs", "log.jsonl", {"log.jsonl": log}, ("log.jsonl",), lambda f: read_log(f / "log.jsonl"), 1
    )
    run = _written_run(folder / "run")
    yield Subject("states of runs", "state.json", run, ("step-00000003/state.json",), _state, 2, spelled_anew=False)


def _webdataset(made: Mapping[str, Mapping[str, bytes]]) -> bytes:
    """Members NAME.PART.ENDING, sample by sample."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in sorted(made["rgb"]):
            for part, inside in made.items():
                ending = next(n for n in inside if n[:4] == name[:4])[4:]
                entry = tarfile.TarInfo(f"{name[:4]}.{part}{ending}")
                entry.size = len(inside[name[:4] + ending])
                tar.addfile(entry, io.BytesIO(inside[name[:4] + ending]))
    return file.getvalue()


def _samples(folder: Path) -> list[Any]:
    report = am.check_dataset(str(folder))
    modalities = {name: am.registry().modality(name)() for name in ("rgb", "depth", "caption")}
    source = open_values(str(folder), am.ModalitySet(modalities.values()))
    values = [[source.names[k], source.read(k)] for k in range(len(source))]
    return [report.samples, values]


def _members(folder: Path) -> list[Any]:
    found = table(str(folder / "a.tar"))
    if found.damage:
        raise am.DataError(found.damage)
    return [found.names.tolist(), found.sizes.tolist()]


def _tokens(folder: Path) -> list[Any]:
    store = TokenStore(folder)
    if len(store) * store.crops > 1000:
        return [len(store)]
    return [store.names, [store.sample(i, c) for i in range(len(store)) for c in range(store.crops)]]


def _again(make: Callable[[], am.ModalitySet], data: Path, folder: Path) -> Any:
    tokenize_dataset(data, make, folder, crops=Crops(2), shard_size=3, workers=1)
    return _tokens(folder)


def _written_run(folder: Path) -> dict[str, bytes]:
    """The files of a run with one checkpoint."""
    step = folder / "step-00000003"
    step.mkdir(parents=True)
    (step / "a.safetensors").write_bytes(b"123456789")
    state = {"step": 3, "settings": {"lr": 0.1}, "score": 0.5}
    write_state(step, state, {"a.safetensors": checksum([step / "a.safetensors"])})
    return {f"{step.name}/{path.name}": path.read_bytes() for path in step.iterdir()}


def _state(folder: Path) -> Any:
    newest = newest_checkpoint(folder)
    if newest is None:
        raise am.CheckpointError("no whole one")
    return read_state(newest)
