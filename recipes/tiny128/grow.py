"""A larger model that begins where `tiny` of 64 pixels is: grow.py SOURCE TOKENIZERS DESTINATION.

Pictures of 64 pixels become pictures of 128. Patches keep their 8 pixels, those that are read as those with one token,
so that grids of 8 x 8 become grids of 16 x 16: of rgb, depth, normals and classes, from the tokenizers in TOKENIZERS.
Positions, which are learned, begin where these cells lie in the grid of 8 x 8. Edges stay at 64 pixels. The width and
the blocks stay: a run that starts from the result makes it wider and deeper (`start.grow`).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import anymodal as am
from anymodal.nn.sincos import sincos_2d, sincos_2d_at

FINER = ("rgb", "depth", "normal", "semseg")


def grow_record(record: dict[str, Any]) -> dict[str, int]:
    """Change the record of a checkpoint: settings and spaces.

    Returns the cells along each finer grid, by stream.
    """
    sides = {}
    for name in FINER:
        entry = record["modalities"][name]
        entry["settings"] |= {"size": 2 * entry["settings"]["size"], "learned_positions": True}
        for stream in entry["streams"]:
            rows, columns = (2 * side for side in stream["space"]["shape"])
            stream["space"] |= {"shape": [rows, columns], "length": rows * columns, "learned": True}
            sides[stream["name"]] = rows
    return sides


def finer_positions(sides: dict[str, int], dim: int) -> dict[str, Tensor]:
    """The weights that positions of finer grids begin with; `sides` are cells along them, by stream."""
    begun = {}
    for name, side in sides.items():
        for table in ("input_positions", "target_positions"):
            begun[f"{table}.{name}"] = between_cells(side, dim) - sincos_2d(side, side, dim)
    return {name: tensor for name, tensor in begun.items() if name != "target_positions.rgb.pixels"}


def between_cells(side: int, dim: int) -> Tensor:
    """Codes (side * side, dim) of cells that lie, two by two, in those of a grid of half as many a side."""
    places = (torch.arange(side, dtype=torch.float64) - 0.5) / 2
    return sincos_2d_at(places, places, dim)


def main() -> None:
    source, tokenizers, destination = map(Path, sys.argv[1:])
    model = am.load(str(source), precision="float32")
    shutil.rmtree(destination, ignore_errors=True)
    model.save_pretrained(destination)
    record = json.loads((destination / "config.json").read_text())
    sides = grow_record(record)
    for name in FINER:
        shutil.rmtree(destination / "modalities" / name)
        shutil.copytree(tokenizers / "modalities" / name, destination / "modalities" / name)
    weights = load_file(destination / "model.safetensors")
    weights |= finer_positions(sides, len(weights["query"]))
    (destination / "config.json").write_text(json.dumps(record, indent=2) + "\n")
    save_file(weights, destination / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
