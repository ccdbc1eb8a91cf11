"""Published checkpoints on disk: a folder with config.json and model.safetensors, or one file with the config inside.

The single-file form keeps each key of the config as text in the safetensors header (4M, arXiv 2312.06647).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from anymodal.errors import CheckpointError, ValueProblem
from anymodal.files import read_json, replacing, write_json

WEIGHTS = "model.safetensors"
LONGEST_VALUE = 10_000
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def weights_path(path: Path) -> Path:
    """The weight file of a checkpoint given as a folder or as the file itself."""
    return path / WEIGHTS if path.is_dir() else path


def read_config(path: Path) -> tuple[dict[str, Any], str]:
    """The raw config of a checkpoint and where it was found. Raises CheckpointError."""
    if path.is_dir():
        source = path / "config.json"
        try:
            raw = read_json(source)
        except ValueProblem as error:
            raise CheckpointError(str(error)) from None
        if not isinstance(raw, dict):
            raise CheckpointError(f"{source} must hold one object with the keys of a config")
        return raw, str(source)
    with open_weights(path) as file:
        header = file.metadata() or {}
    raw = {key: parse_value(text) for key, text in header.items()}
    if not raw.keys() - {"format"}:
        raise CheckpointError(f"{path} holds weights but no config; give the folder that has its config.json")
    return raw, f"the header of {path}"


def parse_value(text: str) -> Any:
    """A config value from its text in a header: YAML after None -> null; what is not YAML stays text."""
    if len(text) > LONGEST_VALUE:
        return text
    try:
        return yaml.safe_load(text.replace("None", "null"))
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


@contextmanager
def open_weights(path: Path) -> Iterator[Any]:
    """An open safetensors file. Raises CheckpointError for a missing, damaged or pickled one."""
    if not path.is_file():
        raise CheckpointError(f"no such file: {path}")
    with path.open("rb") as raw:
        start = raw.read(9)
    if path.suffix in PICKLES or (start.startswith(PICKLE_STARTS) and start[8:] != b"{"):
        raise CheckpointError(f"{path} is a pickle, which may run code when read; use the .safetensors file instead")
    try:
        file = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from None
    with file as opened:
        yield opened


def write_folder(state: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path) -> Path:
    """Write config.json and model.safetensors; the config comes last, so that a folder with it is complete."""
    with replacing(folder / WEIGHTS) as temporary:
        save_file(dict(state), temporary)
    write_json(dict(config), folder / "config.json")
    return folder


def write_single(state: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Path:
    """Write one file with the config in its header, each value as JSON (which is YAML too)."""
    header = {key: json.dumps(value) for key, value in config.items()}
    with replacing(path) as temporary:
        save_file(dict(state), temporary, header)
    return path
