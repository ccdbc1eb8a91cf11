"""Reading a checkpoint of our own: only the files and tensors of the modalities asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs

from anymodal.checkpoints.deferred import defer, place_of
from anymodal.checkpoints.formats.base import Options, chosen_modalities
from anymodal.checkpoints.formats.native.layout import FORMAT_VERSION, VOCABULARY, tokenizer_folder
from anymodal.checkpoints.formats.native.tokenizer import read_native_tokenizer
from anymodal.checkpoints.formats.native.version_1 import upgraded
from anymodal.checkpoints.raw_config import RawConfig
from anymodal.checkpoints.record import About, Bundle, CheckpointConfig, ModalityRecord
from anymodal.checkpoints.repository import CONFIG, Files, SingleFile
from anymodal.checkpoints.state import allocated, check_explained, check_state, fill_state, outline
from anymodal.checkpoints.weights import dtype_of, open_weights
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, SpaceError, UnknownModality, brief, listed
from anymodal.families.in_place import remade
from anymodal.families.shared import SharedModality
from anymodal.modality import CALIBRATED, NAME, Modality
from anymodal.plugins.directory import exists
from anymodal.plugins.registry import registry
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.text import Vocabulary
from anymodal.tokens import Layout, ModalitySet


def parse_checkpoint_config(raw: RawConfig) -> CheckpointConfig:
    """The config of one of our checkpoints. Raises CheckpointError."""
    values, version = raw.values, raw.values.get("format_version")
    if version == 1:
        values = upgraded(values)
    elif version != FORMAT_VERSION:
        raise CheckpointError(
            f"{raw.source} has format version {version}, this one reads {FORMAT_VERSION}; update anymodal"
        )
    try:
        return structure(values, CheckpointConfig, raw.source)
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def load(files: Files, raw: RawConfig, options: Options) -> Bundle:
    """The model of one of our checkpoints, on the CPU; see `anymodal.load`."""
    if isinstance(files, SingleFile):
        raise CheckpointError(f"{files} is a single file; a checkpoint of our own is a folder")
    config = parse_checkpoint_config(raw)
    modalities = modalities_of(config, files, options)
    dtype = dtype_of(options.dtype)
    with open_weights(files) as file:
        transformer = outline(config.model, modalities.layout, raw.source, len(file))
        check_explained(transformer, file.keys(), file.source)
        check_state(transformer, file.rows, file.source)  # what a config says takes no memory before it is found true
        transformer = allocated(transformer, dtype)
        fill_state(transformer, file.rows, file.source)
    about = About(description=config.description, training_data=config.training_data, license=config.license)
    return Bundle(modalities, transformer, about, chain=config.chain)


def modalities_of(config: CheckpointConfig, files: Files, options: Options) -> ModalitySet:
    """The modalities that are asked for, as a config has them. Raises as `load` does."""
    wanted = chosen_modalities(options.modalities, config.modalities, str(files))
    path = files.find(VOCABULARY)
    vocabulary = Vocabulary.load(path) if path else None
    records = {name: record for name, record in config.modalities.items() if name in wanted}
    members = _members(records, files, options)
    for member in members:
        member.vocabulary = vocabulary
    streams = [stream for m in members for stream in streams_of(m, records[m.name], str(files))]
    rows = {stream: count for record in records.values() for stream, count in record.position_rows.items()}
    return ModalitySet(members, vocabulary, Layout(streams, rows))


def _members(records: Mapping[str, ModalityRecord], files: Files, options: Options) -> list[Modality]:
    """The modalities of records. Raises UnknownModality, which names all that are missing, and what loads without."""
    members: list[Modality] = []
    missing: dict[str, UnknownModality] = {}
    for name, record in records.items():
        try:
            members.append(_member(name, record, files, options))
        except UnknownModality as error:
            missing[name] = error
    if not missing:
        return members
    first, *others = missing
    text = f"{missing[first]}"
    if others:
        packages = dict.fromkeys(str(records[name].distribution) for name in others if records[name].distribution)
        text += f"; {listed(others)} {'is' if len(others) == 1 else 'are'} missing too" + (
            f", of {listed(packages)}" if packages else ""
        )
    if members:
        text += f"; modalities={[member.name for member in members]} loads it without"
    raise UnknownModality(text)


def _member(name: str, record: ModalityRecord, files: Files, options: Options) -> Modality:
    """A modality with its tokenizer: one that is given, that of the checkpoint, or one that is loaded when needed."""
    modality = load_modality(name, record, files)
    held = modality.tokenizer is not None
    place = place_of(name, record.tokenizer, options.tokenizers, held=held)
    if not held or place != record.tokenizer:
        defer(modality, place, options.access, options.load_tokenizer)
    return modality


def load_modality(name: str, record: ModalityRecord, files: Files) -> Modality:
    """An instance with the checkpoint's settings, and its tokenizer if the checkpoint holds one."""
    try:
        modality = instance_of(name, record, str(files))
    except UnknownModality as error:
        raise UnknownModality(f"{files} needs the modality {name!r}, {provider(record)}: {error}") from None
    modality.tuned = record.sampling
    try:
        modality.tuned_sampling(True), modality.tuned_sampling(False)
    except (TypeError, ConfigError) as error:
        raise CheckpointError(f"{files} has sampling options for {name!r} that do not exist: {error}") from None
    modality.calibration = _calibration(name, record, files)
    part = f"{tokenizer_folder(name)}/"
    if files.find(f"{part}{CONFIG}") is not None:
        modality.tokenizer = read_native_tokenizer(files, part)
    return modality


def _calibration(name: str, record: ModalityRecord, files: Files) -> dict[str, float]:
    """The temperatures of a record. Raises CheckpointError for one that cannot be."""
    low, high = CALIBRATED
    for what, value in record.calibration.items():
        if what not in ("ids", "classes") or not low <= value <= high:
            raise CheckpointError(
                f"{files} has the calibration {brief(what)}: {value} for {name!r}; there are temperatures {low:g} to"
                f" {high:g} of 'ids' and 'classes': run anymodal calibrate again"
            )
    return dict(record.calibration)


def instance_of(name: str, record: ModalityRecord, source: str) -> Modality:
    """The modality of a name with the settings of a record, from a `source`. Raises AnymodalError."""
    if not NAME.fullmatch(name):
        raise CheckpointError(f"{name!r:.80} cannot be the name of a modality; such are small letters, digits and _")
    if not record.members:
        return _with(_class(name, record, source), name, record.settings)
    members = []
    if len(set(record.members)) < len(record.members):
        raise CheckpointError(f"the members of {name!r} are given twice: {brief(record.members)}")
    for member in record.members:
        cls = _class(member, record, source)
        if not cls.spelled:
            raise CheckpointError(f"{member!r} is not spelled in words, so it cannot share the stream {name!r}")
        members.append(cls(**{key: value for key, value in record.settings.items() if key in cls.settings}))
    return _with(partial(SharedModality, name, members), name, record.settings)


def _with(make: Callable[..., Modality], name: str, settings: Mapping[str, Any]) -> Modality:
    """An instance with settings from a file, whose names may be anything."""
    if taken := {"self", "name", "members"} & settings.keys():
        raise CheckpointError(f"modality {name!r} has no setting {taken.pop()!r}")
    return make(**settings)


def _class(name: str, record: ModalityRecord, source: str) -> type[Modality]:
    """The installed class of a name, or the one made in place by which the checkpoint means something else."""
    if name not in record.made:
        return registry().modality(name)
    try:
        return remade(record.made[name], name, f"{source}: modalities.{name}.made")
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def provider(record: ModalityRecord) -> str:
    """Where a modality came from as a checkpoint says, and whether that package is one to trust by its name."""
    if record.distribution is None:
        return "a class of its author's own: run the code that defines it, and am.registry().add(it)"
    known = "" if exists(record.distribution) else ", which is not in our directory: look at it before you install it"
    return f"the package {brief(record.distribution)} {record.version or ''}".rstrip() + known


def streams_of(modality: Modality, record: ModalityRecord, source: str) -> tuple[Stream, ...]:
    """The streams of a modality that a checkpoint uses, as it uses them.

    Raises CheckpointError if the installed modality does not have one of them, or has it in another space.
    """
    try:
        mine = {stream.name: stream for stream in modality.streams()}
    except SpaceError as error:
        raise CheckpointError(f"{source} has settings of {modality.name!r} that make no stream: {error}") from None
    if not record.streams:
        return tuple(mine.values())
    used = []
    for stated in record.streams:
        stream = mine.get(str(stated.get("name")))
        if stream is None or not _is_space(stream.space, stated.get("space")):
            raise CheckpointError(
                f"the installed {modality.name!r} does not fit {source}: its streams are"
                f" {plain([attrs.asdict(s) for s in mine.values()])}, the checkpoint's {record.streams}; it was"
                f" saved with {provider(record)}"
            )
        used.append(attrs.evolve(stream, input=bool(stated.get("input")), target=bool(stated.get("target"))))
    return tuple(used)


def _is_space(space: TokenSpace | DenseSpace, stated: Any) -> bool:
    """Whether a checkpoint states this space; what it says nothing of has its default, as before it could be stated."""
    mine = plain(attrs.asdict(space))
    defaults = {each.name: each.default for each in attrs.fields(type(space)) if each.default is not attrs.NOTHING}
    return isinstance(stated, dict) and mine == {**plain(defaults), **stated}


def plain(value: Any) -> Any:
    """As JSON gives it back: tuples become lists."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value
