"""A larger model that begins where `tiny` of 64 pixels is: grow.py SOURCE TOKENIZERS DESTINATION.

Pictures of 64 pixels become pictures of 128. The patches of rgb become twice as large, so its grid of 8 x 8 tokens
stays: what reads a patch reads the mean of each 2 x 2 pixels, what writes one writes each pixel four times. Depth,
normals and classes keep their patches of 8 pixels and get 16 x 16 tokens, from the tokenizers in TOKENIZERS; positions
that are learned begin where these cells lie in the grid of 8 x 8. Edges stay at 64 pixels, each as strong as the
strongest of its 2 x 2 pixels. Blocks that are added to the encoder pass on what they get until they have learned.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import anymodal as am
from anymodal.checkpoints.tokenizer import save_tokenizer
from anymodal.nn.sincos import sincos_2d, sincos_2d_at
from anymodal.plugins.registry import registry
from anymodal.tokenizers.config import OverlapConfig, TokenizerConfig
from anymodal.tokenizers.tokenizer import VQTokenizer

FINER = ("depth", "normal", "semseg")
OVERLAP = OverlapConfig(widths=(64, 48, 32))
ADDED = 4  # blocks of the encoder
LAST = (".attn.proj.weight", ".mlp.fc2.weight")  # without which a block adds nothing


def larger_pixels(rows: Tensor, channels: int, patch: int) -> Tensor:
    """Patches (..., C * P * P), laid out (channel, row, column), with each pixel as 2 x 2 pixels: 4 times as long."""
    cells = rows.reshape(*rows.shape[:-1], channels, patch, patch)
    return cells.repeat_interleave(2, -1).repeat_interleave(2, -2).flatten(-3)


def larger_config(config: TokenizerConfig) -> TokenizerConfig:
    """The config of a tokenizer for pictures twice as large."""
    encoder, decoder = (attrs.evolve(part, patch=2 * part.patch) for part in (config.encoder, config.decoder))
    return attrs.evolve(config, encoder=encoder, decoder=decoder, image_size=2 * config.image_size, overlap=OVERLAP)


def larger_tokenizer(trained: VQTokenizer) -> VQTokenizer:
    """The tokenizer for pictures twice as large, with ids as those of the pictures' means of 2 x 2 pixels."""
    config, patch = trained.config, trained.stride
    larger = VQTokenizer(larger_config(config))
    state = {name: t for name, t in trained.state_dict().items() if "overlap" not in name}
    state["encoder.proj.weight"] = larger_pixels(state["encoder.proj.weight"], config.channels, patch) / 4
    for kind, axis in (("weight", 0), ("bias", -1)):
        name = f"decoder.out_proj.{kind}"
        state[name] = larger_pixels(state[name].movedim(axis, -1), config.channels, patch).movedim(-1, axis)
    fresh = {name: t for name, t in larger.state_dict().items() if "overlap" in name}
    larger.load_state_dict(state | fresh)
    return larger.eval()


def grow_record(record: dict[str, Any]) -> None:
    """Change the record of a checkpoint: settings, spaces, and the depth of the encoder."""
    record["model"]["encoder_depth"] += ADDED
    rgb = record["modalities"]["rgb"]
    rgb["settings"] |= {"size": 2 * rgb["settings"]["size"], "patch": 2 * rgb["settings"]["patch"]}
    for stream in rgb["streams"]:
        if "width" in stream["space"]:
            stream["space"]["width"] *= 4
    for name in FINER:
        entry = record["modalities"][name]
        entry["settings"] |= {"size": 2 * entry["settings"]["size"], "learned_positions": True}
        for stream in entry["streams"]:
            rows, columns = (2 * side for side in stream["space"]["shape"])
            stream["space"] |= {"shape": [rows, columns], "length": rows * columns, "learned": True}


def grow_weights(weights: dict[str, Tensor], sides: dict[str, int]) -> dict[str, Tensor]:
    """The weights of the grown Transformer; `sides` are cells along the finer grids."""
    grown = {name: tensor for name, tensor in weights.items() if not name.startswith("encoder.")}
    pixels = "projections.rgb.pixels.weight"
    side = int((weights[pixels].shape[1] / 3) ** 0.5)
    cells = weights[pixels].unflatten(1, (side, side, 3))
    grown[pixels] = cells.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1) / 4
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("encoder."))
    sources = sorted([*range(depth), *range(ADDED)])
    for number, source in enumerate(sources):
        added = number and sources[number - 1] == source
        for name, tensor in weights.items():
            start, rest = f"encoder.{source}", name.removeprefix(f"encoder.{source}")
            if name.startswith(f"{start}."):
                grown[f"encoder.{number}{rest}"] = (
                    torch.zeros_like(tensor) if added and rest in LAST else tensor.clone()
                )
    dim = len(weights["query"])
    for name, side in sides.items():
        for table in ("input_positions", "target_positions"):
            grown[f"{table}.{name}"] = between_cells(side, dim) - sincos_2d(side, side, dim)
    return grown


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
    grow_record(record)
    rgb = registry().modality("rgb")(**record["modalities"]["rgb"]["settings"])
    rgb.tokenizer = larger_tokenizer(model.modalities["rgb"].tokenizer)
    shutil.rmtree(destination / "modalities" / "rgb")
    save_tokenizer(rgb, destination / "modalities" / "rgb")
    for name in FINER:
        shutil.rmtree(destination / "modalities" / name)
        shutil.copytree(tokenizers / "modalities" / name, destination / "modalities" / name)
    sides = {name: record["modalities"][name]["streams"][0]["space"]["shape"][0] for name in FINER}
    weights = grow_weights(load_file(destination / "model.safetensors"), sides)
    (destination / "config.json").write_text(json.dumps(record, indent=2) + "\n")
    save_file(weights, destination / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
