"""The graphs of a tokenizer: to ids, from ids or probabilities to codes, and from codes back.

Shapes: B batch, C channels, H W pixels, h w grid of tokens, N ids, G codebooks, K codes, L latent width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from anymodal.export.graphs import Draft, lookup, mean_codes
from anymodal.export.modules import DecodeCodes, Denoise, EncodeValues
from anymodal.modality import Modality
from anymodal.tokenizers.diffusion import DiffusionTokenizer
from anymodal.tokenizers.tokenizer import Tokenizer, VQTokenizer

BATCHES = (2, 1, 3)  # of the comparison; the graph takes any
Grid = tuple[int, int]


def tokenizer_drafts(modality: Modality) -> Iterator[tuple[str, Draft]]:
    """The graphs of a modality's tokenizer: each under a name such as "encode-64x64".

    Names are those of `TokenizerGraphs` with the size behind, if it has one.
    """
    tokenizer: Tokenizer = modality.tokenizer
    tables = code_tables(tokenizer)
    books, size, _ = tables.shape
    grids = token_grids(modality)
    count = grids[0][0] * grids[0][1] * books
    generator = torch.Generator().manual_seed(0)
    ids = [{"ids": torch.randint(size, (b, count), generator=generator)} for b in BATCHES]
    shares = [{"probabilities": torch.rand(b, count, size, generator=generator)} for b in BATCHES]
    yield "lookup", lookup(tables, ids)
    yield "mean", mean_codes(tables, [{"probabilities": p["probabilities"].softmax(-1)} for p in shares])
    for grid in grids:
        kind = "decode" if isinstance(tokenizer, VQTokenizer) else "denoise"
        pixels, tokens = "", ""
        if tokenizer.config.kind == "vit":
            pixels, tokens = f"-{_spelled(grid, tokenizer.stride)}", f"-{_spelled(grid)}"
        yield f"encode{pixels}", _encode(tokenizer, grid)
        yield f"{kind}{tokens}", _decode(tokenizer, grid)


def token_grids(modality: Modality) -> list[Grid]:
    """Rows and columns of tokens for which graphs are made: those of the streams, or else the tokenizer's own."""
    tokenizer: Tokenizer = modality.tokenizer
    if tokenizer.config.kind != "vit":
        return [(1, 1)]
    own = [stream.space.shape for stream in modality.streams() if not stream.is_dense]
    grids = [(shape[0], shape[1]) for shape in own if shape]
    if hasattr(modality, "grid") and modality.grid:
        grids.append(modality.grid)
    side = max(1, tokenizer.config.image_size // tokenizer.config.encoder.patch)  # type: ignore[union-attr]
    return list(dict.fromkeys(grids)) or [(side, side)]


@torch.no_grad()
def code_tables(tokenizer: Tokenizer) -> Tensor:
    """The codes (G, K, L) of which those of ids are sums: what each id of each codebook adds."""
    quantize = tokenizer.quantize
    books, size = quantize.codebooks, tokenizer.config.quantizer.size
    alone = torch.zeros(books * size, books, size)
    rows = torch.arange(books * size)
    alone[rows, rows // size, rows % size] = 1
    return torch.cat([quantize.mean(part) for part in alone.split(max(1, 2**22 // (books * size)))])[:, 0].view(
        books, size, -1
    )


def _spelled(grid: Grid, times: int = 1) -> str:
    return f"{grid[0] * times}x{grid[1] * times}"


def _encode(tokenizer: Tokenizer, grid: Grid) -> Draft:
    generator, config = torch.Generator().manual_seed(1), tokenizer.config
    sides = [side * tokenizer.stride for side in grid] if config.kind == "vit" else []

    def values(batch: int) -> Tensor:
        if config.labels:
            return torch.randint(config.labels, (batch, *sides), generator=generator)
        # Smooth rather than noise, and in the range of pictures.
        small = torch.randn(batch, config.channels, *(math.ceil(side / 4) for side in sides), generator=generator)
        smooth = torch.nn.functional.interpolate(small, size=sides, mode="bilinear") if sides else small
        return smooth.tanh()

    count = grid[0] * grid[1] * tokenizer.quantize.codebooks
    examples = [{"values": values(b)} for b in BATCHES]
    return Draft(EncodeValues(tokenizer), {"values": {0: "batch"}}, {"ids": ["batch", count]}, examples)


def _decode(tokenizer: Tokenizer, grid: Grid) -> Draft:
    generator, config = torch.Generator().manual_seed(2), tokenizer.config
    latent, count = config.quantizer.latent, grid[0] * grid[1]
    channels = config.labels or config.channels
    sides = [side * tokenizer.stride for side in grid] if config.kind == "vit" else []
    outputs: Mapping[str, list[int | str]] = {"values": ["batch", channels, *sides]}
    if isinstance(tokenizer, DiffusionTokenizer):
        noisy = [torch.randn(b, channels, *sides, generator=generator) for b in BATCHES]
        steps = [torch.randint(config.noise.timesteps, (b,), generator=generator) for b in BATCHES]  # type: ignore[union-attr]
        codes = [torch.randn(b, latent, *grid, generator=generator) for b in BATCHES]
        examples = [{"noisy": n, "timesteps": t, "codes": c} for n, t, c in zip(noisy, steps, codes, strict=True)]
        axes = {name: {0: "batch"} for name in examples[0]}
        return Draft(Denoise(tokenizer), axes, outputs, examples)
    assert isinstance(tokenizer, VQTokenizer)
    size = tokenizer.config.quantizer.size
    ids = [torch.randint(size, (b, count * tokenizer.quantize.codebooks), generator=generator) for b in BATCHES]
    books = tokenizer.quantize.codebooks
    found = [tokenizer.quantize.lookup(each.unflatten(1, (-1, books)) if books > 1 else each) for each in ids]
    examples = [{"codes": codes.detach()} for codes in found]
    return Draft(DecodeCodes(tokenizer, grid), {"codes": {0: "batch"}}, outputs, examples)
