"""A tokenizer: encoder, codebook, decoder. This file decides what goes in, what comes out, and in which order.

Its decoder is feed-forward here; `diffusion.py` has the one that denoises.

Shapes: B batch, C channels, H W pixels, h w grid of tokens, N ids per sample, D width, L latent width.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import attrs
import torch
from torch import Tensor, nn

from anymodal.errors import ConfigError, SpaceError, ValueProblem
from anymodal.nn.init import embedding
from anymodal.nn.precision import Precision, products
from anymodal.tokenizers.config import MLPConfig, TokenizerConfig, ViTConfig
from anymodal.tokenizers.networks.mlp import BottleneckMLP
from anymodal.tokenizers.networks.vit import ViTDecoder, ViTEncoder
from anymodal.tokenizers.quantizers.base import Quantized


class Reconstruction(NamedTuple):
    """output and target, what it should be, of one shape (labels: logits and labels); ids int64 (B, N); code_loss."""

    output: Tensor
    target: Tensor
    ids: Tensor
    code_loss: Tensor


class GivenCodes(NamedTuple):
    """Codes (B, N, L) that take the place of a sample's own in training, and which samples (B,) have such."""

    codes: Tensor
    samples: Tensor


class Tokenizer(nn.Module, ABC):
    """What all tokenizers share: inputs to ids of a codebook, and ids to codes. Decoders of codes are its subclasses.

    Inputs: (B, C, H, W) floats, sides multiples of the patch; for label maps (B, H, W) integers; for kind "mlp" (B, C).
    Ids: int64 (B, N), row-major over the grid; for kind "mlp" one per codebook.
    Outputs: (B, C, H, W); for label maps logits (B, labels, H, W); for kind "mlp" (B, C).
    `precision` is that of products in `encode` and `decode`, "auto" for what the device does fast; a decoder that
    denoises keeps the type of its weights.
    """

    precision: Precision = "float32"

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        latent = config.quantizer.latent
        self.label_embedding = embedding(config.labels, config.channels) if config.labels else None
        if isinstance(config.encoder, ViTConfig):
            size = config.encoder_size or config.image_size
            self.encoder: ViTEncoder | BottleneckMLP = ViTEncoder(config.encoder, config.channels, size)
            encoded, self.stride = config.encoder.dim, config.encoder.stride
        else:
            self.encoder = BottleneckMLP(config.encoder, config.channels, config.encoder.width)
            encoded, self.stride = config.encoder.width, 1
        self.decoder = self._make_decoder()
        self.quant_proj = nn.Linear(encoded, latent)
        self.quantize = config.quantizer.build()
        self.keeps_codes = False

    @abstractmethod
    def _make_decoder(self) -> nn.Module: ...

    @abstractmethod
    def _reconstruct(self, codes_BNL: Tensor, grid: tuple[int, int], **options: Any) -> Tensor:
        """The outputs that codes (B, N, L) on a grid of (rows, columns) stand for."""

    @abstractmethod
    def forward(self, x: Tensor) -> Reconstruction:
        """What a training step compares; gradients pass the codebook straight through."""

    def encode(self, x: Tensor) -> Tensor:
        """The ids (B, N) of inputs. The codebook does not learn, nothing is drawn at random, no gradient is kept."""
        with self._frozen():
            return self._quantize(x).ids.flatten(1)

    def decode(
        self,
        ids_BN: Tensor,
        shape: tuple[int, int] | None = None,
        *,
        steps: int | None = None,
        seed: int | Sequence[int] = 0,
    ) -> Tensor:
        """The outputs, float32, that ids (B, N) stand for.

        shape: rows and columns of the grid of tokens; without it the grid is a square. Vectors have no grid.
        steps, seed: of a decoder that denoises; a feed-forward one has no steps and draws nothing.
        """
        return self._decode(ids_BN, shape)

    def _decode(self, ids_BN: Tensor, shape: tuple[int, int] | None, **options: Any) -> Tensor:
        grid = self._grid_for(ids_BN, shape)
        with self._frozen():
            ids_BN = ids_BN.to(self.quant_proj.weight.device)
            if outside := _range_outside(ids_BN, self.config.quantizer.size):
                raise SpaceError(
                    f"ids run from {outside}, but the codebook holds 0 to {self.config.quantizer.size - 1};"
                    " pass ids of this tokenizer."
                )
            codebooks = self.quantize.codebooks
            codes = self.quantize.lookup(ids_BN.unflatten(1, (-1, codebooks)) if codebooks > 1 else ids_BN)
            return self._reconstruct(codes, grid, **options).float()

    def decode_mean(
        self, shares_BNK: Tensor, shape: tuple[int, int] | None = None, *, steps: int | None = None
    ) -> Tensor:
        """The outputs, float32, of the mean codes under probabilities (B, N, K) of the ids; else as `decode`."""
        return self._decode_mean(shares_BNK, shape)

    def _decode_mean(self, shares_BNK: Tensor, shape: tuple[int, int] | None, **options: Any) -> Tensor:
        size = self.config.quantizer.size
        if shares_BNK.ndim != 3 or shares_BNK.shape[-1] != size:
            raise SpaceError(f"probabilities of shape {tuple(shares_BNK.shape)} are not (batch, tokens, {size} ids)")
        grid = self._grid_for(shares_BNK[..., 0], shape)
        with self._frozen():
            with torch.autocast(self.quant_proj.weight.device.type, enabled=False):  # a sum over all ids is not rounded
                codes = self.quantize.mean(shares_BNK.to(self.quant_proj.weight.device))
            return self._reconstruct(codes, grid, **options).float()

    def latents(self, x: Tensor) -> Tensor:
        """What the codebook is searched for: (B, h * w, L), or (B, 1, L) for vectors."""
        self._check(x)
        weight = self.quant_proj.weight
        if self.label_embedding is not None:
            x = self.label_embedding(x.to(weight.device, torch.int64)).movedim(-1, 1)
        x = x.to(weight.device, weight.dtype)
        return self.quant_proj(self.encoder(x if self._has_grid else x[:, None]))

    def fingerprint(self) -> str:
        """The sha256 of all that ids depend on: the encoder and the codebook, not the decoder."""
        config = attrs.asdict(self.config)
        settings = {name: config[name] for name in ("kind", "channels", "labels", "encoder")}
        settings["quantizer"] = self.config.quantizer.identity()
        size = self.config.encoder_size or self.config.image_size
        content = hashlib.sha256(json.dumps({**settings, "size": size}, sort_keys=True).encode())
        for part in filter(None, (self.label_embedding, self.encoder, self.quant_proj, self.quantize)):
            for name, tensor in sorted(part.state_dict().items()):
                content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                content.update(tensor.detach().cpu().contiguous().flatten().view(dtype=torch.uint8).numpy())
        return content.hexdigest()

    def adopt(self, other: Tokenizer) -> None:
        """Take over the encoder and the codebook of a trained tokenizer and keep them as they are in training."""
        mine, theirs = self.config, other.config
        for name in ("channels", "encoder", "quantizer", "labels"):
            if getattr(mine, name) != getattr(theirs, name):
                raise ConfigError(
                    f"the encoder to take over has {name} {getattr(theirs, name)!r}, this tokenizer"
                    f" {getattr(mine, name)!r}; give both the same numbers."
                )
        size, other_size = (config.encoder_size or config.image_size for config in (mine, theirs))
        if self._has_grid and size != other_size:
            raise ConfigError(
                f"the encoder to take over lays out positions for {other_size} pixels a side, this tokenizer for"
                f" {size}, which gives other ids; give both the same image_size."
            )
        for name in self.code_parts:
            part = getattr(self, name)
            part.load_state_dict(getattr(other, name).state_dict())
            part.requires_grad_(False)
        self.keeps_codes = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.keeps_codes:
            for name in self.code_parts:
                getattr(self, name).eval()
        return self

    @property
    def code_parts(self) -> list[str]:
        """The parts that ids depend on."""
        embedded = ["label_embedding"] if self.label_embedding is not None else []
        return [*embedded, "encoder", "quant_proj", "quantize"]

    def _quantize(self, x: Tensor) -> Quantized:
        return self.quantize(self.latents(x))

    @property
    def _has_grid(self) -> bool:
        return self.config.kind == "vit"

    def _grid_of(self, x: Tensor) -> tuple[int, int]:
        if not self._has_grid:
            return (1, 1)
        return x.shape[-2] // self.stride, x.shape[-1] // self.stride

    def _grid_for(self, ids_BN: Tensor, shape: tuple[int, int] | None) -> tuple[int, int]:
        codebooks = self.quantize.codebooks
        count, rest = divmod(ids_BN.shape[1], codebooks) if ids_BN.ndim == 2 else (0, 1)
        side = math.isqrt(count)
        h, w = shape or ((side, side) if self._has_grid else (1, 1))
        if rest or h * w != count or count == 0:
            raise SpaceError(
                f"ids of shape {tuple(ids_BN.shape)} do not fill a grid of {h} x {w} tokens;"
                " pass shape=(rows, columns) of tokens, and ids as (batch, rows * columns * codebooks)."
            )
        return h, w

    def _check(self, x: Tensor) -> None:
        config = self.config
        if not self._has_grid:
            expected, fits = f"(batch, {config.channels})", x.ndim == 2 and x.shape[1] == config.channels
        elif self.label_embedding is not None:
            expected, fits = "(batch, height, width)", x.ndim == 3 and not x.is_floating_point()
        else:
            expected = f"(batch, {config.channels}, height, width)"
            fits = x.ndim == 4 and x.shape[1] == config.channels
        if not fits:
            kind = "integer labels" if config.labels else "values"
            raise ValueProblem(
                f"this tokenizer reads {kind} of shape {expected}, not {x.dtype} of shape {tuple(x.shape)}."
            )
        checkable = not torch.compiler.is_compiling()  # an exported graph has no branches on values
        if config.labels and checkable and (outside := _range_outside(x, config.labels)):
            raise ValueProblem(f"labels run from {outside}, but this tokenizer knows 0 to {config.labels - 1}.")
        if self._has_grid and (x.shape[-2] % self.stride or x.shape[-1] % self.stride):
            raise ValueProblem(
                f"an input of {x.shape[-2]} x {x.shape[-1]} does not split into patches of"
                f" {self.stride} x {self.stride}; resize or crop it to a multiple."
            )

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Evaluation mode without gradients. Not inference mode: ids may be looked up in a later training step."""
        training = self.training
        if training:
            self.eval()
        width = max(getattr(part, "dim", 0) for part in (self.config.encoder, self.config.decoder))
        try:
            with torch.no_grad(), products(self.precision, self.quant_proj.weight, width):
                yield
        finally:
            if training:
                self.train()


class VQTokenizer(Tokenizer):
    """A tokenizer with a feed-forward decoder: images, label maps, feature maps or vectors, both ways."""

    decoder: ViTDecoder | BottleneckMLP

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        decoder = config.decoder
        width = decoder.dim if isinstance(decoder, ViTConfig) else decoder.width  # type: ignore[union-attr]
        self.post_quant_proj = nn.Linear(config.quantizer.latent, width)
        self.code_noise = 0.0
        self.apply(initialize)

    def _make_decoder(self) -> nn.Module:
        config = self.config
        outputs = config.labels or config.channels
        match config.decoder:
            case ViTConfig() as decoder:
                return ViTDecoder(decoder, outputs, config.image_size, config.refine, config.overlap)
            case MLPConfig() as decoder:
                return BottleneckMLP(decoder, decoder.width, outputs)
        raise ConfigError(f"{type(config.decoder).__name__} is a denoiser; make it with anymodal.tokenizers.build.")

    def forward(self, x: Tensor, given: GivenCodes | None = None) -> Reconstruction:
        """Encode, quantize and decode; gradients pass the codebook straight through."""
        quantized = self._quantize(x)
        codes_BNL = blurred(quantized.codes, self.code_noise) if self.training else quantized.codes
        if given is not None:
            codes_BNL = torch.where(given.samples[:, None, None], given.codes, codes_BNL)
        output = self._reconstruct(codes_BNL, self._grid_of(x))
        return Reconstruction(output, x, quantized.ids.flatten(1), quantized.loss)

    def _reconstruct(self, codes_BNL: Tensor, grid: tuple[int, int], **options: Any) -> Tensor:
        features_BND = self.post_quant_proj(codes_BNL.to(self.post_quant_proj.weight.dtype))
        return self.decoder(features_BND, grid) if self._has_grid else self.decoder(features_BND)[:, 0]


def blurred(codes_BNL: Tensor, share: float) -> Tensor:
    """Codes with normal noise; its size is drawn for each sample, up to `share` of that of the codes."""
    if not share:
        return codes_BNL
    size = codes_BNL.detach().square().mean().sqrt()
    most_B11 = torch.rand(len(codes_BNL), 1, 1, device=codes_BNL.device) * share * size
    return codes_BNL + most_B11 * torch.randn_like(codes_BNL)


def _range_outside(ids: Tensor, size: int) -> str:
    """The range of integers that are not all in 0 .. size - 1, in words; empty if they are."""
    if not ids.numel():
        return ""
    low, high = (int(bound) for bound in ids.aminmax())
    return "" if 0 <= low <= high < size else f"{low} to {high}"


def initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
