"""A tokenizer whose decoder denoises: this file decides how codes steer it, which noise it starts from, how it learns.

The codes leave open what they do not say, and the decoder draws it: another seed gives another picture of the same
tokens. The same seed gives the same picture, alone or in any batch.

The library diffusers is not used: decoders equal published ones to the last digit, and need no dependency.

Shapes: B batch, C channels, H W pixels, h w grid of tokens, N = h * w, L latent width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anymodal.errors import ConfigError, SpaceError, ValueProblem, counted
from anymodal.tokenizers.config import TokenizerConfig, UNetConfig, UViTConfig
from anymodal.tokenizers.networks.unet import UNet
from anymodal.tokenizers.networks.uvit import UViT
from anymodal.tokenizers.noise import Noise
from anymodal.tokenizers.solvers import Denoising, Draw, Solver
from anymodal.tokenizers.tokenizer import Reconstruction, Tokenizer, VQTokenizer, initialize


class DiffusionTokenizer(Tokenizer):
    """Images to ids of a codebook, and back through a decoder that turns noise into the picture (4M, appendix B)."""

    decoder: UNet | UViT

    def __init__(self, config: TokenizerConfig) -> None:
        if config.noise is None:
            raise ConfigError(f"a {type(config.decoder).__name__} does not denoise; make it with VQTokenizer.")
        super().__init__(config)
        self.noise = Noise(config.noise)
        self.encoder.apply(initialize)
        self.quant_proj.apply(initialize)

    def _make_decoder(self) -> nn.Module:
        config, latent = self.config, self.config.quantizer.latent
        match config.decoder:
            case UNetConfig() as decoder:
                return UNet(decoder, config.channels, latent)
            case UViTConfig() as decoder:
                return UViT(decoder, config.channels, latent)
        raise ConfigError(f"{type(config.decoder).__name__} does not denoise; make it with VQTokenizer.")

    def forward(self, x: Tensor) -> Reconstruction:
        """One prediction at random timesteps, and what it should be (Ho et al. 2020, algorithm 1)."""
        quantized = self._quantize(x)
        noise = torch.randn_like(x)
        timesteps_B = torch.randint(self.noise.config.timesteps, (len(x),), device=x.device)
        noisy = self.noise.mix(x, noise, timesteps_B)
        output = self.decoder(noisy, timesteps_B, as_map(quantized.codes, self._grid_of(x)))
        target = self.noise.target(x, noise, timesteps_B)
        return Reconstruction(output, target, quantized.ids.flatten(1), quantized.loss)

    def decode(
        self,
        ids_BN: Tensor,
        shape: tuple[int, int] | None = None,
        *,
        steps: int | None = None,
        seed: int | Sequence[int] = 0,
        solver: str | None = None,
        spacing: str | None = None,
        eta: float = 0.0,
    ) -> Tensor:
        """The pictures (B, C, H, W), float32, that ids (B, N) stand for; not clipped.

        shape: rows and columns of the grid of tokens; without it the grid is a square.
        steps, solver, spacing, eta: see `Denoising`.
        seed: of the noise, for every sample the same or one each.
        """
        given = {} if steps is None else {"steps": steps}
        options = Denoising(**given, solver=solver, spacing=spacing, eta=eta)
        return self._decode(ids_BN, shape, seed=seed, denoising=options)

    def decode_mean(
        self, shares_BNK: Tensor, shape: tuple[int, int] | None = None, *, steps: int | None = None
    ) -> Tensor:
        """As the base says, in so many `steps`."""
        return self._decode_mean(shares_BNK, shape, denoising=Denoising() if steps is None else Denoising(steps=steps))

    def denoise(self, codes_BLhw: Tensor, noise_BCHW: Tensor, denoising: Denoising, draw: Draw) -> Tensor:
        """From noise to pictures (B, C, H, W), float32; `draw` gives the fresh noise that some solvers add."""
        solver = Solver(self.noise, denoising)
        dtype = self.quant_proj.weight.dtype
        x = noise_BCHW.float()
        for index, timestep in enumerate(solver.timesteps):
            timesteps_B = torch.full((len(x),), timestep, device=x.device)
            output = self.decoder(x.to(dtype), timesteps_B, codes_BLhw.to(dtype))
            x = solver.step(index, x, output.float(), draw)
        return x

    def _reconstruct(
        self,
        codes_BNL: Tensor,
        grid: tuple[int, int],
        *,
        seed: int | Sequence[int] = 0,
        denoising: Denoising | None = None,
        **options: Any,
    ) -> Tensor:
        shape = (self.config.channels, grid[0] * self.stride, grid[1] * self.stride)
        self._check_size(shape[1:])
        draw = drawing(len(codes_BNL), shape, seed, codes_BNL.device)
        with torch.autocast(codes_BNL.device.type, enabled=False):
            return self.denoise(as_map(codes_BNL, grid), draw(), denoising or Denoising(), draw)

    def _check(self, x: Tensor) -> None:
        super()._check(x)
        self._check_size(x.shape[-2:])

    def _check_size(self, size: Sequence[int]) -> None:
        multiple = self.config.decoder.multiple  # type: ignore[union-attr]
        if size[0] % multiple or size[1] % multiple:
            raise SpaceError(
                f"this decoder makes pictures whose sides are multiples of {multiple}, not {size[0]} x {size[1]};"
                f" choose a grid of tokens that is a multiple of {max(1, multiple // self.stride)} each way."
            )


def as_map(codes_BNL: Tensor, grid: tuple[int, int]) -> Tensor:
    """Codes (B, N, L) as a map (B, L, h, w)."""
    return codes_BNL.mT.unflatten(2, grid)


def drawing(count: int, shape: tuple[int, ...], seed: int | Sequence[int], device: torch.device) -> Draw:
    """Fresh normal noise (count, *shape) at every call; each sample has its own stream of numbers, drawn on the CPU."""
    seeds = [seed] * count if isinstance(seed, int) else list(seed)
    if len(seeds) != count:
        raise ValueProblem(
            f"{counted(len(seeds), 'seed')} do not fit {counted(count, 'sample')}; give one seed for all, or one each."
        )
    generators = [torch.Generator("cpu").manual_seed(int(s)) for s in seeds]
    return lambda: torch.stack([torch.randn(shape, generator=g, device="cpu") for g in generators]).to(device)


def build(config: TokenizerConfig) -> VQTokenizer | DiffusionTokenizer:
    """The tokenizer that a config describes, with fresh weights."""
    return VQTokenizer(config) if config.noise is None else DiffusionTokenizer(config)


def tokenizer_on_meta(config: TokenizerConfig) -> VQTokenizer | DiffusionTokenizer:
    """The tokenizer that a config describes; its weights are shapes, on the meta device."""
    with torch.device("meta"):
        return build(config)
