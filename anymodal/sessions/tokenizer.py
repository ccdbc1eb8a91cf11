"""A tokenizer in its graphs: what it checks, and how it denoises, is what the one with weights does.

Shapes: B batch, C channels, H W pixels, h w grid of tokens, N ids, L latent width, K codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from anymodal.errors import ConfigError, ValueProblem
from anymodal.sessions.manifest import Graph, TokenizerGraphs
from anymodal.sessions.session import Place, Session
from anymodal.tokenizers.diffusion import DiffusionTokenizer
from anymodal.tokenizers.noise import Noise
from anymodal.tokenizers.quantizers.base import Quantized, Quantizer
from anymodal.tokenizers.tokenizer import Tokenizer, VQTokenizer


class SessionQuantizer(Quantizer):
    """The codes of a codebook by graphs."""

    def __init__(self, files: Place, graphs: TokenizerGraphs) -> None:
        super().__init__()
        self.size, self.codebooks = graphs.config.quantizer.size, graphs.codebooks
        self._lookup, self._mean = Session(files, graphs.lookup), Session(files, graphs.mean)

    def forward(self, z_BNC: Tensor) -> Quantized:
        raise ConfigError("a tokenizer of ONNX graphs cannot be trained; train the one that it was exported from")

    def lookup(self, ids: Tensor) -> Tensor:
        """See `Quantizer.lookup`."""
        return self._lookup(ids=ids.flatten(1))[0]

    def mean(self, shares_BNK: Tensor) -> Tensor:
        """See `Quantizer.mean`."""
        return self._mean(probabilities=shares_BNK.float())[0]


class _InGraphs(Tokenizer):
    """What tokenizers by graphs have in common, before the class whose weights the graphs replace."""

    def __init__(self, files: Place, graphs: TokenizerGraphs) -> None:
        with torch.device("meta"):
            super().__init__(graphs.config)
        self.encoder = self.decoder = nn.Identity()  # type: ignore[assignment]
        self.label_embedding = nn.Identity() if graphs.config.labels else None  # type: ignore[assignment]
        self.quant_proj = nn.Linear(1, 1)  # says where the tokenizer is
        self.quantize = SessionQuantizer(files, graphs)
        self._encoders, self._graphs = _sessions(files, graphs.encode), graphs

    def encode(self, x: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        self._check(x)
        size = "x".join(map(str, x.shape[-2:])) if self.config.kind == "vit" else ""
        given = x.long() if self.config.labels else x.float()
        return _of_size(self._encoders, size, "pixels")(values=given.cpu())[0]

    def fingerprint(self) -> str:
        """See `Tokenizer.fingerprint`; that of the tokenizer that was exported."""
        return self._graphs.fingerprint

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """What tells this tokenizer from others: the hashes of the graphs."""
        return _hashes(self._graphs)

    def _apply(self, fn: object, recurse: bool = True) -> _InGraphs:
        return self


class SessionVQTokenizer(_InGraphs, VQTokenizer):
    """A feed-forward tokenizer by graphs."""

    def __init__(self, files: Place, graphs: TokenizerGraphs) -> None:
        super().__init__(files, graphs)
        self._decoders, self.post_quant_proj = _sessions(files, graphs.decode), nn.Linear(1, 1)

    def _reconstruct(self, codes_BNL: Tensor, grid: tuple[int, int], **options: Any) -> Tensor:
        size = "x".join(map(str, grid)) if self._has_grid else ""
        return _of_size(self._decoders, size, "tokens")(codes=codes_BNL)[0]


class SessionDiffusionTokenizer(_InGraphs, DiffusionTokenizer):
    """A tokenizer whose decoder denoises, by graphs; noise and solvers are those of PyTorch."""

    def __init__(self, files: Place, graphs: TokenizerGraphs) -> None:
        super().__init__(files, graphs)
        assert graphs.config.noise is not None
        self.noise = Noise(graphs.config.noise)
        self.decoder = _Denoiser(_sessions(files, graphs.denoise))  # type: ignore[assignment]


class _Denoiser(nn.Module):
    """The graph of a decoder that denoises."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        super().__init__()
        self.sessions = sessions

    def forward(self, noisy: Tensor, timesteps: Tensor, codes: Tensor) -> Tensor:
        size = "x".join(map(str, codes.shape[-2:]))
        return _of_size(self.sessions, size, "tokens")(noisy=noisy, timesteps=timesteps, codes=codes)[0]


def tokenizer_of_graphs(files: Place, graphs: TokenizerGraphs) -> Tokenizer:
    """The tokenizer in graphs of a folder, whose files are opened when they are needed."""
    kind = SessionVQTokenizer if graphs.config.noise is None else SessionDiffusionTokenizer
    return kind(files, graphs).eval().requires_grad_(False)


def deferred(files: Place, graphs: TokenizerGraphs) -> partial[Tokenizer]:
    """Makes the tokenizer when a modality first needs it."""
    return partial(tokenizer_of_graphs, files, graphs)


def _hashes(graphs: TokenizerGraphs) -> dict[str, Tensor]:
    """The hash of each graph, under the part of a tokenizer that it stands for."""
    sides = {"encoder": graphs.encode, "decoder": graphs.decode | graphs.denoise}
    sides["quantize"] = {"lookup": graphs.lookup, "mean": graphs.mean}
    return {
        f"{side}.{each.file}": torch.tensor(list(bytes.fromhex(each.sha256)))
        for side, named in sides.items()
        for each in named.values()
    }


def _sessions(files: Place, graphs: Mapping[str, Graph]) -> dict[str, Session]:
    return {size: Session(files, graph) for size, graph in graphs.items()}


def _of_size(sessions: Mapping[str, Session], size: str, unit: str) -> Session:
    """The graph for a size. Raises ValueProblem where there is none."""
    if size not in sessions:
        raise ValueProblem(f"this ONNX model has graphs for {', '.join(sessions)} {unit}, not for {size}; resize it")
    return sessions[size]
