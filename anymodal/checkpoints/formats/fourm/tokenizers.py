"""Published 4M tokenizers: their weights against ours, both directions, and whole ones in files of their format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anymodal.checkpoints.deferred import AnyTokenizer, tokenizer_outline
from anymodal.checkpoints.formats.fourm.files import is_single_file, write_published
from anymodal.checkpoints.formats.fourm.keys import Key, Reader, written
from anymodal.checkpoints.formats.fourm.layout import TOKENIZER
from anymodal.checkpoints.formats.fourm.tokenizer_config import Preset, parse_tokenizer_config, write_tokenizer_config
from anymodal.checkpoints.raw_config import RawConfig, read_raw_config
from anymodal.checkpoints.repository import Files, local_files
from anymodal.checkpoints.swap import replacing_checkpoint
from anymodal.checkpoints.weights import open_weights
from anymodal.tokenizers.config import TokenizerConfig, UNetConfig, UViTConfig, ViTConfig
from anymodal.tokenizers.networks.vit import position_table

Renames = tuple[tuple[re.Pattern[str], str], ...]


def _patterns(*pairs: tuple[str, str]) -> Renames:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


_RENAMED = _patterns(
    (r"^label_embedding\.", "cls_emb."),
    (r"^(encoder|decoder)\.blocks\.(\d+)\.norm\.", r"\1.layernorms.\2."),
    (r"^(encoder|decoder)\.blocks\.(\d+)\.fc1\.", r"\1.blocks.\2.block.0."),
    (r"^(encoder|decoder)\.blocks\.(\d+)\.fc2\.", r"\1.blocks.\2.block.2."),
    (r"^quantize\.(to_[kv])$", r"quantize.\1.weight"),
)
_UNET = _patterns(
    (r"^decoder\.time\.fc1\.", "decoder.time_embed.0."),
    (r"^decoder\.time\.fc2\.", "decoder.time_embed.2."),
    (r"^decoder\.norm_out\.", "decoder.out.0."),
    (r"^decoder\.conv_out\.", "decoder.out.2."),
    (r"^(decoder\.down\.\d+\.0)\.conv\.", r"\1.op."),
    (r"^decoder\.down\.", "decoder.input_blocks."),
    (r"^decoder\.middle\.", "decoder.middle_block."),
    (r"^decoder\.up\.", "decoder.output_blocks."),
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.skip\.", ".skip_connection."),
    (r"\.proj\.", ".proj_out."),
)
_UVIT = _patterns(
    (r"^decoder\.time\.fc(\d)\.", r"decoder.time_embedding.linear_\1."),
    (r"^decoder\.norm_out\.", "decoder.conv_norm_out."),
    (r"^decoder\.shrink\.conv\.", "decoder.downsample_mid.Conv2d_0."),
    (r"^decoder\.grow\.", "decoder.upsample_mid."),
    (r"^decoder\.middle\.(proj_in|proj_out|cond_proj)\.", r"decoder.mid_block.mid_\1."),
    (r"^decoder\.middle\.mask_token$", "decoder.mid_block.mask_token"),
    (r"^decoder\.middle\.blocks\.(\d+)\.(modulation|gate)\.", r"decoder.mid_block.mid_block.\1.adaLN_\2."),
    (r"^decoder\.middle\.blocks\.", "decoder.mid_block.mid_block."),
    (r"^decoder\.(down|up)\.(\d+)\.blocks\.", r"decoder.\1_blocks.\2.resnets."),
    (r"^decoder\.(down|up)\.(\d+)\.resize\.", r"decoder.\1_blocks.\2.\1samplers.0."),
    (r"\.time\.", ".time_emb_proj."),
    (r"\.skip\.", ".conv_shortcut."),
)
_CODEBOOK = {"codes": "embed", "cluster_size": "cluster_size", "initialised": "initted"}


def tokenizer_keys(tokenizer: AnyTokenizer) -> Iterator[Key]:
    """Every tensor that the published file of a tokenizer has; works on the meta device too."""
    config = tokenizer.config
    for name, tensor in tokenizer.state_dict().items():
        published, shape = _published_name(name, config), tuple(tensor.shape)
        if name.startswith("quantize.") and config.quantizer.kind == "cosine":
            shape = shape or (1,)
        elif name in ("quant_proj.weight", "post_quant_proj.weight"):
            shape = (*shape, 1, 1)
        elif name == "encoder.proj.weight" and isinstance(config.encoder, ViTConfig):
            stride = config.encoder.stride
            shape = (shape[0], config.channels, stride, stride)
        elif isinstance(config.decoder, UNetConfig) and re.search(r"^decoder.*\.(qkv|proj)\.weight$", name):
            shape = (*shape, 1)
        yield Key(published, shape, name)
        if ".Conv2d_0." in published:  # 4M stores this convolution under two names
            yield Key(published.replace(".Conv2d_0.", ".conv."), shape, name)
    yield from _position_keys(config)


def _published_name(name: str, config: TokenizerConfig) -> str:
    if config.quantizer.kind == "cosine" and name.startswith("quantize."):
        return f"quantize._codebook.{_CODEBOOK[name.removeprefix('quantize.')]}"
    renames = _RENAMED
    if name.startswith("decoder.") and isinstance(config.decoder, UNetConfig | UViTConfig):
        renames = _UNET if isinstance(config.decoder, UNetConfig) else _UVIT
    for pattern, replacement in renames:
        name = pattern.sub(replacement, name)
    return name


def _position_keys(config: TokenizerConfig) -> Iterator[Key]:
    encoder, decoder = config.encoder, config.decoder
    tables: list[tuple[str, int, int]] = []
    if isinstance(encoder, ViTConfig):
        tables.append(("encoder.pos_emb", encoder.dim, (config.encoder_size or config.image_size) // encoder.patch))
    if isinstance(decoder, ViTConfig):
        tables.append(("decoder.pos_emb", decoder.dim, config.image_size // decoder.patch))
    elif isinstance(decoder, UViTConfig):
        tables.append(("decoder.mid_block.mid_pos_emb", decoder.dim, decoder.side))
    for name, dim, side in tables:
        yield Key(name, (1, dim, side, side), fixed=partial(position_table, dim, side, side))


def load_published_tokenizer(path: str | Path, presets: Mapping[str, Preset] | None = None) -> AnyTokenizer:
    """A published tokenizer in float32, from a folder or a single file, in evaluation mode. Raises CheckpointError."""
    files = local_files(Path(path))
    return read_published_tokenizer(files, read_raw_config(files), presets)


def read_published_tokenizer(files: Files, raw: RawConfig, presets: Mapping[str, Preset] | None = None) -> AnyTokenizer:
    """The tokenizer in `files` with that config; see `load_published_tokenizer`."""
    config = parse_tokenizer_config(raw.values, raw.source, presets)
    with open_weights(files) as file:
        return tokenizer_in(file, config, file.source)


def tokenizer_in(file: Any, config: TokenizerConfig, source: str) -> AnyTokenizer:
    """The tokenizer in an open weight file of that config; see `load_published_tokenizer`."""
    tokenizer = tokenizer_outline(config, source, len(file.keys()))
    reader = Reader(file, tokenizer_keys(tokenizer), source)
    reader.check_headers()
    reader.check_constants()
    state = {name: _as_ours(reader(name), tensor) for name, tensor in tokenizer.state_dict().items()}
    tokenizer.load_state_dict(state, assign=True)
    return tokenizer.eval().requires_grad_(False)


def _as_ours(value: Tensor | None, like: Tensor) -> Tensor:
    assert value is not None, "the reader has checked all names"
    return value.reshape(like.shape).to(like.dtype)


def published_tokenizer_state(tokenizer: AnyTokenizer) -> dict[str, Tensor]:
    """The tensors of a tokenizer under their published names."""
    state = dict(written(tokenizer_keys(tokenizer), tokenizer.state_dict()))
    return {name: value.float() if value.dtype == torch.bool else value for name, value in state.items()}


def write_published_tokenizer(
    tokenizer: AnyTokenizer, target: Path, presets: Mapping[str, Preset] | None = None
) -> Path:
    """Write the files of a tokenizer into a folder, or one file if `target` ends in .safetensors."""
    config = write_tokenizer_config(tokenizer.config, presets)
    return write_published(published_tokenizer_state(tokenizer), config, target)


def save_published_tokenizer(
    tokenizer: AnyTokenizer, path: str | Path, presets: Mapping[str, Preset] | None = None
) -> Path:
    """Write a tokenizer in the published format, whole or not at all.

    Args:
        tokenizer: the tokenizer.
        path: a folder, where an older one is replaced, or a file that ends in .safetensors.
        presets: names of encoders and decoders beside 4M's own.

    Returns:
        `path`.

    Raises:
        CheckpointError: 4M has no name for the architecture, or the folder holds something else.
        DataError: it cannot be written.
    """
    path = Path(path)
    if is_single_file(path):
        return write_published_tokenizer(tokenizer, path, presets)
    with replacing_checkpoint(path, TOKENIZER) as staging:
        write_published_tokenizer(tokenizer, staging, presets)
    return path
