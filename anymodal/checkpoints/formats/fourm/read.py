"""A published 4M checkpoint as a bundle: its Transformer, installed plugins with 4M's settings, tokenizers later."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from anymodal.checkpoints.atomic import whole_folder
from anymodal.checkpoints.deferred import defer, place_of
from anymodal.checkpoints.formats.base import Options, chosen_modalities
from anymodal.checkpoints.formats.fourm.config import parse_model_config
from anymodal.checkpoints.formats.fourm.domains import BY_STREAM, ORDER, Domain
from anymodal.checkpoints.formats.fourm.model import read_streams
from anymodal.checkpoints.formats.fourm.vocabulary import find_vocabulary
from anymodal.checkpoints.raw_config import RawConfig
from anymodal.checkpoints.record import Bundle
from anymodal.checkpoints.repository import Files, Folder
from anymodal.checkpoints.weights import dtype_of, open_weights
from anymodal.errors import CheckpointError, PluginError, UnknownModality, nearest
from anymodal.families.shared import SharedModality
from anymodal.modality import Modality
from anymodal.plugins.directory import suggestion, usual_package
from anymodal.plugins.registry import registry
from anymodal.spaces import Stream
from anymodal.text import Vocabulary
from anymodal.tokens import Layout, ModalitySet


def load_published_model(files: Files, raw: RawConfig, options: Options) -> Bundle:
    """The model of a folder, single file or repository, on the CPU.

    Modalities whose plugin is missing are left out with one warning, unless `options` asks for them.
    """
    source = str(files)
    config, layout = parse_model_config(raw.values, raw.source)
    groups: dict[str, list[Stream]] = {}
    for stream in sorted(layout.streams, key=lambda s: ORDER.index(s.modality)):
        groups.setdefault(stream.modality, []).append(stream)
    _explain_members(options.modalities, groups, source)
    names = chosen_modalities(options.modalities, groups, source)
    strict = options.complete or options.modalities is not None
    members = {n: build(n, groups[n]) for n in groups if n in names} if strict else _installed(groups, source)
    beside = files if isinstance(files, Folder) else None
    spoken = any(s.is_sequence and not s.is_dense for name in members for s in groups[name])
    vocabulary = Vocabulary.load(find_vocabulary(options.vocabulary, beside, options.access)) if spoken else None
    for name, modality in members.items():
        modality.vocabulary = vocabulary
        _check(modality, groups[name], source)
        inside = whole_folder(beside.root) / "tokenizers" if beside else None
        place = place_of(name, modality.repository, options.tokenizers, inside)
        defer(modality, place, options.access, options.load_tokenizer)
    kept = Layout([s for name in members for s in groups[name]], _rows(layout, members))
    with open_weights(files) as file:
        transformer = read_streams(file, config, layout, kept, file.source, dtype_of(options.dtype))
    return Bundle(ModalitySet(members.values(), vocabulary, kept), transformer)


def build(name: str, streams: Iterable[Stream]) -> Modality:
    """An instance of the installed modality with 4M's settings. Raises UnknownModality if a plugin is missing."""
    domains = [BY_STREAM[stream.name] for stream in streams]
    settings = _settings(domains)
    if members := domains[0].members:
        parts = [_with(registry().modality(member), settings) for member in members]
        spelled = [part for part in parts if part.spelled]
        return SharedModality(name, spelled, **_known(SharedModality, settings))
    return _with(registry().modality(name), settings)


def _settings(domains: Iterable[Domain]) -> dict[str, Any]:
    """The settings of a modality; its larger sizes are those of all its domains."""
    settings: dict[str, Any] = {}
    for domain in domains:
        larger = {*settings.get("larger", ()), *domain.settings.get("larger", ())}
        settings |= domain.settings | ({"larger": tuple(sorted(larger))} if "larger" in domain.settings else {})
    return settings


def _with(cls: type[Modality], settings: Mapping[str, Any]) -> Modality:
    return cls(**_known(cls, settings))


def _known(cls: type[Modality], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in cls.settings}


def _installed(groups: Mapping[str, list[Stream]], source: str) -> dict[str, Modality]:
    """The modalities that can be built; one warning names the others."""
    members: dict[str, Modality] = {}
    missing: dict[str, str] = {}
    for name, streams in groups.items():
        try:
            members[name] = build(name, streams)
        except (UnknownModality, PluginError) as error:
            missing[name] = str(error)
    if not members:
        raise UnknownModality(f"no modality of {source} is installed; {next(iter(missing.values()))}")
    if missing:
        wanted = [member for name in missing for member in BY_STREAM[groups[name][0].name].members or (name,)]
        command = suggestion(*map(usual_package, wanted))
        way_out = f"; {command}" if command else ""
        warnings.warn(
            f"{source} is loaded without {', '.join(missing)}, for which no plugin works here{way_out}", stacklevel=2
        )
    return members


def _explain_members(names: Iterable[str] | None, groups: Mapping[str, list[Stream]], source: str) -> None:
    for stream in (streams[0] for streams in groups.values()):
        for name in names or ():
            if name in BY_STREAM[stream.name].members:
                raise UnknownModality(f"{source} has {name!r} only as a part of {stream.name!r}; ask for that")


def _check(modality: Modality, streams: Iterable[Stream], source: str) -> None:
    mine = {stream.name: stream.space for stream in modality.streams()}
    for stream in streams:
        if mine.get(stream.name) != stream.space:
            hint = nearest(stream.name, mine) if stream.name not in mine else f", it has {mine[stream.name]}"
            raise CheckpointError(
                f"the installed {modality.name!r} does not fit {source}: the stream {stream.name!r} must be"
                f" {stream.space}{hint}; update its plugin"
            )


def _rows(layout: Layout, members: Mapping[str, Modality]) -> dict[str, int]:
    return {name: rows for name, rows in layout.position_rows.items() if layout[name].modality in members}
