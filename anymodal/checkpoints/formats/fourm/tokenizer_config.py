"""Configs of published 4M tokenizers against ours, both directions (4M, arXiv 2312.06647).

A published config names its encoder and decoder; the presets behind the names are here, and more can be given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from anymodal.errors import CheckpointError, ConfigError, brief, nearest
from anymodal.tokenizers.config import (
    CONDITIONINGS,
    MLPConfig,
    NoiseConfig,
    TokenizerConfig,
    UNetConfig,
    UViTConfig,
    ViTConfig,
)
from anymodal.tokenizers.quantizers.config import QUANTIZERS as KINDS

MLP_NAME = re.compile(r"BottleneckMLP/B_(\d{1,3})-Wi_(\d{1,5})(?:-E_(\d{1,3}))?")
# Defaults of the original classes: a config that leaves out a key means these, not what other configs say.
DEFAULTS: dict[str, Any] = {
    "image_size": 224,
    "image_size_enc": None,
    "n_channels": 3,
    "n_labels": None,
    "enc_type": "vit_b_enc",
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
}
FEED_FORWARD: dict[str, Any] = {"dec_type": "vit_b_dec", "out_conv": False}
DIFFUSION: dict[str, Any] = {
    "dec_type": "unet_patched",
    "num_train_timesteps": 1000,
    "scheduler": "ddpm",
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "thresholding": True,
    "conditioning": "concat",
    "zero_terminal_snr": True,
}
QUANTIZERS = {"lucid": "cosine", "memcodes": "product"}


@attrs.frozen
class ViTSize:
    """Width, number of blocks, attention heads and width of the MLPs of a vision transformer that configs name."""

    dim: int
    depth: int
    heads: int
    expansion: int = 4


Preset = ViTSize | UNetConfig | UViTConfig
VITS = {"vit_s": ViTSize(512, 8, 8), "vit_b": ViTSize(768, 12, 12), "vit_l": ViTSize(1024, 24, 16)}
PRESETS: dict[str, Preset] = {
    **{f"{name}_{side}": size for name, size in VITS.items() for side in ("enc", "dec")},
    "unet_patched": UNetConfig(patch=4, channels=256, multipliers=(1, 2, 2, 2), blocks=3, attention=(4, 8)),
    "uvit_b_p4_f16": UViTConfig(patch=4, widths=(128, 256), blocks=2, dim=768, depth=12, heads=12),
    "uvit_l_p4_f16": UViTConfig(patch=4, widths=(128, 256), blocks=2, dim=1024, depth=24, heads=16),
    "uvit_h_p4_f16": UViTConfig(patch=4, widths=(128, 256), blocks=2, dim=1280, depth=32, heads=16),
}


def is_diffusion(raw: Mapping[str, Any]) -> bool:
    """Whether a config is of a tokenizer that decodes by denoising."""
    return "beta_schedule" in raw or str(raw.get("dec_type", "")).startswith(("unet", "uvit"))


def parse_tokenizer_config(
    raw: Mapping[str, Any], source: str, presets: Mapping[str, Preset] | None = None
) -> TokenizerConfig:
    """Our config of a published tokenizer; keys that only training reads are ignored.

    `presets` adds to the known names, whole ones such as `vit_x_enc` and `vit_x_dec`, which may be of different sizes.
    Raises CheckpointError for what cannot be built.
    """
    if "enc_type" not in raw or "dec_type" not in raw:
        raise CheckpointError(f"{source} does not describe a 4M tokenizer: it has no 'enc_type' and 'dec_type'")
    diffusion = is_diffusion(raw)
    defaults = DEFAULTS | (DIFFUSION if diffusion else FEED_FORWARD)
    values = {key: raw.get(key, default) for key, default in defaults.items()}
    known = PRESETS | dict(presets or {})
    _refuse_variants(raw, values, source)
    mlp = str(values["enc_type"]).startswith("BottleneckMLP")
    try:
        return TokenizerConfig(
            kind="mlp" if mlp else "vit",
            channels=values["n_channels"],
            encoder=_mlp(values["enc_type"], source) if mlp else _vit(values, "enc", known, source),
            decoder=_decoder(values, mlp, diffusion, known, source),
            quantizer=KINDS(
                {
                    "kind": QUANTIZERS[values["quant_type"]],
                    "size": values["codebook_size"],
                    "latent": values["latent_dim"],
                    "codebooks": values["num_codebooks"],
                }
            ),
            image_size=224 if mlp else values["image_size"],
            labels=values["n_labels"],
            refine=bool(values.get("out_conv")),
            noise=_noise(values) if diffusion else None,
            encoder_size=None if values["image_size_enc"] == values["image_size"] else values["image_size_enc"],
        )
    except ConfigError as error:
        raise CheckpointError(f"{source}: {error}") from None


def _refuse_variants(raw: Mapping[str, Any], values: Mapping[str, Any], source: str) -> None:
    """Raise CheckpointError for variants that no published tokenizer uses and that would give other numbers."""
    if "controlnet" in str(values["dec_type"]).lower() or any("controlnet" in key for key in raw):
        raise CheckpointError(f"{source}: decoders inside Stable Diffusion (ControlNet) are not supported")
    if not isinstance(values["quant_type"], str) or values["quant_type"] not in QUANTIZERS:
        known = ", ".join(QUANTIZERS)
        raise CheckpointError(f"{source}: quant_type must be one of {known}, got {brief(values['quant_type'])}")
    if values["quant_type"] == "lucid" and not values["norm_codes"]:
        raise CheckpointError(f"{source}: codebooks searched by distance (norm_codes false) are not supported")
    for key in ("norm_latents", "undo_std"):
        if values[key]:
            raise CheckpointError(f"{source}: {key} is not supported")
    for key in ("image_size_dec", "patch_size_dec"):
        base = key.rpartition("_")[0]
        if raw.get(key) not in (None, values[base]):
            raise CheckpointError(f"{source}: {key} {raw[key]!r} differs from {base}, which is not supported")
    if values.get("scheduler", "ddim") not in ("ddim", "ddpm"):
        raise CheckpointError(f"{source}: scheduler must be ddim or ddpm, got {values['scheduler']!r}")
    if str(values["dec_type"]).startswith("uvit") and values["conditioning"] not in CONDITIONINGS:
        known = " or ".join(CONDITIONINGS)
        raise CheckpointError(f"{source}: conditioning of a UViT is {known}, got {values['conditioning']!r}")


def _noise(values: Mapping[str, Any]) -> NoiseConfig:
    return NoiseConfig(
        schedule=str(values["beta_schedule"]),
        prediction=values["prediction_type"],
        timesteps=values["num_train_timesteps"],
        zero_terminal=bool(values["zero_terminal_snr"]),
        clip=bool(values["clip_sample"]),
        threshold=bool(values["thresholding"]),
        solver=values["scheduler"],
    )


def _decoder(
    values: Mapping[str, Any], mlp: bool, diffusion: bool, known: Mapping[str, Preset], source: str
) -> ViTConfig | MLPConfig | UNetConfig | UViTConfig:
    name = str(values["dec_type"])
    if diffusion:
        denoisers = {key: preset for key, preset in known.items() if not isinstance(preset, ViTSize)}
        if name not in denoisers:
            raise CheckpointError(f"{source}: unknown dec_type {name!r}{nearest(name, denoisers)}")
        denoiser = denoisers[name]
        if isinstance(denoiser, UViTConfig):
            return attrs.evolve(denoiser, conditioning=values["conditioning"])
        return denoiser
    return _mlp(name, source) if mlp else _vit(values, "dec", known, source)


def _mlp(name: Any, source: str) -> MLPConfig:
    match = MLP_NAME.fullmatch(str(name))
    if match is None:
        raise CheckpointError(f"{source}: {name!r} is not of the form BottleneckMLP/B_6-Wi_1024")
    return MLPConfig(width=int(match[2]), blocks=int(match[1]), expansion=int(match[3] or 4))


def _vit(values: Mapping[str, Any], side: str, known: Mapping[str, Preset], source: str) -> ViTConfig:
    name, suffix = str(values[f"{side}_type"]), f"_{side}"
    sizes = {key: preset for key, preset in known.items() if isinstance(preset, ViTSize) and key.endswith(suffix)}
    if name not in sizes:
        raise CheckpointError(f"{source}: unknown {side}_type {name!r}{nearest(name, sizes)}")
    return ViTConfig(
        **attrs.asdict(sizes[name]),
        patch=values["patch_size"],
        patch_projection=bool(values["patch_proj"]),
        post_mlp=bool(values["post_mlp"]),
    )


def write_tokenizer_config(config: TokenizerConfig, presets: Mapping[str, Preset] | None = None) -> dict[str, Any]:
    """The published config of a tokenizer. Raises CheckpointError where 4M has no name for its architecture."""
    encoder, decoder, quantizer = config.encoder, config.decoder, config.quantizer
    vit = encoder if isinstance(encoder, ViTConfig) else None
    shared = ("patch", "patch_projection", "post_mlp")
    if isinstance(decoder, ViTConfig) and any(getattr(vit, name) != getattr(decoder, name) for name in shared):
        raise CheckpointError(f"4M tokenizers have the same {', '.join(shared)} on both sides, this one does not")
    if quantizer.kind not in QUANTIZERS.values():
        raise CheckpointError(f"4M has no quantizers of kind {quantizer.kind!r}, so this tokenizer cannot be written")
    if config.overlap is not None:
        raise CheckpointError("4M tokenizers have no overlap behind their patches, so this one cannot be written")
    known = PRESETS | dict(presets or {})
    return DEFAULTS | {
        "image_size": config.image_size,
        "image_size_enc": config.encoder_size,
        "n_channels": config.channels,
        "n_labels": config.labels,
        "enc_type": _name(encoder, "_enc", known),
        "dec_type": _name(decoder, "_dec", known),
        "patch_proj": vit.patch_projection if vit else False,
        "post_mlp": vit.post_mlp if vit else False,
        "patch_size": vit.patch if vit else 16,
        "quant_type": {ours: theirs for theirs, ours in QUANTIZERS.items()}[quantizer.kind],
        "codebook_size": quantizer.size,
        "num_codebooks": quantizer.codebooks,
        "latent_dim": quantizer.latent,
        **({"out_conv": config.refine} if config.noise is None else _written_noise(config.noise)),
        **({"conditioning": decoder.conditioning} if isinstance(decoder, UViTConfig) else {}),
    }


def _written_noise(noise: NoiseConfig) -> dict[str, Any]:
    if noise.ceiling != 1:
        raise CheckpointError(f"4M thresholds predictions at 1; a ceiling of {noise.ceiling} cannot be written")
    return {
        "num_train_timesteps": noise.timesteps,
        "scheduler": noise.solver if noise.solver == "ddpm" else "ddim",
        "beta_schedule": noise.schedule,
        "prediction_type": noise.prediction,
        "clip_sample": noise.clip,
        "thresholding": noise.threshold,
        "conditioning": DIFFUSION["conditioning"],
        "zero_terminal_snr": noise.zero_terminal,
    }


def _name(side: ViTConfig | MLPConfig | UNetConfig | UViTConfig, suffix: str, known: Mapping[str, Preset]) -> str:
    if isinstance(side, MLPConfig):
        expansion = "" if side.expansion == 4 else f"-E_{side.expansion}"
        return f"BottleneckMLP/B_{side.blocks}-Wi_{side.width}{expansion}"
    wanted: Preset = ViTSize(side.dim, side.depth, side.heads, side.expansion) if isinstance(side, ViTConfig) else side
    if isinstance(wanted, UViTConfig):
        wanted = attrs.evolve(wanted, conditioning="concat")  # which stands beside the name
    for name, preset in known.items():
        if preset == wanted and (name.endswith(suffix) or not isinstance(preset, ViTSize)):
            return name
    raise CheckpointError(f"4M has no name for a {wanted}")
