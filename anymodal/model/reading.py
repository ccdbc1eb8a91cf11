"""Inputs that are encoded in parts: what was encoded before is kept, and what the decoder reads of it too.

Tokens that are added attend to those before and to one another, while those before stay as they were. So this is no
longer what encoding all of them at once gives, unless everything is read anew now and then (ReCAP, arXiv 2505.19089).

Shapes: B samples, N tokens so far, M targets, D width, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from anymodal.model.blocks import DecoderBlock, EncoderBlock, Read
from anymodal.model.transformer import Transformer, blocked_bias
from anymodal.tokens import Inputs, Targets

Pair = tuple[Tensor, Tensor]  # keys and values (B, H, N, K)


class Reading:
    """What the encoder and the decoder keep of the inputs of a batch."""

    def __init__(self, model: Transformer, inputs: Inputs) -> None:
        self.model = model
        x, place, self.attended = model.embed_encoder(inputs)
        self._where = _where(inputs, x.shape[1])
        self._encoder: list[Pair | None] = [None] * len(model.encoder)
        self._decoder: list[Pair | None] = [None] * len(model.decoder)
        self._read(x, place)

    def add(self, inputs: Inputs) -> None:
        """Encode more tokens (B, n)."""
        x, place, attended = self.model.embed_inputs(inputs)
        self.attended = torch.cat([self.attended, attended], 1)
        self._where = torch.cat([self._where, _where(inputs, x.shape[1])], 2)
        self._read(x + place, place)

    def hide(self, row: int, stream: int, positions: Tensor) -> None:
        """Forget tokens of a sample: those of a stream (by index) at rows of the position table."""
        streams, where = self._where[:, row]
        self.attended[row] &= ~((streams == stream) & torch.isin(where, positions))
        if not bool(self.attended[row].any()):  # a row of attention that is blocked is a mean of all
            for _, v in cast("list[Pair]", self._decoder):
                v[row] = 0

    def keep(self, rows: Tensor) -> None:
        """Go on with some samples alone."""
        self.attended, self._where = self.attended[rows], self._where[:, rows]
        for blocks in (self._encoder, self._decoder):
            blocks[:] = [(k[rows], v[rows]) for k, v in cast("list[Pair]", blocks)]

    def reads(self, depth: int) -> Read:
        """What a block of the decoder reads."""
        k, v = cast("Pair", self._decoder[depth])
        return Read(k, v, blocked_bias(self.attended[:, None, None], k))

    def _read(self, x: Tensor, place: Tensor) -> None:
        """Encode tokens (B, n, D) after those before."""
        bias = blocked_bias(self.attended[:, None, None], x)
        for depth, block in enumerate(cast("list[EncoderBlock]", list(self.model.encoder))):
            x, self._encoder[depth] = block.more(x, self._encoder[depth] or (), bias)
        context, alive = self.model.context_proj(self.model.encoder_norm(x)) + place, self.attended.any(1)
        for depth, decoder in enumerate(cast("list[DecoderBlock]", list(self.model.decoder))):
            new, known = decoder.cross_attn.keys_values(decoder.context_norm(context), alive), self._decoder[depth]
            self._decoder[depth] = new if known is None else _joined(known, new)


def _joined(known: Pair, new: Pair) -> Pair:
    return torch.cat([known[0], new[0]], 2), torch.cat([known[1], new[1]], 2)


def _where(inputs: Inputs, tokens: int) -> Tensor:
    """Streams and rows of the position table (2, B, tokens); -1 for the registers, which come first."""
    both = torch.stack([inputs.streams, inputs.positions])
    return F.pad(both, (tokens - both.shape[2], 0), value=-1)


def decode(model: Transformer, targets: Targets, readings: Sequence[Reading]) -> Tensor:
    """Decoder states (B, M, D), as `Transformer.decode`; the first rows read the first reading, and so on."""
    x = model.embed_targets(targets)
    self_bias = model.targets_bias(targets, x)
    for depth, block in enumerate(cast("list[DecoderBlock]", list(model.decoder))):
        x = block.read(x, [reading.reads(depth) for reading in readings], self_bias)
    return model.decoder_norm(x)
