"""Published 4M Transformers: their weights by name (4M, arXiv 2312.06647), loading and saving."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anymodal.checkpoints.formats.fourm.config import parse_model_config, write_model_config
from anymodal.checkpoints.formats.fourm.domains import POSITION_ROWS, domain_of
from anymodal.checkpoints.formats.fourm.files import write_published
from anymodal.checkpoints.formats.fourm.keys import Key, Reader, written
from anymodal.checkpoints.raw_config import read_raw_config
from anymodal.checkpoints.repository import local_files
from anymodal.checkpoints.state import allocated, outline, parts
from anymodal.checkpoints.weights import open_weights
from anymodal.errors import CheckpointError, nearest
from anymodal.model import ModelConfig, Transformer
from anymodal.nn.sincos import sincos_1d, sincos_2d
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout

RENAMED = {"context_proj": "decoder_proj_context"}


def transformer_keys(model: Transformer) -> list[Key]:
    """Every tensor that the published file of a model has; works on the meta device too."""
    ours = {part.name: part.tensor for part in parts(model)}
    dim, config = model.config.dim, model.config
    keys = [Key("mask_token", (1, 1, dim), "query")]
    if config.registers:
        keys.append(Key("register_tokens", (1, config.registers, dim), "registers"))
    for stream in model.layout.streams:
        keys += _embedding_keys(model, stream)
    for name, tensor in ours.items():
        stem, _, rest = name.partition(".")
        if stem in ("encoder", "encoder_norm", "decoder", "decoder_norm", *RENAMED):
            published = f"{RENAMED.get(stem, stem)}.{rest}"
            keys.append(Key(published, tuple(tensor.shape), name))
            if published.split(".")[-2].endswith(("norm", "norm1", "norm2")) and not config.norm_bias:
                keys.append(_zero_bias(published, tensor.shape[0]))
    return keys


def _zero_bias(weight: str, width: int) -> Key:
    return Key(f"{weight.removesuffix('weight')}bias", (width,), fixed=lambda: torch.zeros(width))


def _embedding_keys(model: Transformer, stream: Stream) -> Iterator[Key]:
    dim, space, name = model.config.dim, stream.space, domain_of(stream.name).name
    mod_emb = (1, 1, dim)
    if stream.input:
        prefix = f"encoder_embeddings.{name}"
        yield Key(f"{prefix}.mod_emb", mod_emb, f"input_streams.{stream.name}")
        yield _positions(prefix, stream, "input_positions", dim)
        if isinstance(space, TokenSpace):
            yield Key(f"{prefix}.token_emb.weight", (space.size, dim), f"inputs.{stream.name}")
        else:
            layer = "emb_proj" if stream.is_sequence else "proj"
            yield Key(f"{prefix}.{layer}.weight", (dim, space.width), f"projections.{stream.name}.weight")
            if space.bias:
                yield Key(f"{prefix}.{layer}.bias", (dim,), f"projections.{stream.name}.bias")
    if stream.target and isinstance(space, TokenSpace):
        prefix = f"decoder_embeddings.{name}"
        side = "input_streams" if model.config.tied_streams else "target_streams"
        yield Key(f"{prefix}.mod_emb", mod_emb, f"{side}.{stream.name}")
        yield _positions(prefix, stream, "target_positions", dim)
        fed = f"queries.{stream.name}" if stream.is_sequence else None
        yield Key(f"{prefix}.token_emb.weight", (space.size, dim), fed)
        yield Key(f"{prefix}.to_logits.weight", (space.size, dim), f"outputs.{stream.name}")


def _positions(prefix: str, stream: Stream, side: str, dim: int) -> Key:
    space, name = stream.space, f"{prefix}.pos_emb"
    if space.learned:
        return Key(name, (1, space.length, dim), f"{side}.{stream.name}")
    if space.shape is not None:
        rows, columns = space.shape
        return Key(name, (1, space.length, dim), fixed=lambda: sincos_2d(rows, columns, dim))
    return Key(name, (1, POSITION_ROWS, dim), fixed=lambda: sincos_1d(POSITION_ROWS, dim))


def load_transformer(path: str | Path, streams: Collection[str] | None = None) -> Transformer:
    """A published model in float32, from a folder or a single file, in evaluation mode.

    `streams` names those to keep (ours, such as 'depth' or 'rgb.pixels'); only their tables are read, though all names
    in the file are checked. Raises CheckpointError.
    """
    files = local_files(Path(path))
    raw = read_raw_config(files)
    config, layout = parse_model_config(raw.values, raw.source)
    with open_weights(files) as file:
        return read_transformer(file, config, layout, file.source, streams)


def read_transformer(
    file: Any,
    config: ModelConfig,
    layout: Layout,
    source: str,
    streams: Collection[str] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Transformer:
    """The model in an open weight file of that config; see `load_transformer`."""
    return read_streams(file, config, layout, restrict(layout, streams), source, dtype)


def read_streams(
    file: Any, config: ModelConfig, layout: Layout, kept: Layout, source: str, dtype: torch.dtype = torch.float32
) -> Transformer:
    """The model over `kept`, streams of `layout` in any order; only their tensors are read, piece by piece."""
    whole, model = (outline(config, part, source, len(file.keys())) for part in (layout, kept))
    needed = transformer_keys(model)
    reader = Reader(file, transformer_keys(whole), source)
    reader.check_headers(needed)
    reader.check_constants(needed)
    model = allocated(model, dtype)
    for name, view in parts(model):
        if not reader.copy(name, view):
            if "_positions." not in name:
                raise CheckpointError(f"{source} has no tensor for {name!r}; it is incomplete or of another model")
            view.zero_()  # positions of a side that the stream does not take part in
    return model


def restrict(layout: Layout, streams: Collection[str] | None) -> Layout:
    """The layout of some streams, in its order. Raises CheckpointError for a stream that it does not have."""
    if streams is None:
        return layout
    for name in streams:
        if name not in layout:
            raise CheckpointError(f"the checkpoint has no stream {name!r}{nearest(name, layout.index)}")
    kept = [stream for stream in layout.streams if stream.name in streams]
    return Layout(kept, {s.name: layout.position_rows[s.name] for s in kept if s.name in layout.position_rows})


def published_state(model: Transformer, unused: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The tensors of a model under their published names.

    `unused` gives the decoder's token embeddings of grids, which 4M stores but never reads; they are zero otherwise.
    """
    return dict(written(transformer_keys(model), {p.name: p.tensor for p in parts(model)}, unused))


def save_transformer(model: Transformer, path: str | Path, unused: Mapping[str, Tensor] | None = None) -> Path:
    """Write the files of a model in the published format: into a folder, or one file if `path` ends in .safetensors.

    Raises CheckpointError for streams that 4M does not have.
    """
    config = write_model_config(model.config, model.layout)
    return write_published(published_state(model, unused), config, Path(path))
