"""The loss of a small model on scenes with the moments of AdamW in float32 and in bfloat16, on the same batches.

`python -m benchmarks moments`
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from anymodal_scenes import BASIC, render

import anymodal as am
from anymodal.model import ModelConfig, Transformer
from anymodal.tokens import Packed, Packer, collate
from anymodal.training.optim import AdamWConfig
from benchmarks.harness.base import BENCHMARKS, Figures

GIVEN, MADE = "rgb", ("depth", "semseg", "caption")


@BENCHMARKS.register("moments")
@attrs.frozen
class Moments(Figures):
    """Losses of both kinds of moments: in training (the mean of each fifth) and on scenes that were not trained on."""

    scenes: int = 160
    held_out: int = 32
    steps: int = 400
    samples: int = 8
    dim: int = 128
    lr: float = 1e-3
    seeds: int = 3

    def run(self, quick: bool) -> dict[str, Any]:
        modalities = am.load("tiny", modalities=[GIVEN, *MADE]).modalities
        count = self.scenes + self.held_out
        scenes = [render(0, index, 64, BASIC) for index in range(count)]
        samples = [
            self._packed(modalities, {name: getattr(scene, name) for name in (GIVEN, *MADE)}) for scene in scenes
        ]
        kinds = ("float32", "bfloat16")
        found = {
            k: [self._losses(modalities, samples, k, seed, 40 if quick else self.steps) for seed in range(self.seeds)]
            for k in kinds
        }
        figures: dict[str, Any] = {
            kind: {
                "training": np.mean([run[0] for run in runs], 0).round(4).tolist(),
                "later": round(float(np.mean([run[1] for run in runs])), 4),
            }
            for kind, runs in found.items()
        }
        gaps = [b[1] - a[1] for a, b in zip(found["float32"], found["bfloat16"], strict=True)]
        spread = [run[1] for run in found["float32"]]
        return figures | {
            "later, difference of each seed": np.round(gaps, 4).tolist(),
            "later, deviation over seeds": round(float(np.std(spread, ddof=1)), 4) if len(spread) > 1 else 0,
        }

    @staticmethod
    def _packed(modalities: am.ModalitySet, values: dict[str, Any]) -> Packed:
        tokens = modalities.tokenize(modalities.accept(values))
        packer = Packer(modalities.layout)
        packer.add_input(GIVEN, tokens[GIVEN], np.arange(len(tokens[GIVEN])))
        for name in MADE:
            if modalities.layout[name].is_sequence:
                packer.add_sequence_target(
                    name, np.concatenate([[modalities.layout[name].space.sentinel(1)], tokens[name]])
                )
            else:
                packer.add_grid_target(name, tokens[name], np.arange(len(tokens[name])))
        return packer.pack()

    def _losses(self, modalities: am.ModalitySet, samples: list[Packed], moments: str, seed: int, steps: int) -> Any:
        torch.manual_seed(seed)
        size = ModelConfig(dim=self.dim, encoder_depth=2, decoder_depth=2, heads=4)
        model, rng = Transformer(size, modalities.layout), np.random.default_rng(seed)
        (optimizer,) = AdamWConfig(moments=moments).build(model, self.lr)
        seen = []
        for _ in range(steps):
            chosen = rng.integers(self.scenes, size=self.samples)
            loss = torch.stack(list(model(collate([samples[k] for k in chosen], modalities.layout)).values())).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seen.append(loss.item())
        with torch.no_grad():
            later = model.eval()(collate(samples[self.scenes :], modalities.layout))
        return [float(np.mean(part)) for part in np.array_split(seen, 5)], float(
            np.mean([v.item() for v in later.values()])
        )
