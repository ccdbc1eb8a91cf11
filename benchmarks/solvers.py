"""How many steps a diffusion decoder needs: DDIM, DDPM and DPM-Solver++ on a small decoder trained on scenes.

`python -m benchmarks solvers` renders scenes, trains a small rgb tokenizer and, on its frozen codes, a denoiser; then
it decodes held-out pictures and tells, for every solver and number of steps, how close the result is to DDIM with 250
steps from the same noise, and to the picture itself. `--set solvers.steps=400` and `--set solvers.scenes=200` set the
size of the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import torch
from anymodal_scenes import render
from torch import Tensor

from anymodal.tokenizers.config import NoiseConfig, TokenizerConfig, UNetConfig, ViTConfig
from anymodal.tokenizers.diffusion import DiffusionTokenizer
from anymodal.tokenizers.quantizers.config import CosineConfig
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.settings import TrainingSettings
from anymodal.training.tokenizers.run import fit_tokenizer
from benchmarks.harness.base import BENCHMARKS, Figures

VIT = ViTConfig(dim=96, depth=2, heads=4, patch=8, post_mlp=False)
CODES = TokenizerConfig("vit", 3, VIT, VIT, CosineConfig(size=512, latent=16), image_size=32)
UNET = UNetConfig(patch=2, channels=32, multipliers=(1, 2), blocks=1, attention=(2,))
RUNS = {"ddim": (5, 10, 25, 50), "dpm++": (5, 10, 25, 50), "ddpm": (25, 250)}
HELD_OUT = 1_000_000


def pictures(count: int, seed: int, side: int = 32) -> Tensor:
    """Rendered scenes (count, 3, side, side) in [-1, 1]."""
    arrays = [np.asarray(render(seed, index, side).rgb) for index in range(count)]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(tokenizer: VQTokenizer | DiffusionTokenizer, x: Tensor, steps: int) -> None:
    """Train in place, on random batches of the pictures."""

    def batches(start: int) -> Iterator[Tensor]:
        for step in range(start, steps):
            yield x[torch.from_numpy(np.random.default_rng(step).integers(len(x), size=32))]

    settings = TrainingSettings(
        steps=steps, batch_size=32, lr=1e-3, schedule={"warmup_steps": steps // 10}, precision="float32"
    )
    fit_tokenizer(tokenizer, batches, "mse", settings)


def decibel(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of pictures in [-1, 1]."""
    return float(-10 * torch.log10(((a.clamp(-1, 1) - b) ** 2).mean() / 4))


@BENCHMARKS.register("solvers")
@attrs.frozen
class Solvers(Figures):
    """How close DDIM, DDPM and DPM-Solver++ come in some steps, on a small decoder trained for it."""

    scenes: int = 1000
    steps: int = 2000
    schedule: str = "linear"

    def run(self, quick: bool) -> dict[str, Any]:
        torch.manual_seed(0)
        scenes, steps = (100, 50) if quick else (self.scenes, self.steps)
        x, truth = pictures(scenes, 0), pictures(32, HELD_OUT)
        codes = VQTokenizer(CODES)
        train(codes, x, steps)
        noise = NoiseConfig(schedule=self.schedule, prediction="v_prediction")
        denoiser = DiffusionTokenizer(attrs.evolve(CODES, decoder=UNET, noise=noise))
        denoiser.adopt(codes)
        train(denoiser, x, steps)
        return {"feed-forward": {"picture_db": decibel(codes.eval().decode(denoiser.encode(truth)), truth)}} | dict(
            solved(denoiser.eval(), truth)
        )


def solved(denoiser: DiffusionTokenizer, truth: Tensor) -> Iterator[tuple[str, dict[str, float]]]:
    """Each solver and number of steps: decibels to DDIM with 250 steps and to the picture, seconds a picture."""
    ids = denoiser.encode(truth)
    seeds = list(range(len(ids)))
    limit = denoiser.decode(ids, steps=250, seed=seeds).clamp(-1, 1)
    for solver, steps in [(solver, steps) for solver, counts in RUNS.items() for steps in counts]:
        begun = time.perf_counter()
        output = denoiser.decode(ids, steps=steps, solver=solver, seed=seeds).clamp(-1, 1)
        spent = (time.perf_counter() - begun) / len(ids)
        yield (
            f"{solver} {steps}",
            {"ddim_250_db": decibel(output, limit), "picture_db": decibel(output, truth), "seconds": spent},
        )
