"""Sequences token by token, in memory that is set aside ahead: what `Transformer.step` gives, faster.

Shapes: R rows, D width, H heads, K head width, L tokens at most, N input tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anymodal.model.blocks import DecoderBlock, Read, attend_each
from anymodal.model.transformer import Context, Transformer, blocked_bias
from anymodal.nn.attention import attend
from anymodal.nn.copies import Copy, WeightCopies, weight_copies

ROOM = 64  # tokens for which there is memory at first; it is doubled when a text is longer


class _Product:
    """One product of a row with the weights of a layer, or of several with one input side by side."""

    def __init__(self, *layers: nn.Module) -> None:
        self.layers = layers
        self.copy: Copy | None = None

    def use(self, name: str, copies: WeightCopies, rows: int) -> None:
        """Use a copy from here on, where the layers are plain; `name` tells them from others of the model."""
        if all(type(layer) is nn.Linear and layer.bias is None for layer in self.layers):
            self.copy = copies.get(name, [cast("Tensor", layer.weight) for layer in self.layers], rows)

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """(R, D) -> one (R, outer) a layer."""
        if self.copy is None or len(x) > self.copy.rows:
            return tuple(layer(x) for layer in self.layers)
        y = self.copy.product(x)
        return (y,) if len(self.layers) == 1 else y.chunk(len(self.layers), -1)


class _Block:
    """A block of the decoder with the keys and values of the tokens so far, and what its rows read."""

    def __init__(self, block: DecoderBlock, contexts: Sequence[Context], times: int, length: int) -> None:
        self.block = block
        own, cross, mlp = block.self_attn, block.cross_attn, block.mlp
        self.qkv, self.proj = _Product(own.qkv), _Product(own.proj)
        self.q, self.cross_proj = _Product(cross.q), _Product(cross.proj)
        self.up = _Product(mlp.fc1) if mlp.fc3 is None else _Product(mlp.fc1, mlp.fc3)
        self.down = _Product(mlp.fc2)
        self.reads = [self._read(context, times) for context in contexts]
        rows, like = sum(len(read.k) for read in self.reads), self.reads[0].k
        self.kv = like.new_empty(2, rows, own.heads, min(length, ROOM), own.width)

    @property
    def products(self) -> list[_Product]:
        return [self.qkv, self.proj, self.q, self.cross_proj, self.up, self.down]

    def _read(self, context: Context, times: int) -> Read:
        cache = self.block.start(context.tokens, context.alive)
        k, v = (part.repeat_interleave(times, 0).contiguous() for part in (cache.context_k, cache.context_v))
        if bool(context.attended.all()):
            return Read(k, v, None)
        return Read(k, v, blocked_bias(context.attended[:, None, None], k).repeat_interleave(times, 0))

    def step(self, x: Tensor, rank: int) -> Tensor:
        """The state (R, D) of the token of this rank."""
        block, own = self.block, self.block.self_attn
        rows, heads, width = len(x), own.heads, own.width
        (qkv,) = self.qkv(block.norm1(x))
        q, k, v = qkv.view(rows, 3, heads, width).unbind(1)
        q, k = own.normed(q, k)
        if rank == self.kv.shape[3]:
            self.kv = torch.cat([self.kv, torch.empty_like(self.kv)], 3)
        self.kv[0, :, :, rank], self.kv[1, :, :, rank] = k, v
        known = self.kv[:, :, :, : rank + 1]
        x = x + self.proj(attend(q[:, :, None], known[0], known[1]).reshape(rows, -1))[0]
        q = self.q(block.query_norm(x))[0].view(rows, heads, 1, width)
        q = q if block.cross_attn.q_norm is None else block.cross_attn.q_norm(q).to(q.dtype)
        x = x + self.cross_proj(attend_each(q, self.reads).reshape(rows, -1))[0]
        hidden, *gate = self.up(block.norm2(x))
        hidden = block.mlp.act(hidden)
        return x + self.down(hidden * gate[0] if gate else hidden)[0]

    def keep(self, rows: Tensor, active: Tensor) -> None:
        self.kv = self.kv[:, rows]
        self.reads = [Read(k[active], v[active], None if bias is None else bias[active]) for k, v, bias in self.reads]


class Steps:
    """Decodes one sequence a row, token by token.

    Args:
        model: the Transformer.
        contexts: what the rows read: the first of them the first context, and so on; all hold as many samples.
        stream: the sequence.
        times: how many rows each sample of a context has, one after the other.
    """

    def __init__(self, model: Transformer, contexts: Sequence[Context], stream: str, times: int = 1) -> None:
        self.model, self.stream = model, stream
        layout, length = model.layout, model.layout[stream].space.length
        self.passes = len(contexts)
        self.rank = 0
        self.blocks = [_Block(cast("DecoderBlock", block), contexts, times, length) for block in model.decoder]
        self.first = layout.queries[stream].start
        rows = torch.from_numpy(layout.target_rows(stream, np.arange(length)))
        self.places = model.target_positions(rows.to(model.input_table.device))
        streams = model.input_streams if model.target_streams is None else model.target_streams
        self.kind = streams[layout.index[stream]]
        self.head = model.output_table[layout.outputs[stream].rows]
        mixed = torch.is_autocast_enabled(self.places.device.type)
        self.copies: WeightCopies | None = None if mixed else weight_copies(model)
        self.head_copy: Copy | None = None

    def step(self, last: Sequence[int]) -> Tensor:
        """Scores (passes, S, V) of the next token of each of S sequences, after the id that was written last."""
        rows = self.passes * len(last)
        ids = torch.tensor(last, device=self.places.device)
        if self.copies is not None and self.copies.wait(rows):
            self._use(self.copies, rows)
            self.copies = None
        x = F.embedding((ids + self.first).repeat(self.passes), self.model.query_table) + self.places[self.rank]
        x = x + self.kind
        for block in self.blocks:
            x = block.step(x, self.rank)
        self.rank += 1
        x = self.model.decoder_norm(x)
        copied = self.head_copy is not None and rows <= self.head_copy.rows
        scores = cast("Copy", self.head_copy).product(x) if copied else F.linear(x, self.head)
        return scores.view(self.passes, len(last), -1)

    def keep(self, active: Sequence[int]) -> None:
        """Go on with some of the sequences alone."""
        device, count = self.places.device, len(self.blocks[0].reads[0].k)
        kept = torch.tensor(active, device=device)
        rows = torch.cat([kept + number * count for number in range(self.passes)])
        for block in self.blocks:
            block.keep(rows, kept)

    def _use(self, copies: WeightCopies, rows: int) -> None:
        for depth, block in enumerate(self.blocks):
            for number, product in enumerate(block.products):
                product.use(f"decoder.{depth}.{number}", copies, rows)
        self.head_copy = copies.get(f"output_table.{self.stream}", [self.head], rows)
