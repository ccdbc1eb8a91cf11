"""Published checkpoints on disk: a folder with config.json and model.safetensors, or one file with the config inside.

The single-file form keeps each key of the config as text in the safetensors header (4M, arXiv 2312.06647).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from anymodal.checkpoints.atomic import replacing_file
from anymodal.checkpoints.repository import CONFIG, WEIGHTS
from anymodal.checkpoints.weights import tensor_errors, writing_tensors
from anymodal.files import write_json


def is_single_file(target: Path) -> bool:
    """Whether a checkpoint is to be written as one file: where its name ends in .safetensors."""
    return target.suffix == ".safetensors"


def write_published(state: Mapping[str, Tensor], config: Mapping[str, Any], target: Path) -> Path:
    """Write weights and their config into the folder `target`, or as the single file of that name."""
    if is_single_file(target):
        header = {key: json.dumps(value) for key, value in config.items()}  # JSON is YAML too
        with replacing_file(target) as temporary, tensor_errors(target):
            save_file(dict(state), temporary, header)
        return target
    with writing_tensors(target / WEIGHTS) as temporary:
        save_file(dict(state), temporary)
    write_json(dict(config), target / CONFIG)
    return target
