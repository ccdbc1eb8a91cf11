"""The any-to-any Transformer on packed tokens (4M, arXiv 2312.06647 section 3.2).

Only chosen tokens are embedded: one lookup in a joint table, one in a joint position table. Every stream's embeddings
and output head are rows of joint matrices, so a file can hold, and a set can load, any subset.

Shapes: B batch, N input tokens, M target tokens, R rows of a dense stream, D width, V ids of a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anymodal.errors import ConfigError, GenerationError
from anymodal.model.blocks import Cache, DecoderBlock, EncoderBlock, Source, layer_norm
from anymodal.model.config import ModelConfig
from anymodal.model.heads import Head, cross_entropies
from anymodal.model.positions import PositionTable, position_codes
from anymodal.nn.init import normal
from anymodal.nn.precision import Precision
from anymodal.spaces import DenseSpace
from anymodal.tokens import NO_LABEL, Inputs, Layout, Packed, Targets

INIT_STD = 0.02


class Context(NamedTuple):
    """What the decoder reads: projected encoder output (B, N, D) and which of its tokens may be attended (B, N).

    Where a sample has no inputs at all, nothing is read: cross-attention adds its output bias only.
    """

    tokens: Tensor
    attended: Tensor

    @property
    def alive(self) -> Tensor:
        """Which samples (B,) have any input."""
        return self.attended.any(1)


class Transformer(nn.Module):
    """Encoder and decoder over a layout.

    Parameters of streams are rows of `input_table`, `query_table`, `output_table` (see `Layout`) and of
    `input_streams`, `target_streams`; dense streams have an entry in `projections`.

    `has_weights` is False of one whose weights are elsewhere, so that it is neither trained nor saved; `text_steps`
    makes what decodes sequences of such a one, instead of `anymodal.model.steps.Steps`. `precision` is that of products
    in generation, "auto" for what the device does fast (`anymodal.nn.precision`).
    """

    has_weights: ClassVar[bool] = True
    text_steps: ClassVar[Callable[..., Any] | None] = None
    precision: Precision = "float32"

    def __init__(self, config: ModelConfig, layout: Layout) -> None:
        super().__init__()
        self.config, self.layout = config, layout
        self.sparse_lookups = False
        dim, streams = config.dim, len(layout.streams)
        self.input_table = nn.Parameter(normal(layout.inputs.size, dim, std=INIT_STD))
        self.query_table = nn.Parameter(normal(layout.queries.size, dim, std=INIT_STD))
        self.output_table = nn.Parameter(torch.empty(layout.outputs.size, dim))
        self.input_streams = nn.Parameter(normal(streams, dim, std=INIT_STD))
        self.target_streams = None if config.tied_streams else nn.Parameter(normal(streams, dim, std=INIT_STD))
        codes = position_codes(layout, dim)
        self.input_positions = PositionTable(codes, layout, targets=False)
        self.target_positions = PositionTable(codes, layout, targets=True)
        self.projections = nn.ModuleDict(
            {
                _key(s.name): nn.Linear(s.space.width, dim, s.space.bias)
                for s in layout.streams
                if isinstance(s.space, DenseSpace)
            }
        )
        self.registers = nn.Parameter(normal(config.registers, dim, std=INIT_STD)) if config.registers else None
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.encoder_depth))
        self.encoder_norm = layer_norm(dim, config)
        self.context_proj = nn.Linear(dim, dim)
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_depth))
        self.decoder_norm = layer_norm(dim, config)
        self._init_weights()

    def _init_weights(self) -> None:
        """Xavier uniform, each part of a joint qkv or kv matrix on its own (4M, arXiv 2312.06647)."""
        nn.init.xavier_uniform_(self.output_table)
        with torch.no_grad():
            self.input_table[0].zero_()
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                parts = 3 if name.endswith("qkv") else 2 if name.endswith(".kv") else 1
                for part in module.weight.chunk(parts):
                    nn.init.xavier_uniform_(part)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def lookups(self) -> tuple[nn.Parameter, nn.Parameter]:
        """The tables of which a step reads few rows; their gradients are sparse where `sparse_lookups` is true."""
        return self.input_table, self.query_table

    # Encoder.

    def projection(self, stream: str) -> nn.Module:
        """What maps the rows of a dense stream to the width."""
        return self.projections[_key(stream)]

    def embed_inputs(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Content (B, N, D), place (B, N, D: position + stream) and which tokens are real (B, N); padding is zero."""
        attended = inputs.streams >= 0
        x_BND = F.embedding(inputs.ids, self.input_table, sparse=self.sparse_lookups)
        for name, dense in inputs.dense.items():
            x_BND = self._place(x_BND, self.projection(name)(dense.values.to(x_BND.dtype)), dense.slots)
        if self.training:
            x_BND = x_BND + self._unused_parameters(inputs)
        place_BND = self.input_positions(inputs.positions) + self.input_streams[inputs.streams.clamp_min(0)]
        return x_BND * attended[..., None], place_BND * attended[..., None], attended

    def _unused_parameters(self, inputs: Inputs) -> Tensor:
        """Zero, made of the projections that the inputs do not use, so that these get gradients too."""
        used = {_key(name) for name in inputs.dense}
        unused = [module for key, module in self.projections.items() if key not in used]
        zeros = [weight.sum() * 0 for module in unused for weight in module.parameters()]
        return torch.stack(zeros).sum() if zeros else self.input_table.new_zeros(())

    @staticmethod
    def _place(x_BND: Tensor, rows_BRD: Tensor, slots_BR: Tensor) -> Tensor:
        """Put rows at their slots; slot N takes the padding and is cut off."""
        padded = F.pad(x_BND, (0, 0, 0, 1))
        index = slots_BR[..., None].expand(-1, -1, x_BND.shape[2])
        return padded.scatter(1, index, rows_BRD.to(padded.dtype))[:, :-1]

    def embed_encoder(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """What the first block reads (B, R + N, D), places, and attended tokens (B, R + N); registers first."""
        x, place, attended = self.embed_inputs(inputs)
        x = x + place
        if self.registers is not None:
            count = len(self.registers)
            x = torch.cat([self.registers.expand(x.shape[0], -1, -1).to(x.dtype), x], 1)
            place = F.pad(place, (0, 0, count, 0))
            attended = F.pad(attended, (count, 0), value=True)
        return x, place, attended

    def _encoded(self, inputs: Inputs, layers: Sequence[int] = ()) -> tuple[list[Tensor], Tensor, Tensor]:
        """States (B, R + N, D) after `layers` and the last block, places, and attended tokens; registers first."""
        x, place, attended = self.embed_encoder(inputs)
        bias = blocked_bias(attended[:, None, None], x)
        after = {}
        for number, block in enumerate(self.encoder):
            x = block(x, bias)
            if number in layers:
                after[number] = x
        return [*(after[number] for number in layers), x], place, attended

    def encode(self, inputs: Inputs) -> Context:
        """Run the encoder on packed inputs and project for the decoder."""
        (x,), place, attended = self._encoded(inputs)
        return Context(self.context_proj(self.encoder_norm(x)) + place, attended)

    def features(self, inputs: Inputs, layers: Sequence[int] | None = None) -> Tensor:
        """Encoder states, each normed by the encoder's last norm; the last ones are what `encode` projects.

        Args:
            inputs: packed inputs (B, N).
            layers: which blocks, from 0, or from -1 backwards; by default the last one alone.

        Returns:
            (B, R + N, D), the R registers first; with `layers` (layers, B, R + N, D).

        Raises:
            ConfigError: there is no such block, or `layers` is empty.
        """
        states, _, _ = self._encoded(inputs, self._blocks_of(layers))
        if layers is None:
            return self.encoder_norm(states[-1])
        return torch.stack([self.encoder_norm(state) for state in states[:-1]])

    def _blocks_of(self, layers: Sequence[int] | None) -> list[int]:
        """The numbers, from 0, of the blocks that `layers` names; none of None. Raises ConfigError as `features`."""
        depth = len(self.encoder)
        if layers is not None and not layers:
            raise ConfigError("layers names no block; leave it out for the last one")
        for layer in layers or ():
            if type(layer) is not int or not -depth <= layer < depth:
                raise ConfigError(
                    f"the encoder has {depth} blocks, from 0 to {depth - 1}; there is no block {layer!r:.40}"
                )
        return [layer % depth for layer in layers or ()]

    # Decoder.

    def embed_targets(self, targets: Targets) -> Tensor:
        """What the decoder is fed (B, M, D): a learned query or the token before, plus its place."""
        streams = self.input_streams if self.target_streams is None else self.target_streams
        x = F.embedding(targets.ids, self.query_table, sparse=self.sparse_lookups)
        x = x + self.target_positions(targets.positions)
        real = targets.streams >= 0
        return (x + streams[targets.streams.clamp_min(0)]) * real[..., None]

    def targets_allowed(self, targets: Targets) -> Tensor:
        """Which targets each target may attend to (B, M, M)."""
        order = torch.arange(targets.ids.shape[1], device=targets.ids.device)
        reach = order[None] + 1 if self.config.causal_targets else targets.reach
        allowed: Tensor = order[None, None] < reach[..., None]
        if self.config.separate_targets:
            allowed = allowed & (targets.streams[:, :, None] == targets.streams[:, None])
        return allowed

    def targets_bias(self, targets: Targets, x: Tensor) -> Tensor:
        """The bias (B, 1, M, M) of self-attention between targets that are embedded as `x`."""
        return blocked_bias(self.targets_allowed(targets)[:, None], x)

    def decode(self, targets: Targets, *contexts: Context) -> Tensor:
        """Decoder states (B, M, D) of packed targets; with several contexts, the first rows read the first of them."""
        x = self.embed_targets(targets)
        self_bias = self.targets_bias(targets, x)
        sources = [Source(c.tokens, c.alive, blocked_bias(c.attended[:, None, None], x)) for c in contexts]
        for block in self.decoder:
            x = block(x, sources, self_bias)
        return self.decoder_norm(x)

    def _decoder_blocks(self) -> list[DecoderBlock]:
        return cast("list[DecoderBlock]", list(self.decoder))

    def start(self, context: Context) -> list[Cache]:
        """The cache of each decoder block before the first token of sequences that `step` decodes."""
        return [block.start(context.tokens, context.alive) for block in self._decoder_blocks()]

    def step(
        self, targets: Targets, context_bias: Tensor | None, caches: Sequence[Cache]
    ) -> tuple[Tensor, list[Cache]]:
        """Decode one token of each sequence.

        Args:
            targets: the next token of each (B, 1).
            context_bias: attention bias (B, 1, 1, N) of the context, or None where all of it is attended.
            caches: those of the tokens before; they stay as they are.

        Returns:
            Decoder states (B, 1, D), and the caches with the token.
        """
        x, extended = self.embed_targets(targets), []
        for block, cache in zip(self._decoder_blocks(), caches, strict=True):
            x, cache = block.step(x, cache, context_bias)
            extended.append(cache)
        return self.decoder_norm(x), extended

    def logits(self, states: Tensor, stream: str) -> Tensor:
        """Scores (..., V) of the ids of one stream from decoder states (..., D)."""
        if stream not in self.layout.outputs:
            raise GenerationError(f"{stream!r} is not a target of this model")
        return F.linear(states, self.output_table[self.layout.outputs[stream].rows])

    # Training.

    def forward(self, packed: Packed) -> dict[str, Tensor]:
        """Mean cross-entropy (nats a token) of each stream that has targets in the batch.

        Every weight takes part: processes that train together exchange the same gradients whatever their batches hold.
        """
        assert packed.targets is not None
        targets = packed.targets
        states = self.decode(targets, self.encode(packed.inputs))
        heads = {}
        for stream in self.layout.targets:
            chosen = (targets.streams == self.layout.index[stream.name]) & (targets.labels != NO_LABEL)
            labels = targets.labels[chosen]
            if len(labels):
                heads[stream.name] = Head(self.layout.outputs[stream.name].rows, chosen, labels)
        losses = {}
        if heads:
            found = cross_entropies(states, self.output_table, list(heads.values()))
            losses = dict(zip(heads, found.unbind(), strict=True))
        if not losses and self.layout.targets:
            first = self.layout.targets[0].name
            losses[first] = self.logits(states[:, :0], first).float().sum()
        return losses


def blocked_bias(allowed: Tensor, like: Tensor) -> Tensor:
    """Attention bias: 0 where allowed, else the most negative finite number, so that a fully blocked row is uniform."""
    kind = like.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype
    return torch.zeros(allowed.shape, dtype=dtype, device=like.device).masked_fill_(~allowed, torch.finfo(dtype).min)


def _key(stream: str) -> str:
    """Module names may hold no dot."""
    return stream.replace(".", "/")
