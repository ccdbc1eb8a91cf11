"""Published checkpoints on disk: a folder with config.json and model.safetensors, or one file with the config inside.

The single-file form keeps each key of the config as text in the safetensors header (4M, arXiv 2312.06647).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save_file
from torch import Tensor

from anymodal.checkpoints.weights import INDEX, WEIGHTS, WeightFile
from anymodal.errors import CheckpointError
from anymodal.files import read_object, replacing, write_json

LONGEST_VALUE = 10_000


def weights_path(path: Path) -> Path:
    """The weight file, or the index of the shards, of a checkpoint given as a folder or as the file itself."""
    if not path.is_dir():
        return path
    return path / INDEX if (path / INDEX).is_file() and not (path / WEIGHTS).is_file() else path / WEIGHTS


def read_config(path: Path) -> tuple[dict[str, Any], str]:
    """The raw config of a checkpoint and where it was found. Raises CheckpointError."""
    if path.is_dir():
        source = path / "config.json"
        return read_object(source), str(source)
    with open_weights(path) as file:
        header = file.metadata()
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


def open_weights(path: Path) -> WeightFile:
    """The tensors of a weight file, or of the shards that an index names. Raises CheckpointError."""
    if path.name.endswith(".index.json"):
        return WeightFile.sharded(path, lambda shard: path.parent / shard)
    return WeightFile.single(path)


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
