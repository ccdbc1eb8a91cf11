"""What a folder of ONNX graphs says of itself: manifest.json, for this library and for programs in other languages."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import attrs

from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError
from anymodal.files import read_object
from anymodal.sessions import FORMAT
from anymodal.tokenizers.config import TokenizerConfig

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
PLACE = re.compile(r"[a-z0-9_]+(?:[./-][a-z0-9_]+)*\.onnx")  # of a file in the folder or below it, and nowhere else
LARGEST = 2**31 - 1  # bytes of a file of one graph, as protobuf has it


@attrs.frozen
class Port:
    """A tensor that goes into a graph or comes out of it: its type, and its axes as numbers or the names of what may
    vary."""

    dtype: str
    shape: tuple[Any, ...]


@attrs.frozen(kw_only=True)
class Graph:
    """One graph: its file with its size and hash, its tensors, and how far its outputs are from PyTorch's.

    `error` is the root of the mean square of the differences, over that of PyTorch's outputs; of ids it is the share of
    those that differ.
    """

    file: str
    sha256: str
    bytes: int
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    error: float


@attrs.frozen(kw_only=True)
class TokenizerGraphs:
    """The graphs of one tokenizer. Those of pictures are for one size each: "64x64" pixels, "8x8" tokens.

    encode: tensors to ids (B, N); pictures (B, C, H, W), label maps (B, H, W), or vectors (B, C) under the size "".
    lookup: ids to codes (B, N / codebooks, latent). mean: probabilities (B, N, size) to mean codes.
    decode: codes to tensors, of a feed-forward decoder. denoise: one prediction of a decoder that denoises.
    """

    config: TokenizerConfig
    fingerprint: str
    codebooks: int
    encode: dict[str, Graph]
    lookup: Graph
    mean: Graph
    decode: dict[str, Graph] = attrs.field(factory=dict)
    denoise: dict[str, Graph] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class StreamRows:
    """One stream: its place in the order of streams, its first rows in the joint tables (None where it has none), and
    what it is; ids of a stream plus `input_row` are what `encode` reads, plus `query_row` what `decode` is fed."""

    name: str
    modality: str
    index: int
    kind: str
    length: int
    position_row: int
    input_row: int | None = None
    query_row: int | None = None
    size: int | None = None
    width: int | None = None
    shape: tuple[int, int] | None = None
    head: str | None = None
    sentinels: tuple[int, int] | None = None
    end: int | None = None


@attrs.frozen(kw_only=True)
class Manifest:
    """Everything in a folder of graphs.

    precision: how weights are stored. encode, read, decode, heads: the Transformer, see `anymodal.sessions`; `heads`
    are by the vocabulary that they score. sampling: the defaults of each target, "grounded" with a photograph among the
    inputs and "free" without. files: the sha256 of the other files. modalities: the settings of each,
    and the mean and std by which pixels are standardized.
    """

    format: str
    format_version: int
    anymodal: str
    precision: str
    width: int
    heads_of_attention: int
    decoder_depth: int
    registers: int
    streams: list[StreamRows]
    encode: Graph
    read: Graph
    decode: Graph
    heads: dict[str, Graph]
    tokenizers: dict[str, TokenizerGraphs]
    sampling: dict[str, dict[str, Any]]
    modalities: dict[str, dict[str, Any]]
    files: dict[str, str]

    @property
    def targets(self) -> list[str]:
        """The modalities that can be generated."""
        return list(self.sampling)

    def graphs(self) -> list[Graph]:
        """All graphs."""
        of_tokenizers = [
            graph
            for each in self.tokenizers.values()
            for graph in (each.lookup, each.mean, *each.encode.values(), *each.decode.values(), *each.denoise.values())
        ]
        return [self.encode, self.read, self.decode, *self.heads.values(), *of_tokenizers]


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file. Raises CheckpointError for another format or version, or what is no manifest."""
    raw = read_object(path)
    if raw.get("format") != FORMAT or raw.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(f"{path} is no manifest of version {FORMAT_VERSION}; run anymodal export again")
    try:
        manifest = structure(raw, Manifest, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    for graph in manifest.graphs():
        if not PLACE.fullmatch(graph.file):
            raise CheckpointError(f"{path} names a graph {graph.file!r:.80}, which cannot be a file beside it")
    return manifest


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
