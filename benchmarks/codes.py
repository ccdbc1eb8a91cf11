"""Tokenizers of pictures: a ViT-B encoder and decoder, and decoding by denoising."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import attrs
import torch

from anymodal.tokenizers.config import NoiseConfig, TokenizerConfig, UNetConfig, ViTConfig
from anymodal.tokenizers.diffusion import DiffusionTokenizer
from anymodal.tokenizers.quantizers.config import CosineConfig
from anymodal.tokenizers.tokenizer import VQTokenizer
from benchmarks.harness import parts
from benchmarks.harness.base import BENCHMARKS, Case, Part, Timed, Work
from benchmarks.harness.models import multiplied_in

VIT = ViTConfig(dim=768, depth=12, heads=12, patch=16)
CODES = TokenizerConfig("vit", 3, VIT, VIT, CosineConfig(size=8192, latent=32), image_size=224)
UNET = UNetConfig(patch=4, channels=256, multipliers=(1, 2, 2, 2), blocks=3, attention=(4, 8))
CELLS = 196


@BENCHMARKS.register("codes")
@attrs.frozen
class Codes(Timed):
    """A ViT-B tokenizer at 224 pixels: encode, decode, and the published diffusion decoder."""

    target: ClassVar[str] = "2 times the original; 5 times by fewer steps at equal PSNR"

    def cases(self, quick: bool) -> list[Case]:
        if quick:
            return [{"work": "encode", "batch": 1}]
        feed = [{"work": work, "batch": batch} for work in ("encode", "decode") for batch in (1, 16)]
        return feed + [{"work": "denoise", "steps": steps, "batch": 1} for steps in (5, 25)]

    def prepare(self, case: Case) -> Work:
        torch.manual_seed(0)
        batch = case["batch"]
        if case["work"] == "denoise":
            denoiser = DiffusionTokenizer(attrs.evolve(CODES, decoder=UNET, noise=NoiseConfig())).eval()
            ids = torch.zeros(batch, CELLS, dtype=torch.long)
            return Work(partial(denoiser.decode, ids, steps=case["steps"], seed=list(range(batch))), unit="picture")
        tokenizer = VQTokenizer(CODES).eval()
        tokenizer.precision = "auto"
        x = torch.randn(batch, 3, 224, 224)
        ids = tokenizer.encode(x)
        run = partial(tokenizer.encode, x) if case["work"] == "encode" else partial(tokenizer.decode, ids)
        return Work(torch.inference_mode()(run), partial(floor, batch), items=batch, unit="picture")


def floor(batch: int) -> list[Part]:
    """The blocks and the projection of patches, which both sides have; the codebook is left out."""
    rows, d = batch * CELLS, VIT.dim
    sizes = ((d, 3 * d, VIT.depth), (d, d, VIT.depth), (d, 4 * d, VIT.depth), (4 * d, d, VIT.depth), (d, d, 1))
    attention = parts.Attention(batch, VIT.heads, CELLS, CELLS, d // VIT.heads, VIT.depth)
    return [parts.part("blocks", 1, [*(parts.Product(rows, *size) for size in sizes), attention], multiplied_in(d))]
