"""What training a tokenizer would take, counted from its configuration alone.

A fake forward pass, which computes nothing, counts operations and what is kept for the backward pass. Fake tensors are
torch's own (docs.pytorch.org, "Fake tensor"); the meta device knows neither autocast nor fused attention, and so would
count several times what is kept.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from anymodal.checkpoints.tokenizer import tokenizer_record
from anymodal.config import structure
from anymodal.errors import ConfigError, counted
from anymodal.modality import Modality
from anymodal.plugins.registry import registry
from anymodal.tokenizers.config import TokenizerConfig, ViTConfig
from anymodal.tokenizers.diffusion import build, tokenizer_on_meta
from anymodal.tokenizers.quantizers.config import CosineConfig, ProductConfig
from anymodal.training.multimodal.estimate import BFLOAT16, FLOAT32, Memory, short, shown_memory
from anymodal.training.tokenizers.config import TokenizerRun
from anymodal.training.tokenizers.recipe import described


@attrs.frozen
class TokenizerParameters:
    """Numbers of parameters and of entries of the codebook, which learns without gradients."""

    encoder: int
    decoder: int
    codebook: int
    trained: int
    total: int


@attrs.frozen
class TokenizerPlan:
    """A run in numbers; `tokens` are those of a value, `size` is the side of the largest picture, in pixels."""

    modality: str
    tokens: int
    ids: int
    size: int | None
    parameters: TokenizerParameters
    world: int
    memory: Memory
    flops_per_step: int
    samples_per_step: int
    steps: int
    samples: int
    peak_lr: float
    start: str | None


def plan_tokenizer(config: TokenizerRun, world: int = 1) -> TokenizerPlan:
    """The plan of a run.

    Args:
        config: of the run.
        world: GPUs that it has.

    Raises:
        ConfigError: the configuration cannot be trained, or not by so many processes.
    """
    settings = config.training
    if settings is None:
        raise ConfigError("a dry run needs training; a vocabulary is learned without")
    settings.check(world)
    modality = registry().modality(config.modality)(**config.settings)
    made = _described(config, modality)
    size = max(config.sizes or modality.sizes[:1]) if modality.sizes else None
    tokenizer = tokenizer_on_meta(made)
    encoder, decoder, total = (_count(module) for module in (tokenizer.encoder, tokenizer.decoder, tokenizer))
    codebook = sum(buffer.numel() for buffer in tokenizer.quantize.buffers())
    if config.codes is not None:
        for name in tokenizer.code_parts:
            getattr(tokenizer, name).requires_grad_(False)
    grid: tuple[int, int] | None = getattr(modality, "grid", None)
    pass_ = _forward(made, size, settings.precision != "float32", grid)  # plans are for GPUs, fast in bfloat16
    counts = [p.numel() for p in tokenizer.parameters() if p.requires_grad]
    trained = sum(counts)
    return TokenizerPlan(
        modality=config.modality,
        tokens=pass_.tokens,
        ids=made.quantizer.size,
        size=size,
        parameters=TokenizerParameters(encoder, decoder, codebook, trained, total),
        world=world,
        memory=Memory(
            weights=FLOAT32 * (total + codebook),
            gradients=FLOAT32 * (max(counts) if settings.optimizer.in_backward else trained),
            optimizer=settings.optimizer.state_bytes(tokenizer),
            average=FLOAT32 * (total + codebook) if settings.ema else 0,
            gathered=0,
            activations=-(-settings.batch_size // (world * settings.accumulate)) * pass_.kept,
        ),
        flops_per_step=3 * settings.batch_size * pass_.flops,
        samples_per_step=settings.batch_size,
        steps=settings.steps,
        samples=settings.steps * settings.batch_size,
        peak_lr=settings.lr,
        start=str(config.start or config.codes) if config.start or config.codes else None,
    )


def _described(config: TokenizerRun, modality: Modality) -> TokenizerConfig:
    """What the tokenizer is made of: as the configuration says, or as the one says that it starts from."""
    folder = config.start or config.codes
    if config.encoder is not None or folder is None:
        return described(config, modality)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not there yet; give encoder and decoder too, as they will be, for a dry run")
    path: Path = folder / "config.json"
    made = structure(tokenizer_record(path).get("tokenizer"), TokenizerConfig, str(path))
    denoiser = config.unet or config.uvit
    if denoiser is not None:
        return attrs.evolve(made, decoder=denoiser, noise=config.noise, refine=False, overlap=None)
    return attrs.evolve(made, overlap=config.overlap or made.overlap)


@attrs.frozen
class _Pass:
    """What one value costs: operations forward, and bytes kept for the backward pass."""

    tokens: int
    flops: int
    kept: int


def _forward(made: TokenizerConfig, size: int | None, bfloat16: bool, grid: tuple[int, int] | None = None) -> _Pass:
    """A forward pass of a value of the largest size, or on a grid; label maps as what the encoder reads of them."""
    logits, quantizer = 0, made.quantizer
    # A codebook stands in for kinds that ask for values when they are made, or are not ours.
    kind = CosineConfig if quantizer.codebooks == 1 else ProductConfig
    latent = -(-quantizer.latent // quantizer.codebooks) * quantizer.codebooks
    made = attrs.evolve(made, quantizer=kind(size=quantizer.size, latent=latent, codebooks=quantizer.codebooks))
    if made.labels is not None:
        logits = 3 * FLOAT32 * made.labels * (size or made.image_size) ** 2  # as such, their softmax and gradient
        made = attrs.evolve(made, labels=None)
    storages: dict[int, torch.UntypedStorage] = {}  # they must live, or others take their places

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with FakeTensorMode():
        tokenizer = build(made).eval()
        with (
            FlopCounterMode(display=False) as counter,
            saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        ):
            tokens = tokenizer(_example(made, size, grid)).ids[0].numel()
        weights = {parameter.untyped_storage()._cdata for parameter in tokenizer.parameters()}
        copied = BFLOAT16 * sum(p.numel() for p in tokenizer.parameters() if p.ndim > 1) if bfloat16 else 0
    kept = sum(storage.nbytes() for key, storage in storages.items() if key not in weights)
    return _Pass(tokens, counter.get_total_flops(), max(0, kept - copied) + logits)


def _example(made: TokenizerConfig, size: int | None, grid: tuple[int, int] | None) -> Tensor:
    if made.kind == "mlp":
        return torch.empty(1, made.channels)
    if grid is not None and isinstance(made.encoder, ViTConfig):
        return torch.empty(1, made.channels, *(side * made.encoder.stride for side in grid))
    side = size or made.image_size
    if isinstance(made.encoder, ViTConfig) and not made.encoder.patch_projection:
        side //= made.encoder.patch
    return torch.empty(1, made.channels, side, side)


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def shown_tokenizer(plan: TokenizerPlan) -> list[str]:
    """The plan as lines for people."""
    p = plan.parameters
    frozen = f"; {short(p.trained)} are trained" if p.trained != p.total else ""
    side = f" at up to {plan.size} pixels" if plan.size else ""
    return [
        f"{plan.modality}: {counted(plan.tokens, 'token')} of {plan.ids} ids a value{side}",
        f"parameters   {short(p.total)}: encoder {short(p.encoder)}, decoder {short(p.decoder)};"
        f" codebook {short(p.codebook)}{frozen}",
        f"memory       {shown_memory(plan.memory, plan.world, 'ddp')}",
        f"a step       {short(plan.flops_per_step)} FLOP, {plan.samples_per_step:,} samples",
        f"the run      {plan.steps:,} steps, {short(plan.samples)} samples, "
        f"{short(plan.flops_per_step * plan.steps)} FLOP",
        f"peak lr      {plan.peak_lr:g}",
        *([f"starts from  {plan.start}"] if plan.start else []),
    ]
