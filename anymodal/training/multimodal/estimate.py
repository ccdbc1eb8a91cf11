"""What a run would take, counted from its configuration alone: nothing is trained or allocated, no data are read.

Memory is that of one GPU, in bytes: float32 weights, gradients, optimizer state and averages as the trainer keeps them,
and an estimate of the activations. The CUDA context and fragmentation come on top, about a tenth in practice.

Shapes: N input tokens, M target tokens, D width, H hidden width of the MLP, V ids of a target stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from anymodal.checkpoints.formats.fourm.config import write_model_config
from anymodal.checkpoints.formats.fourm.model import transformer_keys
from anymodal.checkpoints.state import transformer_on_meta
from anymodal.errors import CheckpointError
from anymodal.masking.config import MaskingConfig, spelled_out
from anymodal.model import ModelConfig, Transformer
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.tokens import Layout
from anymodal.training.multimodal.config import TrainConfig, build_set, check_stream_weights
from anymodal.training.multimodal.warm_start import completed, set_trainable

FLOAT32, BFLOAT16 = 4, 2  # bytes
UNITS = {"Z": 1e21, "E": 1e18, "P": 1e15, "T": 1e12, "B": 1e9, "M": 1e6, "k": 1e3}
BLOCKS = ("encoder", "decoder")
TRUNK = (*BLOCKS, "encoder_norm", "context_proj", "decoder_norm")


@attrs.frozen
class StreamPlan:
    """A stream: how many tokens it has at most, and how many ids, or numbers a row."""

    name: str
    modality: str
    tokens: int
    ids: int | None
    width: int | None
    input: bool
    target: bool


@attrs.frozen
class Parameters:
    """Numbers of parameters: tables (all that belongs to streams), the transformer, those that are trained.

    `published` is the size in 4M's own format, which also holds tables that nothing reads; None for other sets.
    """

    tables: int
    transformer: int
    total: int
    trained: int
    published: int | None


@attrs.frozen
class Memory:
    """Bytes of one GPU; `gathered` is what FSDP has whole for a while: the tables, and blocks in turn."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    gathered: int
    activations: int

    @property
    def total(self) -> int:
        return sum(attrs.astuple(self))


@attrs.frozen
class Plan:
    """A run in numbers; tokens are counted at the full budgets, as 4M does."""

    modalities: tuple[str, ...]
    streams: tuple[StreamPlan, ...]
    model: ModelConfig
    parameters: Parameters
    world: int
    strategy: str
    memory: Memory
    flops_per_step: int
    samples_per_step: int
    tokens_per_step: int
    steps: int
    samples: int
    tokens: int
    peak_lr: float
    start: str | None


@attrs.frozen
class Load:
    """What a sample asks of the model on average: tokens, squares of input tokens, and the work of its two ends.

    `ids` are the mean ids of a target's stream, `numbers` the mean numbers of an input's dense row. `most` are the
    tokens of the largest sample.
    """

    inputs: float
    squared: float
    most: int
    targets: int
    ids: float
    numbers: float


def plan(config: TrainConfig, world: int = 1) -> Plan:
    """The plan of a run.

    Args:
        config: of the run; tokenizers need not be there.
        world: GPUs that it has.

    Raises:
        ConfigError: the configuration cannot be trained, or not by so many processes.
    """
    config = completed(config)
    modalities = build_set(config.modalities, config.tokenizers, config.sampling)
    layout, settings = modalities.layout, config.training
    check_stream_weights(config, layout)
    settings.check(world)
    model = transformer_on_meta(config.shape, layout)
    counts = attrs.evolve(parameters(model), trained=0)
    if config.start is not None:
        set_trainable(model, config.start)
    counts = attrs.evolve(counts, trained=_count(p for p in model.parameters() if p.requires_grad))
    load = sample_load(config.masking, layout)
    tokens = settings.batch_size * (load.most + load.targets)
    return Plan(
        modalities=tuple(modalities.modalities),
        streams=tuple(_stream(stream) for stream in layout.streams),
        model=config.shape,
        parameters=counts,
        world=world,
        strategy=config.parallel.strategy,
        memory=memory(config, model, load, world),
        flops_per_step=round(settings.batch_size * training_flops(config, load)),
        samples_per_step=settings.batch_size,
        tokens_per_step=tokens,
        steps=settings.steps,
        samples=settings.steps * settings.batch_size,
        tokens=settings.steps * tokens,
        peak_lr=settings.lr,
        start=config.start.model if config.start else None,
    )


def parameters(model: Transformer) -> Parameters:
    """How many parameters a model has, and where."""
    total = _count(model.parameters())
    trunk = _count(p for name, p in model.named_parameters() if name.partition(".")[0] in TRUNK)
    return Parameters(total - trunk, trunk, total, total, _published(model))


def _published(model: Transformer) -> int | None:
    try:
        write_model_config(model.config, model.layout)
    except CheckpointError:
        return None
    return sum(torch.Size(key.shape).numel() for key in transformer_keys(model) if key.fixed is None)


def sample_load(masking: MaskingConfig, layout: Layout) -> Load:
    """The mean of the mixture's components, each stream with its expected share of a budget."""
    masking = spelled_out(masking, layout)
    ranges = [c.input_tokens or (masking.input_tokens, masking.input_tokens) for c in masking.components]
    weights = [c.weight / sum(c.weight for c in masking.components) for c in masking.components]
    inputs = squared = ids = numbers = 0.0
    for weight, (least, most), component in zip(weights, ranges, masking.components, strict=True):
        mean, count = (least + most) / 2, most - least + 1
        inputs += weight * mean
        squared += weight * (mean**2 + (count**2 - 1) / 12)
        ids += weight * _mean({n: a for n, a in component.targets.items() if layout[n].target}, layout)
        numbers += weight * _mean(component.inputs, layout, dense=True)
    return Load(inputs, squared, max(most for _, most in ranges), masking.target_tokens, ids, numbers)


def _mean(alphas: Mapping[str, float], layout: Layout, dense: bool = False) -> float:
    """Mean size of the streams, of dense ones their width and of others 0, or the other way round."""
    whole = sum(alphas.values())
    sizes = {name: _size(layout[name].space, dense) for name in alphas}
    return sum(alpha * sizes[name] for name, alpha in alphas.items()) / whole if whole else 0.0


def _size(space: TokenSpace | DenseSpace, dense: bool) -> int:
    if isinstance(space, DenseSpace):
        return space.width if dense else 0
    return 0 if dense else space.size


def training_flops(config: TrainConfig, load: Load) -> float:
    """Floating-point operations of one sample in training: twice the multiplications of matrices.

    Backward costs twice the forward; recomputed blocks cost one forward more. Encoder block: 2 N (4 D² + k D H) +
    4 N² D with k = 3 for a gated MLP, else 2. Decoder block: 2 M (6 D² + k D H) + 4 N D² + 4 M² D + 4 M N D. Ends:
    2 N D² for the projection between them, 2 N D numbers a row for dense rows, and 2 M D V for the output.
    """
    model, n, m = config.shape, load.inputs + config.shape.registers, load.targets
    d, mlp = model.dim, (3 if model.gated else 2) * model.dim * model.hidden
    squared = load.squared + 2 * load.inputs * model.registers + model.registers**2
    encoder = 2 * n * (4 * d**2 + mlp) + 4 * squared * d
    decoder = 2 * m * (6 * d**2 + mlp) + 4 * n * d**2 + 4 * m**2 * d + 4 * m * n * d
    ends = 2 * n * d**2 + 2 * load.inputs * d * load.numbers + 2 * m * d * load.ids
    blocks = model.encoder_depth * encoder + model.decoder_depth * decoder
    return 3 * ends + (4 if config.parallel.checkpoint_activations else 3) * blocks


def memory(config: TrainConfig, model: Transformer, load: Load, world: int) -> Memory:
    """Bytes of one of `world` GPUs.

    Weights and, of what is trained, gradients and averages are float32; the optimizer says what it keeps. FSDP splits
    all of them, and gathers what lies outside of the blocks (the tables) for the whole step, weights and gradients, and
    of blocks two at a time and the gradients of one.
    """
    settings, split = config.training, world if config.parallel.strategy == "fsdp" else 1
    trained = [p for p in model.parameters() if p.requires_grad]
    count, whole = _count(trained), _count(model.parameters())
    held = max((p.numel() for p in trained), default=0) if settings.optimizer.in_backward else count
    blocks = [block for name in BLOCKS for block in model.get_submodule(name).children()]
    inside = sum(_count(block.parameters()) for block in blocks)
    largest = max(_count(block.parameters()) for block in blocks)
    return Memory(
        weights=FLOAT32 * whole // split,
        gradients=FLOAT32 * held // split,
        optimizer=settings.optimizer.state_bytes(model) // split,
        average=FLOAT32 * count // split if settings.ema else 0,
        gathered=FLOAT32 * (2 * (whole - inside) + 3 * largest) if split > 1 else 0,
        activations=round(-(-settings.batch_size // (world * settings.accumulate)) * activations(config, load)),
    )


def activations(config: TrainConfig, load: Load) -> float:
    """Bytes of what one sample keeps for the backward pass, an estimate at its largest.

    With e bytes a number in the forward pass and 4 in the residual stream, a token keeps in an encoder block
    D (8 + 7 e) + k H e (k = 4 for a gated MLP, else 2), in a decoder block D (12 + 11 e) + k H e, and there 4 D e for
    every input token. Recomputed blocks keep 4 D, beside one whole block of each kind. A target keeps 4 D for its
    cross-entropy, and all pairs of targets e bytes for the bias of attention.
    """
    model = config.shape
    e = FLOAT32 if config.training.precision == "float32" else BFLOAT16  # plans are for GPUs, fast in bfloat16
    n, m, d = load.most + model.registers, load.targets, model.dim
    mlp = (4 if model.gated else 2) * model.hidden * e
    encoder, decoder = n * (d * (8 + 7 * e) + mlp), m * (d * (12 + 11 * e) + mlp) + n * 4 * d * e
    if config.parallel.checkpoint_activations:
        blocks = encoder + decoder + FLOAT32 * d * (model.encoder_depth * n + model.decoder_depth * m)
    else:
        blocks = model.encoder_depth * encoder + model.decoder_depth * decoder
    return blocks + FLOAT32 * m * d + e * m**2


def _stream(stream: Stream) -> StreamPlan:
    space = stream.space
    ids, width = (None, space.width) if isinstance(space, DenseSpace) else (space.size, None)
    return StreamPlan(stream.name, stream.modality, space.length, ids, width, stream.input, stream.target)


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def facts(plan: attrs.AttrsInstance) -> dict[str, Any]:
    """A plan as JSON holds it, memory with its total."""
    known = attrs.asdict(plan)
    return {**known, "memory": {**known["memory"], "total": sum(known["memory"].values())}}


def shown(plan: Plan) -> list[str]:
    """The plan as lines for people, without its streams."""
    p = plan.parameters
    published = f"; {short(p.published)} in 4M's format" if p.published else ""
    frozen = f"; {short(p.trained)} are trained" if p.trained != p.total else ""
    model = plan.model
    return [
        f"Transformer  width {model.dim}, {model.encoder_depth} encoder and {model.decoder_depth} decoder blocks,"
        f" {model.heads} heads",
        f"parameters   {short(p.total)}: tables {short(p.tables)}, transformer {short(p.transformer)}"
        f"{published}{frozen}",
        f"memory       {shown_memory(plan.memory, plan.world, plan.strategy)}",
        f"a step       {short(plan.flops_per_step)} FLOP, {plan.samples_per_step:,} samples,"
        f" {short(plan.tokens_per_step)} tokens",
        f"the run      {plan.steps:,} steps, {short(plan.samples)} samples, {short(plan.tokens)} tokens,"
        f" {short(plan.flops_per_step * plan.steps)} FLOP",
        f"peak lr      {plan.peak_lr:g}",
        *([f"starts from  {plan.start}"] if plan.start else []),
    ]


def shown_memory(memory: Memory, world: int, strategy: str) -> str:
    """What a GPU holds, as a line for people."""
    where = f"each of {world} GPUs with {strategy}" if world > 1 else "one GPU"
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in attrs.asdict(memory).items() if size)
    return f"{_bytes(memory.total)} on {where}: {parts}"


def short(number: float) -> str:
    """A count with three digits and a unit, such as 834M or 2.82B."""
    for unit, size in UNITS.items():
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def _bytes(size: float) -> str:
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 / 10 else f"{size / 1024**2:.1f} MiB"
