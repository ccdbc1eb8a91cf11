"""A model of pictures twice as large that says the same of them as before: grow.py SOURCE DESTINATION.

Pictures of 64 pixels become pictures of 128, patches of 8 become patches of 16, and so the grid of 8 x 8 tokens stays.
What reads a patch reads the mean of each 2 x 2 pixels, what writes one writes each pixel four times: at first nothing
is gained, and nothing that was learned is lost. Decoders get convolutions, which start as nothing (`overlap`). Edges
stay at 64 pixels, each as strong as the strongest of its 2 x 2 pixels.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import attrs
from safetensors.torch import load_file, save_file
from torch import Tensor

import anymodal as am
from anymodal.checkpoints.tokenizer import save_tokenizer
from anymodal.plugins.registry import registry
from anymodal.tokenizers.config import OverlapConfig, TokenizerConfig
from anymodal.tokenizers.tokenizer import VQTokenizer

PICTURES = ("rgb", "depth", "normal", "semseg")
OVERLAP = OverlapConfig(widths=(64, 48, 32))


def finer(rows: Tensor, channels: int, patch: int) -> Tensor:
    """Patches (..., C * P * P), laid out (channel, row, column), with each pixel as 2 x 2 pixels: 4 times as long."""
    cells = rows.reshape(*rows.shape[:-1], channels, patch, patch)
    return cells.repeat_interleave(2, -1).repeat_interleave(2, -2).flatten(-3)


def grown_config(config: TokenizerConfig) -> TokenizerConfig:
    """The config of a tokenizer for pictures twice as large."""
    encoder, decoder = (attrs.evolve(part, patch=2 * part.patch) for part in (config.encoder, config.decoder))
    return attrs.evolve(
        config,
        encoder=encoder,
        decoder=decoder,
        image_size=2 * config.image_size,
        overlap=OVERLAP,
    )


def grown_tokenizer(trained: VQTokenizer) -> VQTokenizer:
    """The tokenizer for pictures twice as large, with ids as those of the pictures' means of 2 x 2 pixels."""
    config, patch = trained.config, trained.stride
    grown = VQTokenizer(grown_config(config))
    outputs = config.labels or config.channels
    state = {name: t for name, t in trained.state_dict().items() if "overlap" not in name}
    state["encoder.proj.weight"] = finer(state["encoder.proj.weight"], config.channels, patch) / 4
    for kind, axis in (("weight", 0), ("bias", -1)):
        name = f"decoder.out_proj.{kind}"
        state[name] = finer(state[name].movedim(axis, -1), outputs, patch).movedim(-1, axis)
    fresh = {name: t for name, t in grown.state_dict().items() if "overlap" in name}
    grown.load_state_dict(state | fresh)
    return grown.eval()


def grown_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a modality of pictures twice as large."""
    return settings | {"size": 2 * settings["size"], "patch": 2 * settings["patch"]}


def grow_record(record: dict[str, Any]) -> None:
    """Change the record of a checkpoint: settings, and the width of pixels."""
    for name in PICTURES:
        entry = record["modalities"][name]
        entry["settings"] = grown_settings(entry["settings"])
        for stream in entry["streams"]:
            if "width" in stream["space"]:
                stream["space"]["width"] *= 4


def grow_weights(weights: dict[str, Tensor]) -> None:
    """Change the weights of a Transformer: those that read pixels, in the order row, column, channel."""
    pixels = "projections.rgb.pixels.weight"
    side = int((weights[pixels].shape[1] / 3) ** 0.5)
    cells = weights[pixels].unflatten(1, (side, side, 3))
    weights[pixels] = cells.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1) / 4


def main() -> None:
    source, destination = map(Path, sys.argv[1:])
    model = am.load(str(source), precision="float32")
    shutil.rmtree(destination, ignore_errors=True)
    model.save_pretrained(destination)
    for name in PICTURES:
        config = json.loads((destination / "modalities" / name / "config.json").read_text())
        modality = registry().modality(name)(**grown_settings(config["settings"]))
        modality.tokenizer = grown_tokenizer(model.modalities[name].tokenizer)
        shutil.rmtree(destination / "modalities" / name)
        save_tokenizer(modality, destination / "modalities" / name)
    record = json.loads((destination / "config.json").read_text())
    grow_record(record)
    (destination / "config.json").write_text(json.dumps(record, indent=2) + "\n")
    weights = load_file(destination / "model.safetensors")
    grow_weights(weights)
    save_file(weights, destination / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
