"""Sequences token by token, in memory that is set aside ahead: what `Transformer.step` gives, faster.

Shapes: R rows, D width, H heads, K head width, L tokens at most, N input tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

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


class Texts(NamedTuple):
    """Texts of one stream: contexts of S samples each (one a pass of guidance), and how many texts a sample gets."""

    contexts: Sequence[Context]
    stream: str
    times: int = 1


class _Block:
    """A block of the decoder with the keys and values of the tokens so far, and what its rows read."""

    def __init__(self, block: DecoderBlock, texts: Sequence[Texts], length: int) -> None:
        self.block = block
        own, cross, mlp = block.self_attn, block.cross_attn, block.mlp
        self.qkv, self.proj = _Product(own.qkv), _Product(own.proj)
        self.q, self.cross_proj = _Product(cross.q), _Product(cross.proj)
        self.up = _Product(mlp.fc1) if mlp.fc3 is None else _Product(mlp.fc1, mlp.fc3)
        self.down = _Product(mlp.fc2)
        self.reads = [self._read(context, each.times) for each in texts for context in each.contexts]
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

    def keep(self, rows: Tensor, kept: Sequence[Tensor]) -> None:
        """Go on with some rows alone, which are those that are `kept` of each read."""
        self.kv = self.kv[:, rows]
        self.reads = [
            Read(k[own], v[own], None if bias is None else bias[own])
            for (k, v, bias), own in zip(self.reads, kept, strict=True)
            if len(own)
        ]


class _Stream:
    """What is particular to the texts of one stream; their rows follow one another, those of the first pass first."""

    def __init__(self, model: Transformer, texts: Texts) -> None:
        layout, name = model.layout, texts.stream
        self.name, self.passes = name, len(texts.contexts)
        self.first = layout.queries[name].start
        rows = torch.from_numpy(layout.target_rows(name, np.arange(layout[name].space.length)))
        kinds = model.input_streams if model.target_streams is None else model.target_streams
        self.places = model.target_positions(rows.to(model.input_table.device)) + kinds[layout.index[name]]
        self.head = model.output_table[layout.outputs[name].rows]
        self.copy: Copy | None = None

    def scores(self, x: Tensor) -> Tensor:
        """(passes, S, V) of states (passes * S, D)."""
        copied = self.copy is not None and len(x) <= self.copy.rows
        scores = cast("Copy", self.copy).product(x) if copied else F.linear(x, self.head)
        return scores.view(self.passes, -1, scores.shape[-1])


class Steps:
    """Decodes sequences of one stream or of several side by side, one a row, token by token."""

    def __init__(self, model: Transformer, texts: Sequence[Texts]) -> None:
        self.model, self.rank = model, 0
        self.streams = [_Stream(model, each) for each in texts]
        length = max(len(stream.places) for stream in self.streams)
        self.blocks = [_Block(cast("DecoderBlock", block), texts, length) for block in model.decoder]
        mixed = torch.is_autocast_enabled(model.input_table.device.type)
        self.copies: WeightCopies | None = None if mixed else weight_copies(model)

    def step(self, last: Sequence[Sequence[int]]) -> list[Tensor]:
        """Scores (passes, S, V) of the next token of each of S texts of each stream, after the ids written last."""
        counts = [stream.passes * len(ids) for stream, ids in zip(self.streams, last, strict=True)]
        if self.copies is not None and self.copies.wait(sum(counts)):
            self._use(self.copies, sum(counts))
            self.copies = None
        fed = [token + s.first for s, ids in zip(self.streams, last, strict=True) for token in [*ids] * s.passes]
        x = F.embedding(torch.tensor(fed, device=self.model.input_table.device), self.model.query_table)
        places = torch.stack([stream.places[self.rank] for stream, count in zip(self.streams, counts, strict=True)])
        x = x + places.repeat_interleave(torch.tensor(counts, device=x.device), 0, output_size=len(fed))
        for block in self.blocks:
            x = block.step(x, self.rank)
        self.rank += 1
        parts = self.model.decoder_norm(x).split(counts)
        return [stream.scores(part) for stream, part in zip(self.streams, parts, strict=True)]

    def keep(self, active: Sequence[Sequence[int]]) -> None:
        """Go on with some of the texts of each stream alone, and without the streams of which none is left."""
        start, rows, kept = 0, list[Tensor](), list[Tensor]()
        for stream, texts in zip(self.streams, active, strict=True):
            for _ in range(stream.passes):
                read = self.blocks[0].reads[len(kept)]
                rows.append(torch.tensor(texts, dtype=torch.long) + start)
                kept.append(torch.tensor(texts, dtype=torch.long, device=read.k.device))
                start += len(read.k)
        for block in self.blocks:
            block.keep(torch.cat(rows).to(block.kv.device), kept)
        self.streams = [stream for stream, texts in zip(self.streams, active, strict=True) if texts]

    def _use(self, copies: WeightCopies, rows: int) -> None:
        for depth, block in enumerate(self.blocks):
            for number, product in enumerate(block.products):
                product.use(f"decoder.{depth}.{number}", copies, rows)
        for stream in self.streams:
            stream.copy = copies.get(f"output_table.{stream.name}", [stream.head], rows)


def steps_of(model: Transformer, texts: Sequence[Texts]) -> Steps:
    """What decodes sequences with a model: `Steps`, or what the model has in its place."""
    own = type(model).text_steps
    found: Steps = Steps(model, texts) if own is None else own(model, texts)
    return found
