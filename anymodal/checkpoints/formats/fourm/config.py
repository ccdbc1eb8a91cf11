"""config.json of a published 4M model -> (ModelConfig, Layout), and back (4M, arXiv 2312.06647)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anymodal.checkpoints.formats.fourm.domains import BASE_SIZE, POSITION_ROWS, domain, domain_of
from anymodal.errors import CheckpointError, ConfigError, brief
from anymodal.model import ModelConfig
from anymodal.spaces import TokenSpace
from anymodal.tokens import Layout

ACTIVATIONS = {"SiLU": "silu", "GELU": "gelu"}
REQUIRED = {
    "dim": "dim",
    "encoder_depth": "encoder_depth",
    "decoder_depth": "decoder_depth",
    "num_heads": "heads",
}
SWITCHES = {
    "qkv_bias": ("qkv_bias", True),
    "proj_bias": ("proj_bias", True),
    "mlp_bias": ("mlp_bias", True),
    "norm_bias": ("norm_bias", True),
    "gated_mlp": ("gated", False),
    "qk_norm": ("qk_norm", False),
    "share_modality_embeddings": ("tied_streams", True),
    "decoder_causal_mask": ("causal_targets", False),
    "decoder_sep_mask": ("separate_targets", True),
}


def parse_model_config(raw: Mapping[str, Any], source: str) -> tuple[ModelConfig, Layout]:
    """Model and layout of a config; keys without influence on the weights are ignored.

    Raises CheckpointError for another architecture, an unknown domain or an impossible number.
    """
    missing = [key for key in ("domains_in", "domains_out", *REQUIRED, "act_layer") if key not in raw]
    if missing:
        raise CheckpointError(f"{source} does not describe a 4M model: it has no {missing[0]!r}")
    activation = raw["act_layer"]
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise CheckpointError(f"{source}: act_layer must be one of {', '.join(ACTIVATIONS)}, got {brief(activation)}")
    settings: dict[str, Any] = {ours: _whole(raw, key, source) for key, ours in REQUIRED.items()}
    settings |= {ours: _switch(raw, key, default, source) for key, (ours, default) in SWITCHES.items()}
    ratio = raw.get("mlp_ratio", 4.0)
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio < 1000:
        raise CheckpointError(f"{source}: mlp_ratio must be a positive number, got {brief(ratio)}")
    try:
        config = ModelConfig(
            **settings,
            mlp_ratio=float(ratio),
            activation=ACTIVATIONS[activation],
            registers=_whole(raw, "num_register_tokens", source, 0),
        )
    except ConfigError as error:
        raise CheckpointError(f"{source}: {error}") from None
    return config, _layout(_names(raw, "domains_in", source), _names(raw, "domains_out", source), source)


def _layout(read: list[str], written: list[str], source: str) -> Layout:
    found = [domain(name, source) for name in dict.fromkeys([*read, *written])]
    used = [d for d in found if d.name in read or isinstance(d.space, TokenSpace)]
    streams = [d.as_stream(d.name in read, d.name in written) for d in used]
    rows = {s.name: POSITION_ROWS for s in streams if s.is_sequence and not s.is_dense}
    return Layout(streams, rows)


def write_model_config(config: ModelConfig, layout: Layout) -> dict[str, Any]:
    """The config of a model whose streams are 4M's. Raises CheckpointError for a stream that 4M does not have."""
    names = {stream.name: domain_of(stream.name) for stream in layout.streams}
    for stream in layout.streams:
        theirs = names[stream.name]
        if stream.space != theirs.space:
            raise CheckpointError(f"the space of {stream.name!r} is not that of 4M's domain {theirs.name!r}")
    activation = {ours: theirs for theirs, ours in ACTIVATIONS.items()}[config.activation]
    return {
        "domains_in": [names[s.name].name for s in layout.streams if s.input],
        "domains_out": [names[s.name].name for s in layout.streams if s.target],
        **{theirs: getattr(config, ours) for theirs, ours in REQUIRED.items()},
        "mlp_ratio": config.mlp_ratio,
        "image_size": BASE_SIZE,
        "patch_size": 16,
        "act_layer": activation,
        **{theirs: getattr(config, ours) for theirs, (ours, _) in SWITCHES.items()},
        "num_register_tokens": config.registers,
    }


def _names(raw: Mapping[str, Any], key: str, source: str) -> list[str]:
    value = raw[key]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise CheckpointError(f"{source}: {key} must be a list of names, got {brief(value)}")
    return value


def _whole(raw: Mapping[str, Any], key: str, source: str, default: int | None = None) -> int:
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**20:
        raise CheckpointError(f"{source}: {key} must be a whole number, got {brief(value)}")
    return value


def _switch(raw: Mapping[str, Any], key: str, default: bool, source: str) -> bool:
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise CheckpointError(f"{source}: {key} must be true or false, got {brief(value)}")
    return value
