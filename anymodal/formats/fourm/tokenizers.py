"""Published 4M tokenizers: configs and weights of the VQ-VAE ones (4M, arXiv 2312.06647), both directions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from anymodal.errors import CheckpointError, ConfigError, nearest
from anymodal.formats.fourm import files
from anymodal.formats.fourm.keys import Key, Reader, written
from anymodal.tokenizers.config import MLPConfig, QuantizerConfig, TokenizerConfig, ViTConfig
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.tokenizers.vit import position_table

DIFFUSION = re.compile(r"unet|uvit|controlnet", re.IGNORECASE)
MLP_NAME = re.compile(r"BottleneckMLP/B_(\d{1,3})-Wi_(\d{1,5})(?:-E_(\d{1,3}))?")
DEFAULTS: dict[str, Any] = {
    "image_size": 224,
    "n_channels": 3,
    "n_labels": None,
    "enc_type": "vit_b_enc",
    "dec_type": "vit_b_dec",
    "patch_proj": True,
    "post_mlp": False,
    "patch_size": 16,
    "quant_type": "lucid",
    "codebook_size": 16384,
    "num_codebooks": 1,
    "latent_dim": 32,
    "norm_codes": True,
    "norm_latents": False,
    "undo_std": False,
    "out_conv": False,
}
SIDES = ("enc_type", "dec_type")
QUANTIZERS = {"lucid": "cosine", "memcodes": "product"}


@attrs.frozen
class ViTSize:
    """Width, number of blocks and attention heads of a vision transformer that configs name."""

    dim: int
    depth: int
    heads: int


SIZES = {"vit_s": ViTSize(512, 8, 8), "vit_b": ViTSize(768, 12, 12), "vit_l": ViTSize(1024, 24, 16)}


def parse_tokenizer_config(
    raw: Mapping[str, Any], source: str, sizes: Mapping[str, ViTSize] | None = None
) -> TokenizerConfig:
    """Our config of a published tokenizer; keys that only training reads are ignored.

    `sizes` adds presets by their name without `_enc` or `_dec`. Raises CheckpointError for what cannot be built.
    """
    if "enc_type" not in raw or "dec_type" not in raw:
        raise CheckpointError(f"{source} does not describe a 4M tokenizer: it has no 'enc_type' and 'dec_type'")
    values = {key: raw.get(key, default) for key, default in DEFAULTS.items()}
    if DIFFUSION.search(str(values["dec_type"])) or "beta_schedule" in raw:
        raise CheckpointError(f"{source}: diffusion decoders are not supported yet (dec_type {values['dec_type']!r})")
    _refuse_variants(raw, values, source)
    known = {**SIZES, **(sizes or {})}
    mlp = str(values["enc_type"]).startswith("BottleneckMLP")
    try:
        sides = [_mlp(values[key], source) if mlp else _vit(values, key, known, source) for key in SIDES]
        return TokenizerConfig(
            kind="mlp" if mlp else "vit",
            channels=values["n_channels"],
            encoder=sides[0],
            decoder=sides[1],
            quantizer=QuantizerConfig(
                kind=QUANTIZERS[values["quant_type"]],  # type: ignore[arg-type]
                size=values["codebook_size"],
                latent=values["latent_dim"],
                codebooks=values["num_codebooks"],
            ),
            image_size=224 if mlp else values["image_size"],
            labels=values["n_labels"],
            refine=bool(values["out_conv"]),
        )
    except ConfigError as error:
        raise CheckpointError(f"{source}: {error}") from None


def _refuse_variants(raw: Mapping[str, Any], values: Mapping[str, Any], source: str) -> None:
    """Raise CheckpointError for variants that no published tokenizer uses and that would give other numbers."""
    if values["quant_type"] not in QUANTIZERS:
        known = ", ".join(QUANTIZERS)
        raise CheckpointError(f"{source}: quant_type must be one of {known}, got {values['quant_type']!r}")
    if values["quant_type"] == "lucid" and not values["norm_codes"]:
        raise CheckpointError(f"{source}: codebooks searched by distance (norm_codes false) are not supported")
    for key in ("norm_latents", "undo_std"):
        if values[key]:
            raise CheckpointError(f"{source}: {key} is not supported")
    for key in ("image_size_enc", "image_size_dec", "patch_size_dec"):
        base = key.rpartition("_")[0]
        if raw.get(key) not in (None, values[base]):
            raise CheckpointError(f"{source}: {key} {raw[key]!r} differs from {base}, which is not supported")


def _mlp(name: Any, source: str) -> MLPConfig:
    match = MLP_NAME.fullmatch(str(name))
    if match is None:
        raise CheckpointError(f"{source}: {name!r} is not of the form BottleneckMLP/B_6-Wi_1024")
    return MLPConfig(width=int(match[2]), blocks=int(match[1]), expansion=int(match[3] or 4))


def _vit(values: Mapping[str, Any], key: str, known: Mapping[str, ViTSize], source: str) -> ViTConfig:
    name = str(values[key])
    suffix = "_enc" if key == "enc_type" else "_dec"
    size = known.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
    if size is None:
        raise CheckpointError(f"{source}: unknown {key} {name!r}{nearest(name, [k + suffix for k in known])}")
    return ViTConfig(
        **attrs.asdict(size),
        patch=values["patch_size"],
        patch_projection=bool(values["patch_proj"]),
        post_mlp=bool(values["post_mlp"]),
    )


def write_tokenizer_config(config: TokenizerConfig, sizes: Mapping[str, ViTSize] | None = None) -> dict[str, Any]:
    """The published config of a tokenizer. Raises CheckpointError where 4M has no name for its architecture."""
    encoder, decoder, quantizer = config.encoder, config.decoder, config.quantizer
    vit = encoder if isinstance(encoder, ViTConfig) else None
    shared = ("patch", "patch_projection", "post_mlp")
    if vit is not None and any(getattr(vit, name) != getattr(decoder, name) for name in shared):
        raise CheckpointError(f"4M tokenizers have the same {', '.join(shared)} on both sides, this one does not")
    return DEFAULTS | {
        "image_size": config.image_size,
        "n_channels": config.channels,
        "n_labels": config.labels,
        "enc_type": _side_name(encoder, "_enc", sizes),
        "dec_type": _side_name(decoder, "_dec", sizes),
        "patch_proj": vit.patch_projection if vit else False,
        "post_mlp": vit.post_mlp if vit else False,
        "patch_size": vit.patch if vit else 16,
        "quant_type": {ours: theirs for theirs, ours in QUANTIZERS.items()}[quantizer.kind],
        "codebook_size": quantizer.size,
        "num_codebooks": quantizer.codebooks,
        "latent_dim": quantizer.latent,
        "out_conv": config.refine,
    }


def _side_name(side: ViTConfig | MLPConfig, suffix: str, sizes: Mapping[str, ViTSize] | None) -> str:
    if isinstance(side, MLPConfig):
        expansion = "" if side.expansion == 4 else f"-E_{side.expansion}"
        return f"BottleneckMLP/B_{side.blocks}-Wi_{side.width}{expansion}"
    size = ViTSize(side.dim, side.depth, side.heads)
    for name, known in {**SIZES, **(sizes or {})}.items():
        if known == size:
            return name + suffix
    raise CheckpointError(f"4M has no name for a vision transformer of {size}")


_RENAMED = (
    (re.compile(r"^label_embedding\."), "cls_emb."),
    (re.compile(r"^(encoder|decoder)\.blocks\.(\d+)\.norm\."), r"\1.layernorms.\2."),
    (re.compile(r"^(encoder|decoder)\.blocks\.(\d+)\.fc1\."), r"\1.blocks.\2.block.0."),
    (re.compile(r"^(encoder|decoder)\.blocks\.(\d+)\.fc2\."), r"\1.blocks.\2.block.2."),
    (re.compile(r"^quantize\.(to_[kv])$"), r"quantize.\1.weight"),
)
_CODEBOOK = {"codes": "embed", "cluster_size": "cluster_size", "initialised": "initted"}


def tokenizer_keys(tokenizer: VQTokenizer) -> Iterator[Key]:
    """Every tensor that the published file of a tokenizer has; works on the meta device too."""
    config = tokenizer.config
    for name, tensor in tokenizer.state_dict().items():
        published, shape = name, tuple(tensor.shape)
        if config.quantizer.kind == "cosine" and name.startswith("quantize."):
            published = f"quantize._codebook.{_CODEBOOK[name.removeprefix('quantize.')]}"
            shape = shape or (1,)
        for pattern, replacement in _RENAMED:
            published = pattern.sub(replacement, published)
        if name in ("quant_proj.weight", "post_quant_proj.weight"):
            shape = (*shape, 1, 1)
        elif name == "encoder.proj.weight" and isinstance(config.encoder, ViTConfig):
            stride = config.encoder.stride
            shape = (shape[0], config.channels, stride, stride)
        yield Key(published, shape, name)
    for prefix, side in (("encoder", config.encoder), ("decoder", config.decoder)):
        if isinstance(side, ViTConfig):
            dim, rows = side.dim, config.image_size // side.patch
            yield Key(f"{prefix}.pos_emb", (1, dim, rows, rows), fixed=partial(position_table, dim, rows, rows))


def load_tokenizer(path: str | Path, sizes: Mapping[str, ViTSize] | None = None) -> VQTokenizer:
    """A published tokenizer in float32, from a folder or a single file, in evaluation mode. Raises CheckpointError."""
    path = Path(path)
    raw, source = files.read_config(path)
    config = parse_tokenizer_config(raw, source, sizes)
    with files.open_weights(files.weights_path(path)) as file:
        return read_tokenizer(file, config, str(files.weights_path(path)))


def read_tokenizer(file: Any, config: TokenizerConfig, source: str) -> VQTokenizer:
    """The tokenizer in an open weight file of that config; see `load_tokenizer`."""
    with torch.device("meta"):
        tokenizer = VQTokenizer(config)
    reader = Reader(file, tokenizer_keys(tokenizer), source)
    reader.check_constants()
    state = {name: _as_ours(reader(name), tensor) for name, tensor in tokenizer.state_dict().items()}
    tokenizer.load_state_dict(state, assign=True)
    return tokenizer.eval().requires_grad_(False)


def _as_ours(value: Tensor | None, like: Tensor) -> Tensor:
    assert value is not None, "the reader has checked all names"
    return value.reshape(like.shape).to(like.dtype)


def published_tokenizer_state(tokenizer: VQTokenizer) -> dict[str, Tensor]:
    """The tensors of a tokenizer under their published names."""
    state = dict(written(tokenizer_keys(tokenizer), tokenizer.state_dict()))
    return {name: value.float() if value.dtype == torch.bool else value for name, value in state.items()}


def save_tokenizer(tokenizer: VQTokenizer, path: str | Path, sizes: Mapping[str, ViTSize] | None = None) -> Path:
    """Write a tokenizer in the published format: a folder, or one file if `path` ends in .safetensors."""
    path, config = Path(path), write_tokenizer_config(tokenizer.config, sizes)
    write = files.write_single if path.suffix == ".safetensors" else files.write_folder
    return write(published_tokenizer_state(tokenizer), config, path)
