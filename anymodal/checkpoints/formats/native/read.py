"""The library's own checkpoints: `config.json` (readable, strict), weights, vocabulary, and tokenizers.

`model.safetensors` (or its shards) holds the Transformer, `vocabulary.json` the words, and
`modalities/NAME/{config.json, model.safetensors}` a tokenizer each. A checkpoint never brings code: modalities come
from installed plugins, and only the files and tensors of the modalities asked for are read.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from anymodal.anymodel import AnyModel
from anymodal.checkpoints.card import About, write_card
from anymodal.checkpoints.repository import Access, Files
from anymodal.checkpoints.state import empty_transformer, fill_state, parts
from anymodal.checkpoints.tokenizer import Deferred, defer, load_tokenizer, place_of, save_tokenizer
from anymodal.checkpoints.version_1 import upgraded
from anymodal.checkpoints.weights import INDEX, WEIGHTS, WeightFile, dtype_of, save_weights
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, UnknownModality, nearest
from anymodal.families.shared import SharedModality
from anymodal.files import write_json
from anymodal.modality import Modality
from anymodal.model import ModelConfig
from anymodal.plugins.registry import registry
from anymodal.spaces import Stream
from anymodal.text import Vocabulary
from anymodal.tokens import Layout, ModalitySet

FORMAT, FORMAT_VERSION = "anymodal", 2
MAX_SHARD_SIZE = "5GB"


@attrs.frozen(kw_only=True)
class ModalityRecord:
    """What a checkpoint says of one modality: who provided it, its settings, and the streams it has in the model.

    `position_rows` are rows of the position table that go beyond what a stream needs. `sampling` holds the sampling
    options that suit the model, 'grounded' (with a photographic input) and 'free'. `tokenizer` names the repository of
    one that the checkpoint does not hold; `members` are modalities that share the stream.
    """

    distribution: str | None = None
    version: str | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)
    streams: list[dict[str, Any]] = attrs.field(factory=list)
    position_rows: dict[str, int] = attrs.field(factory=dict)
    sampling: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    tokenizer: str | None = None
    members: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class CheckpointConfig:
    """The content of config.json."""

    format: str
    format_version: int
    model: ModelConfig
    modalities: dict[str, ModalityRecord]
    description: str = ""
    training_data: str = ""
    license: str = ""


def parse_config(raw: Mapping[str, Any], source: str) -> CheckpointConfig:
    """The config of one of our checkpoints. Raises CheckpointError."""
    if raw.get("format_version") == 1:
        raw = upgraded(raw)
    if raw.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{source} has format version {raw.get('format_version')}, this one reads {FORMAT_VERSION}; update anymodal"
        )
    try:
        return structure(raw, CheckpointConfig, source)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def chosen(modalities: Iterable[str] | None, known: Iterable[str], source: str) -> list[str]:
    """The names asked for (default: all). Raises UnknownModality for one that the checkpoint does not have."""
    names = list(known)
    wanted = names if modalities is None else [modalities] if isinstance(modalities, str) else list(modalities)
    for name in wanted:
        if name not in names:
            raise UnknownModality(
                f"{source} has no modality {name!r}{nearest(name, names)} (it has: {', '.join(names)})"
            )
    if not wanted:
        raise ConfigError("modalities is empty; name at least one, or leave it out for all")
    return wanted


def load_checkpoint(
    files: Files,
    raw: Mapping[str, Any],
    modalities: Iterable[str] | None = None,
    dtype: str = "float32",
    access: Access | None = None,
    tokenizers: Mapping[str, str | Path] | str | Path | None = None,
) -> AnyModel:
    """The model of one of our checkpoints, on the CPU; see `anymodal.load`."""
    config = parse_config(raw, f"{files}/config.json")
    wanted = chosen(modalities, config.modalities, str(files))
    path = files.find("vocabulary.json")
    vocabulary = Vocabulary.load(path) if path else None
    records = {name: record for name, record in config.modalities.items() if name in wanted}
    members = []
    for name, record in records.items():
        modality = load_modality(name, record, files)
        place = place_of(name, record.tokenizer, tokenizers)
        if modality.tokenizer is None or place != record.tokenizer:
            defer(modality, place, access or Access())
        members.append(modality)
    for member in members:
        member.vocabulary = vocabulary
    streams = [stream for m in members for stream in streams_of(m, records[m.name], str(files))]
    rows = {stream: count for record in records.values() for stream, count in record.position_rows.items()}
    members_set = ModalitySet(members, vocabulary, Layout(streams, rows))
    transformer = empty_transformer(config.model, members_set.layout, dtype_of(dtype))
    with open_weights(files) as file:
        fill_state(transformer, file.rows, file.source)
    about = About(description=config.description, training_data=config.training_data, license=config.license)
    return AnyModel(members_set, transformer, about)


def open_weights(files: Files) -> WeightFile:
    """The weights of a checkpoint, one file or shards; a shard is fetched when it is needed. Raises CheckpointError."""
    if (path := files.find(WEIGHTS)) is not None:
        return WeightFile.single(path)
    if (index := files.find(INDEX)) is not None:
        return WeightFile.sharded(index, files.path)
    raise CheckpointError(f"no such file: {files}/{WEIGHTS} (weights of other kinds, such as pickles, are not read)")


def load_modality(name: str, record: ModalityRecord, files: Files) -> Modality:
    """An instance with the checkpoint's settings, and its tokenizer if the checkpoint holds one."""
    try:
        modality = _instance(name, record)
    except UnknownModality as error:
        hint = f"; install {record.distribution}" if record.distribution else ""
        raise UnknownModality(f"{files} needs the modality {name!r}: {error}{hint}") from None
    modality.tuned = record.sampling
    try:
        modality.tuned_sampling(True), modality.tuned_sampling(False)
    except (TypeError, ConfigError) as error:
        raise CheckpointError(f"{files} has sampling options for {name!r} that do not exist: {error}") from None
    part = f"modalities/{name}/"
    if files.find(f"{part}config.json") is not None:
        modality.tokenizer = load_tokenizer(files, part)
    return modality


def _instance(name: str, record: ModalityRecord) -> Modality:
    if not record.members:
        return registry().modality(name)(**record.settings)
    members = []
    for member in record.members:
        cls = registry().modality(member)
        if not cls.spelled:
            raise CheckpointError(f"{member!r} is not spelled in words, so it cannot share the stream {name!r}")
        members.append(cls(**{key: value for key, value in record.settings.items() if key in cls.settings}))
    return SharedModality(name, members, **record.settings)


def streams_of(modality: Modality, record: ModalityRecord, source: str) -> tuple[Stream, ...]:
    """The streams of a modality that a checkpoint uses, as it uses them.

    Raises CheckpointError if the installed modality does not have one of them, or has it in another space.
    """
    mine = {stream.name: stream for stream in modality.streams()}
    if not record.streams:
        return tuple(mine.values())
    used = []
    for stated in record.streams:
        stream = mine.get(str(stated.get("name")))
        if stream is None or _plain(attrs.asdict(stream.space)) != stated.get("space"):
            raise CheckpointError(
                f"the installed {modality.name!r} does not fit {source}: its streams are"
                f" {_plain([attrs.asdict(s) for s in mine.values()])}, the checkpoint's {record.streams}; install"
                f" {record.distribution or 'the plugin'} {record.version or ''}".rstrip()
            )
        used.append(attrs.evolve(stream, input=bool(stated.get("input")), target=bool(stated.get("target"))))
    return tuple(used)


def save(
    model: AnyModel,
    folder: Path,
    dtype: str | None = None,
    max_shard_size: str | int | None = MAX_SHARD_SIZE,
    name: str | None = None,
) -> Path:
    """Write a checkpoint; config.json comes last, so that a folder with it is complete.

    A tokenizer that was never needed and lies on the Hub is named, not copied. `name` is what the card calls the model.
    """
    kept = dtype_of(dtype) if dtype else None
    records = {}
    for modality in model.modalities:
        origin = registry().origin(type(modality))
        streams = model.modalities.streams(modality.name)
        rows = model.modalities.layout.position_rows
        remote = modality.pending.place if isinstance(modality.pending, Deferred) else None
        if isinstance(modality.pending, Deferred) and modality.pending.is_local:
            remote = None
        part = folder / "modalities" / modality.name
        if remote is None and modality.tokenizer is not None:
            save_tokenizer(modality, part, kept)
        elif part.is_dir():
            shutil.rmtree(part)
        records[modality.name] = ModalityRecord(
            distribution=origin.distribution if origin else None,
            version=origin.version if origin else None,
            settings=_plain(modality.config()),
            streams=_plain([attrs.asdict(s) for s in streams]),
            position_rows={s.name: rows[s.name] for s in streams if s.name in rows},
            sampling=_plain(dict(modality.tuned)),
            tokenizer=remote,
            members=tuple(modality.members),
        )
    if model.modalities.vocabulary is not None:
        model.modalities.vocabulary.save(folder / "vocabulary.json")
    save_weights(parts(model.transformer), folder, kept, max_shard_size)
    config = CheckpointConfig(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        model=model.transformer.config,
        modalities=records,
        **attrs.asdict(model.about),
    )
    write_card(model, name or str(folder), folder)
    write_json(attrs.asdict(config), folder / "config.json")
    return folder


def _plain(value: Any) -> Any:
    """As JSON gives it back: tuples become lists."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
