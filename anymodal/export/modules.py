"""What of a model becomes one graph: modules of plain tensors over a Transformer or a tokenizer.

Nothing is drawn in a graph: random numbers and draws stay with the caller, whose results they decide.

Shapes: B batch, N input tokens, S rows of a dense stream, M targets, T targets before, D width, L blocks, H heads,
K head width, C channels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from anymodal.model.blocks import Cache, DecoderBlock, Read
from anymodal.model.transformer import Context, Transformer, blocked_bias
from anymodal.tokenizers.diffusion import DiffusionTokenizer
from anymodal.tokenizers.tokenizer import Tokenizer, VQTokenizer
from anymodal.tokens import NO_LABEL, Targets
from anymodal.tokens.packing import DenseRows, Inputs


class Encode(nn.Module):
    """Packed inputs (B, N) -> states (B, R + N, D), what the decoder reads of them (same shape), and attended."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model
        self.dense = [stream.name for stream in model.layout.streams if stream.is_dense]

    def forward(self, ids: Tensor, positions: Tensor, streams: Tensor, *dense: Tensor) -> tuple[Tensor, ...]:
        rows = {name: DenseRows(*dense[2 * k : 2 * k + 2]) for k, name in enumerate(self.dense)}
        model = self.model
        (x,), place, attended = model._encoded(Inputs(ids, positions, streams, rows))
        states = model.encoder_norm(x)
        return states, model.context_proj(states) + place, attended


class ReadContext(nn.Module):
    """What the encoder says (B, N, D) -> keys and values (L, B, H, N, K) that the blocks of the decoder read."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, context: Tensor, attended: Tensor) -> tuple[Tensor, Tensor]:
        caches = [block.start(context, Context(context, attended).alive) for block in _blocks(self.model)]
        return torch.stack([c.context_k for c in caches]), torch.stack([c.context_v for c in caches])


class Decode(nn.Module):
    """Targets (B, M) after others (L, B, H, T, K) -> states (B, M, D), and their own keys and values (L, B, H, M, K).

    `allowed` (B, M, T + M) says what each attends to. A grid has no others before; the next token of a sequence has.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        streams: Tensor,
        allowed: Tensor,
        past_k: Tensor,
        past_v: Tensor,
        context_k: Tensor,
        context_v: Tensor,
        context_attended: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        none = torch.full_like(ids, NO_LABEL)
        x = self.model.embed_targets(Targets(ids, positions, streams, none, none))
        bias, context_bias = blocked_bias(allowed[:, None], x), blocked_bias(context_attended[:, None, None], x)
        keys, values = [], []
        for depth, block in enumerate(_blocks(self.model)):
            q, k, v = block.self_attn.queries_keys_values(block.norm1(x))
            keys.append(k)
            values.append(v)
            known = Cache(past_k[depth], past_v[depth], context_k[depth], context_v[depth])
            x = x + block.self_attn.attended(q, torch.cat([known.k, k], 2), torch.cat([known.v, v], 2), bias)
            x = block._rest(x, [Read(known.context_k, known.context_v, context_bias)])
        return self.model.decoder_norm(x), torch.stack(keys), torch.stack(values)


class EncodeValues(nn.Module):
    """Tensors as `Tokenizer.encode` takes them -> ids (B, N)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, values: Tensor) -> Tensor:
        return self.tokenizer._quantize(values).ids.flatten(1)


class DecodeCodes(nn.Module):
    """Codes (B, N, width) on a grid -> tensors as `Tokenizer.decode` gives them."""

    def __init__(self, tokenizer: VQTokenizer, grid: tuple[int, int]) -> None:
        super().__init__()
        self.tokenizer, self.grid = tokenizer, grid

    def forward(self, codes: Tensor) -> Tensor:
        return self.tokenizer._reconstruct(codes, self.grid)


class Denoise(nn.Module):
    """One prediction of a decoder that denoises: noisy pictures (B, C, H, W), timesteps (B,), codes (B, L, h, w)."""

    def __init__(self, tokenizer: DiffusionTokenizer) -> None:
        super().__init__()
        self.decoder = tokenizer.decoder

    def forward(self, noisy: Tensor, timesteps: Tensor, codes: Tensor) -> Tensor:
        output: Tensor = self.decoder(noisy, timesteps, codes)
        return output


def _blocks(model: Transformer) -> list[DecoderBlock]:
    return cast("list[DecoderBlock]", list(model.decoder))
