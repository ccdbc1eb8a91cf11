"""Recipes of training runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from datasets_made import FEW
from small_runs import MODEL, STEPS

from anymodal.config import load_config, plain_config
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.tokenizers.config import TokenizerRun
from fuzz.subjects.base import Subject

RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def recipes() -> Iterator[Subject]:
    """The recipes of `tiny`, and a small one with all that may be said."""
    for path in sorted((RECIPES / "tiny").glob("*.yaml")):
        kind = TrainConfig if path.stem in ("model", "pictures") else TokenizerRun
        text = path.read_bytes()
        if b"base:" not in text:
            yield Subject("recipes", path.stem, {"a.yaml": text}, ("a.yaml",), partial(_config, kind), 0.5)
    whole = {
        "modalities": {n: {} for n in FEW},
        "tokenizers": "t",
        "data": "d",
        "model": MODEL,
        "training": STEPS,
        "masking": {
            "input_tokens": 8,
            "target_tokens": 8,
            "components": [{"inputs": {"rgb": 1}, "targets": {"rgb": 1}}],
        },
    }
    yield Subject(
        "recipes", "small", {"a.yaml": yaml.safe_dump(whole).encode()}, ("a.yaml",), partial(_config, TrainConfig), 2
    )


def _config(kind: type, folder: Path) -> Any:
    return plain_config(load_config(folder / "a.yaml", kind))
