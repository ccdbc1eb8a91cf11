"""Checkpoints: find, load and save.

A checkpoint is a folder: `config.json` (readable, strict), `model.safetensors`, `vocabulary.json`, and
`modalities/NAME/{config.json, model.safetensors}` with a tokenizer each. It never brings code: modalities come from
installed plugins, and only the tensors of the modalities asked for are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from anymodal.anymodel import AnyModel
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, UnknownModality, ValueProblem, nearest
from anymodal.files import read_json, replacing, write_json
from anymodal.modality import Modality
from anymodal.model import ModelConfig, Transformer
from anymodal.model.state import fill_state, split_state
from anymodal.plugins import registry
from anymodal.text import Vocabulary
from anymodal.tokenizers.config import TokenizerConfig
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.tokens import ModalitySet

FORMAT, FORMAT_VERSION = "anymodal", 1
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@attrs.frozen(kw_only=True)
class ModalityRecord:
    """What a checkpoint says of one modality: who provided it, its numbers, and the streams it must have.

    `sampling` holds the sampling options that suit the model, 'grounded' (with a photographic input) and 'free'.
    """

    distribution: str | None = None
    version: str | None = None
    numbers: dict[str, Any] = attrs.field(factory=dict)
    streams: list[dict[str, Any]] = attrs.field(factory=list)
    sampling: dict[str, dict[str, Any]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class CheckpointConfig:
    """The content of config.json."""

    format: str
    format_version: int
    model: ModelConfig
    modalities: dict[str, ModalityRecord]
    description: str = ""


def load(
    name: str | Path,
    *,
    modalities: Iterable[str] | None = None,
    dtype: str = "float32",
    device: str | torch.device | None = None,
) -> AnyModel:
    """Load a model: a preset such as "tiny", or a folder.

    `modalities` restricts it to some; only their tensors are read. `device` defaults to the first GPU if there is one.
    Raises CheckpointError, or UnknownModality if a plugin is missing.
    """
    folder = locate(name)
    config = read_config(folder)
    wanted = list(config.modalities) if modalities is None else list(modalities)
    for modality in wanted:
        if modality not in config.modalities:
            known = ", ".join(config.modalities)
            raise UnknownModality(
                f"{folder} has no modality {modality!r}{nearest(modality, config.modalities)} (it has: {known})"
            )
    vocabulary = Vocabulary.load(path) if (path := folder / "vocabulary.json").exists() else None
    members = [load_modality(m, config.modalities[m], folder) for m in config.modalities if m in wanted]
    members_set = ModalitySet(members, vocabulary)
    for member in members_set:
        _check_streams(member, config.modalities[member.name], folder)
    model = AnyModel(members_set, _load_transformer(config.model, members_set, folder / "model.safetensors"))
    model.transformer.to(_dtype(dtype))
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def locate(name: str | Path) -> Path:
    """The folder of a preset or path. Raises CheckpointError that says what was tried."""
    folder = Path(name)
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise CheckpointError(f"{folder} is a folder without config.json, so it is no checkpoint")
    try:
        return Path(registry().preset(str(name)))
    except UnknownModality:
        presets = registry().presets()
        hint = f"{nearest(str(name), presets)}; presets: {', '.join(presets) or 'none'}"
        raise CheckpointError(f"{str(name)!r} is neither a preset nor a folder{hint}") from None


def read_config(folder: Path) -> CheckpointConfig:
    path = folder / "config.json"
    try:
        raw = read_json(path)
    except ValueProblem as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise CheckpointError(f"{path} does not describe an anymodal checkpoint (its 'format' is not {FORMAT!r})")
    if raw.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {raw.get('format_version')}, this one reads {FORMAT_VERSION}; update anymodal"
        )
    try:
        return structure(raw, CheckpointConfig, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def load_modality(name: str, record: ModalityRecord, folder: Path) -> Modality:
    """An instance with the checkpoint's numbers, and its tokenizer if there is one."""
    try:
        modality = registry().modality(name)(**record.numbers)
    except UnknownModality as error:
        hint = f"; install {record.distribution}" if record.distribution else ""
        raise UnknownModality(f"{folder} needs the modality {name!r}: {error}{hint}") from None
    modality.tuned = record.sampling
    try:
        modality.tuned_sampling(True), modality.tuned_sampling(False)
    except (TypeError, ConfigError) as error:
        raise CheckpointError(f"{folder} has sampling options for {name!r} that do not exist: {error}") from None
    part = folder / "modalities" / name
    if part.exists():
        modality.tokenizer = load_tokenizer(part)
    return modality


def load_tokenizer(part: Path) -> VQTokenizer:
    """The tokenizer in a folder `modalities/NAME`, in float32 and evaluation mode."""
    try:
        raw = read_json(part / "config.json")
    except ValueProblem as error:
        raise CheckpointError(str(error)) from None
    config = structure(
        raw.get("tokenizer") if isinstance(raw, dict) else raw, TokenizerConfig, str(part / "config.json")
    )
    with torch.device("meta"):
        tokenizer = VQTokenizer(config)
    with _open(part / "model.safetensors") as file:
        names, state = set(file.keys()), {}
        for name, expected in tokenizer.state_dict().items():
            if name not in names:
                raise CheckpointError(f"{part} has no tensor {name!r}; it is incomplete or of another tokenizer")
            state[name] = _of_shape(file.get_tensor(name), expected.shape, name, part).to(expected.dtype)
    tokenizer.load_state_dict(state, assign=True)
    return tokenizer.eval().requires_grad_(False)


def _of_shape(tensor: torch.Tensor, shape: torch.Size, name: str, part: Path) -> torch.Tensor:
    if tensor.shape != shape:
        raise CheckpointError(
            f"tensor {name!r} in {part} has shape {tuple(tensor.shape)}, its config says {tuple(shape)}"
        )
    return tensor


def _load_transformer(config: ModelConfig, modalities: ModalitySet, path: Path) -> Transformer:
    model = Transformer(config, modalities.layout)
    with _open(path) as file:
        names = set(file.keys())
        fill_state(model, lambda name: file.get_tensor(name) if name in names else None, str(path))
    return model.requires_grad_(False)


def _open(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"no such file: {path}")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from None


def _check_streams(modality: Modality, record: ModalityRecord, folder: Path) -> None:
    mine = [attrs.asdict(s) for s in modality.streams()]
    if record.streams and record.streams != _plain(mine):
        raise CheckpointError(
            f"the installed {modality.name!r} does not fit {folder}: its streams are {_plain(mine)}, the checkpoint's"
            f" {record.streams}; install {record.distribution or 'the plugin'} {record.version or ''}".rstrip()
        )


def _plain(value: Any) -> Any:
    """As JSON gives it back: tuples become lists."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def save(model: AnyModel, folder: Path, dtype: str | None = None) -> Path:
    """Write a checkpoint; config.json comes last, so that a folder with it is complete."""
    kept = _dtype(dtype) if dtype else None
    records = {}
    for modality in model.modalities:
        streams = _plain([attrs.asdict(s) for s in modality.streams()])
        origin = registry().origin(type(modality))
        records[modality.name] = ModalityRecord(
            distribution=origin.distribution if origin else None,
            version=origin.version if origin else None,
            numbers=_plain(modality.settings()),
            streams=streams,
            sampling=_plain(dict(modality.tuned)),
        )
        if modality.tokenizer is not None:
            save_tokenizer(modality, folder / "modalities" / modality.name, kept)
    if model.modalities.vocabulary is not None:
        model.modalities.vocabulary.save(folder / "vocabulary.json")
    with replacing(folder / "model.safetensors") as temporary:
        save_file(split_state(model.transformer, kept), temporary, {"format": "pt"})
    config = CheckpointConfig(
        format=FORMAT, format_version=FORMAT_VERSION, model=model.transformer.config, modalities=records
    )
    write_json(attrs.asdict(config), folder / "config.json")
    return folder


def save_tokenizer(modality: Modality, part: Path, dtype: torch.dtype | None = None) -> None:
    """Write a modality's tokenizer and its numbers."""
    state = {
        k: v.to(dtype if dtype and v.is_floating_point() else v.dtype).contiguous()
        for k, v in modality.tokenizer.state_dict().items()
    }
    with replacing(part / "model.safetensors") as temporary:
        save_file(state, temporary, {"format": "pt"})
    config = {
        "modality": modality.name,
        "numbers": _plain(modality.settings()),
        "tokenizer": attrs.asdict(modality.tokenizer.config),
    }
    write_json(config, part / "config.json")


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, got {name!r}")
    return DTYPES[name]
