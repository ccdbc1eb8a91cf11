"""Small datasets and tokenizers on disk, for the tests that make datasets by command."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from small_runs import model_config

import anymodal as am
from anymodal.checkpoints.tokenizer import save_tokenizer
from anymodal.plugins.registry import registry

SIZE = 32
FEW = ("rgb", "depth", "caption", "color_palette", "metadata_image")


def write_pictures(
    root: Path, count: int, *, seed: int = 0, modalities: tuple[str, ...] = ("rgb", "depth", "caption")
) -> Path:
    """An aligned folder of smooth pictures of several shapes, with depth and captions."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        height, width = [(40, 56), (48, 48), (64, 40)][number % 3]
        smooth = np.kron(rng.random((4, 4, 3)), np.ones((16, 16, 1)))[:height, :width]
        values = {
            "rgb": (smooth * 255).astype(np.uint8),
            "depth": smooth[..., 0].astype(np.float32),
            "caption": f"a {['red', 'blue', 'green'][number % 3]} cup on a table",
        }
        for name in modalities:
            modality = registry().modality(name)()
            modality.write(values[name], root / name / f"{number:04d}{modality.suffixes[0]}")
    return root


def write_config(folder: Path, seven: am.ModalitySet, names: tuple[str, ...] = FEW) -> Path:
    """The tokenizers of a set, and a configuration for some of its modalities."""
    for modality in seven:
        if modality.tokenizer is not None:
            save_tokenizer(modality, folder / "tokenizers/modalities" / modality.name)
    seven.vocabulary.save(folder / "tokenizers/vocabulary.json")
    modalities = {name: {} if seven_has_tokenizer(seven, name) else {"length": 24} for name in names}
    components = [{"inputs": {"rgb": 1}, "targets": {"rgb": 1}}]
    return model_config(folder / f"{'-'.join(names)}.yaml", modalities, components)


def seven_has_tokenizer(seven: am.ModalitySet, name: str) -> bool:
    return name in seven and seven[name].tokenizer is not None


def contents(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a finished dataset."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def problems(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]


def made_of(folder: Path) -> dict[str, Any]:
    """The files of a dataset, without what its manifest says of the files that it was made from."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return {**contents(folder), "manifest.json": {k: v for k, v in manifest.items() if k != "inputs"}}
