"""tokenizers/ and tok/: latents, ids, codes, reconstructions and denoising of the tokenizers of both layouts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from anymodal.checkpoints.formats.fourm.tokenizer_config import Preset, ViTSize, parse_tokenizer_config
from anymodal.checkpoints.formats.fourm.tokenizers import read_published_tokenizer, tokenizer_in, tokenizer_keys
from anymodal.checkpoints.raw_config import read_raw_config
from anymodal.checkpoints.repository import local_files
from anymodal.checkpoints.tokenizer import AnyTokenizer
from anymodal.errors import CheckpointError
from anymodal.files import read_json
from anymodal.tokenizers.config import UNetConfig, UViTConfig
from anymodal.tokenizers.diffusion import DiffusionTokenizer, tokenizer_on_meta
from anymodal.tokenizers.networks.unet import UNet
from anymodal.tokenizers.noise import spaced
from anymodal.tokenizers.solvers import Denoising, Solver
from parity.checkpoints import InMemory
from parity.recipes import closed_form_state, dense, hashed_state
from parity.results import Result, attempt, gap, worst
from parity.schedulers import scheduler_errors

GIVEN = ("input", "noise")
RELATIVE_TOLERANCE, STORED_TOLERANCE, MARGIN = 1e-3, 1e-4, 1e-3


def verify_hashed_tokenizers(folder: Path) -> Iterator[Result]:
    """All cases of a folder tokenizers/ of the first layout."""
    for part in sorted(p for p in folder.iterdir() if (p / "expected.json").is_file()):
        case, expected = f"tokenizers/{part.name}", read_json(part / "expected.json")
        yield from attempt(case, partial(_hashed_case, case, expected, part / "outputs.safetensors"))


def verify_stored_tokenizers(folder: Path) -> Iterator[Result]:
    """All cases of a folder tok/ of the second layout."""
    names = read_json(folder / "presets.json") if (folder / "presets.json").is_file() else {}
    presets = dict(map(_preset, names.items()))
    for path in sorted(folder.glob("**/*.npz")):
        case, home = f"tok/{path.relative_to(folder).with_suffix('')}", path.with_suffix("")
        if path.stem == "schedulers":
            yield from attempt(case, partial(_schedulers_case, case, path))
            continue
        source = home if home.is_dir() else home.with_name(f"{home.name}_single.safetensors")
        yield from attempt(case, partial(_stored_case, case, path, source, presets))


def _preset(item: tuple[str, Mapping[str, Any]]) -> tuple[str, Preset]:
    """An additional preset under the name that configs give it; the original's arguments in our terms."""
    name, about = item
    if not (about.get("qkv_bias", True) and about.get("mid_qkv_bias", True)):
        raise CheckpointError(f"preset {name!r} has attention without biases, which no published tokenizer has")
    match about["cls"]:
        case "PatchedUNetCondCat":
            return name, UNetConfig(
                patch=about["patch_size"],
                channels=about["model_channels"],
                multipliers=about["channel_mult"],
                blocks=about["num_res_blocks"],
                attention=about["attention_resolutions"],
            )
        case "UViT":
            return name, UViTConfig(
                patch=about["patch_size"],
                widths=about["block_out_channels"],
                blocks=about["layers_per_block"],
                dim=about["mid_dim"],
                depth=about["mid_layers"],
                heads=about["mid_num_heads"],
                expansion=about["mid_mlp_ratio"],
                halved=about["downsample_before_mid"],
            )
    size = ViTSize(about["dim_tokens"], about["depth"], about["num_heads"], about.get("mlp_ratio", 4))
    return name, size


def _schedulers_case(case: str, outputs: Path) -> Result:
    with np.load(outputs, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    errors = scheduler_errors(arrays, read_json(outputs.with_suffix(".json")))
    return worst(case, errors, STORED_TOLERANCE, f"{len(errors)} values, ")


def _hashed_case(case: str, expected: Mapping[str, Any], outputs: Path) -> Result:
    config = parse_tokenizer_config(expected["config"], case)
    state = hashed_state(tokenizer_keys(tokenizer_on_meta(config)), expected["weight_salt"], expected["kept_default"])
    tokenizer = tokenizer_in(InMemory(state), config, case)
    recorded = {key: value.astype(np.float32) for key, value in load_file(outputs).items()}
    mine = _run(tokenizer, _input(expected["input"]))
    clear = recorded.get("margin", np.ones_like(recorded["tokens"])) > MARGIN
    ids = torch.from_numpy(recorded["tokens"]).long()
    errors = {
        "latents": _relative(mine["latents"], recorded["latents"]),
        "tokens": gap(mine["tokens"].numpy()[clear], recorded["tokens"][clear]),
        "codes": _relative(_codes(tokenizer, ids), recorded["quantised"]),
    }
    if isinstance(tokenizer, DiffusionTokenizer):
        about = expected["input"]
        noisy = torch.from_numpy(dense(about["noisy_seed"], about["shape"]))
        errors |= _hashed_denoising(tokenizer, _codes(tokenizer, ids), noisy, recorded)
    else:
        decoded = recorded["reconstruction"]
        again = _decoded(tokenizer, ids[: len(decoded)])
        errors["reconstruction"] = _relative(again[:, : decoded.shape[1]], decoded)
    return worst(case, errors, RELATIVE_TOLERANCE, "relative, ")


@torch.no_grad()
def _hashed_denoising(
    tokenizer: DiffusionTokenizer, codes: Tensor, noisy: Tensor, recorded: Mapping[str, np.ndarray]
) -> dict[str, float]:
    errors = {"shares of signal": gap(tokenizer.noise.shares_T, recorded["alphas_cumprod"])}
    for name, value in recorded.items():
        if name.startswith("decoder_output.t"):
            timesteps = torch.full((len(noisy),), int(name.removeprefix("decoder_output.t")))
            errors[name] = _relative(tokenizer.decoder(noisy, timesteps, codes), value)
        elif match := re.fullmatch(r"ddim_(\d+)_steps", name):
            steps, visited = int(match[1]), recorded["ddim_timesteps"].astype(int).tolist()
            spacing = _spacing(tokenizer, steps, visited)
            noise = torch.from_numpy(recorded["ddim_noise"])
            run = Denoising(solver="ddim", steps=steps, spacing=spacing)
            errors[name] = _relative(tokenizer.denoise(codes, noise, run, partial(torch.zeros_like, noise)), value)
    return errors


def _spacing(tokenizer: DiffusionTokenizer, steps: int, visited: list[int]) -> str:
    """The spacing that visits the recorded timesteps. Raises CheckpointError if none does."""
    for spacing in ("trailing", "leading", "linspace"):
        if spaced(tokenizer.noise.config.timesteps, steps, spacing) == visited:
            return spacing
    raise CheckpointError(f"no spacing of {steps} steps visits the recorded timesteps {visited}")


def _input(recipe: Mapping[str, Any]) -> Tensor:
    shape, seed = recipe["shape"], recipe["seed"]
    if recipe["kind"] == "labels":
        return torch.from_numpy(np.random.RandomState(seed).randint(0, 134, shape))
    if recipe["kind"] == "mask":
        return torch.from_numpy(((np.random.RandomState(seed).rand(*shape) > 0.5) * 2 - 1).astype(np.float32))
    return torch.from_numpy(dense(seed, shape))


def _stored_case(case: str, outputs: Path, source: Path, presets: Mapping[str, Preset]) -> Result:
    files = local_files(source)
    raw = read_raw_config(files)
    config = parse_tokenizer_config(raw.values, raw.source, presets)
    recipe = source / "weights_recipe.json"
    if source.is_dir() and recipe.is_file():
        state = closed_form_state(tokenizer_keys(tokenizer_on_meta(config)), read_json(recipe), str(recipe))
        tokenizer = tokenizer_in(InMemory(state), config, str(recipe))
    else:
        tokenizer = read_published_tokenizer(files, raw, presets)
    with np.load(outputs, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    about = read_json(outputs.with_suffix(".json"))
    errors: dict[str, float] = {}
    for label, recorded in _groups(arrays).items():
        if isinstance(tokenizer, DiffusionTokenizer):
            found = _denoising_errors(tokenizer, recorded, about.get(label or "base", {}).get("sampling", []))
        else:
            found = _stored_errors(tokenizer, recorded, _channels(about))
        errors |= {f"{what} ({label})" if label else what: error for what, error in found.items()}
    return worst(case, errors, STORED_TOLERANCE)


def _groups(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of each input: named `label/...`, or all of them where there is only one input."""
    labels = [key.removesuffix("/input") for key in arrays if key.endswith("/input")]
    if not labels:
        return {"": dict(arrays)}
    return {
        label: {key.removeprefix(f"{label}/"): v for key, v in arrays.items() if key.startswith(f"{label}/")}
        for label in labels
    }


def _channels(about: Any) -> list[int] | None:
    """The recorded channels of a label map, wherever the description of a case holds them."""
    if isinstance(about, Mapping):
        for key, value in about.items():
            if "channels" in key and isinstance(value, list) and all(isinstance(v, int) for v in value):
                return value
            if (found := _channels(value)) is not None:
                return found
    return None


def _stored_errors(
    tokenizer: AnyTokenizer, recorded: Mapping[str, np.ndarray], channels: list[int] | None
) -> dict[str, float]:
    x = torch.from_numpy(recorded["input"])
    ids = torch.from_numpy(recorded["tokens"]).long()
    mine = _coded(tokenizer, x if x.is_floating_point() else x.long(), ids)
    mine["decode_tokens"] = _decoded(tokenizer, ids)
    if tokenizer.config.labels and channels is not None:
        mine["decode_tokens/channels"] = mine["decode_tokens"][:, channels]
        mine["decode_tokens/lse"] = mine["decode_tokens"].logsumexp(1)
        mine["decode_tokens/argmax"] = mine["decode_tokens"].argmax(1)
    return _compared(mine, recorded)


def _without(tokenizer: DiffusionTokenizer, noisy: Tensor, timesteps: Tensor, codes: Tensor, hidden: Tensor) -> Tensor:
    """What a decoder predicts without the codes of `hidden` tokens (B, h, w): zeros, or a learned token, for them."""
    decoder = tokenizer.decoder
    if isinstance(decoder, UNet):
        return decoder(noisy, timesteps, codes.masked_fill(hidden[:, None], 0))

    def mask(module: nn.Module, arguments: Any, told: Tensor) -> Tensor:
        side = math.isqrt(told.shape[1])
        rows = F.interpolate(hidden[:, None].float(), size=(side, side), mode="nearest").flatten(1) > 0
        return torch.where(rows[..., None], decoder.middle.mask_token, told)

    with decoder.middle.cond_proj.register_forward_hook(mask):
        return decoder(noisy, timesteps, codes)


@torch.no_grad()
def _denoising_errors(
    tokenizer: DiffusionTokenizer, recorded: Mapping[str, np.ndarray], sampling: list[Mapping[str, Any]]
) -> dict[str, float]:
    x, noise = (torch.from_numpy(recorded[name].astype(np.float32)) for name in ("input", "noise"))
    ids = torch.from_numpy(recorded["tokens"]).long()
    codes = _codes(tokenizer, ids)
    even = torch.zeros(ids.shape, dtype=torch.bool)
    even[:, ::2] = True
    mine = _coded(tokenizer, x, ids)
    for timestep in sorted({int(key[6:].split("/")[0]) for key in recorded if key.startswith("step_t")}):
        timesteps = torch.full((len(x),), timestep)
        noisy, name = tokenizer.noise.mix(x, noise, timesteps), f"step_t{timestep}"
        mine[f"{name}/noisy"] = noisy
        mine[f"{name}/prediction"] = tokenizer.decoder(noisy, timesteps, codes)
        if any(key.startswith(f"{name}/prediction_cond_mask_even_rows") for key in recorded):
            mine[f"{name}/prediction_cond_mask_even_rows"] = _without(tokenizer, noisy, timesteps, codes, even)
    errors = {}
    for about in sampling:
        solver = {"DDPMScheduler": "ddpm", "DDIMScheduler": "ddim"}.get(about["scheduler"])
        own = solver or tokenizer.noise.config.solver
        spacing = "leading" if own == "ddpm" else about["scheduler_timesteps_mode"]
        run = Denoising(solver=own, steps=about["steps"], spacing=spacing, eta=about["eta"])
        errors[f"timesteps of {about['tag']}"] = gap(Solver(tokenizer.noise, run).timesteps, about["timesteps"])
        seed = about["generator_seed"]
        mine["initial_noise"] = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        mine[f"sample/{about['tag']}"] = _sampled(tokenizer, ids, x.shape, run, seed)
    return errors | _compared(mine, recorded)


def _sampled(tokenizer: DiffusionTokenizer, ids: Tensor, shape: torch.Size, run: Denoising, seed: int) -> Tensor:
    """A decoded batch. 4M draws the noise of several samples from one stream of numbers, we give each its own."""
    rows, columns = ids.shape[1:]
    if len(ids) == 1:
        chosen = partial(tokenizer.decode, steps=run.steps, solver=run.solver, spacing=run.spacing, eta=run.eta)
        return chosen(ids.flatten(1), (rows, columns), seed=seed)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return torch.randn(shape, generator=generator)

    return tokenizer.denoise(_codes(tokenizer, ids), draw(), run, draw)


def _coded(tokenizer: AnyTokenizer, x: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """What the encoder and the codebook make of an input and of recorded ids, under the names of the second layout."""
    mine = _run(tokenizer, x)
    mine["quant"] = mine["tokens_to_embedding"] = _codes(tokenizer, ids)
    mine["quant_proj_out"] = mine.pop("latents")
    return mine


def _compared(mine: Mapping[str, Tensor], recorded: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The gap of every recorded array but the given ones; an array may hold only every k-th number.

    Raises CheckpointError for an array that nothing is compared with.
    """
    errors = {}
    for key, value in recorded.items():
        name, _, every = key.partition("/flat_every_")
        if name in mine:
            errors[name] = gap(mine[name].reshape(-1)[:: int(every)] if every else mine[name], value)
        elif name not in GIVEN:
            raise CheckpointError(f"nothing is compared with the recorded array {key!r}")
    return errors


@torch.no_grad()
def _run(tokenizer: AnyTokenizer, x: Tensor) -> dict[str, Tensor]:
    """Latents (B, L, h, w) and ids, laid out as 4M does: (B, h, w), or (B, codebooks, 1, 1)."""
    vectors = tokenizer.config.kind == "mlp"
    given = x.flatten(1) if vectors else x
    h, w = (1, 1) if vectors else (x.shape[-2] // tokenizer.stride, x.shape[-1] // tokenizer.stride)
    seen: list[Tensor] = []
    handle = tokenizer.encoder.register_forward_hook(lambda module, inputs, out: seen.append(out))
    ids = tokenizer.encode(given)
    handle.remove()
    return {
        "encoder_out": seen[0].transpose(1, 2).unflatten(2, (h, w)),
        "latents": tokenizer.latents(given).transpose(1, 2).unflatten(2, (h, w)),
        "tokens": ids[..., None, None] if vectors else ids.unflatten(1, (h, w)),
    }


@torch.no_grad()
def _codes(tokenizer: AnyTokenizer, ids: Tensor) -> Tensor:
    """Codes (B, L, h, w) of ids in 4M's layout."""
    if tokenizer.config.kind == "mlp":
        return tokenizer.quantize.lookup(ids.flatten(1)[:, None]).transpose(1, 2)[..., None]
    return tokenizer.quantize.lookup(ids.flatten(1)).transpose(1, 2).unflatten(2, tuple(ids.shape[1:]))


def _decoded(tokenizer: AnyTokenizer, ids: Tensor) -> Tensor:
    if tokenizer.config.kind == "mlp":
        return tokenizer.decode(ids.flatten(1))[..., None, None]
    rows, columns = ids.shape[1:]
    return tokenizer.decode(ids.flatten(1), (rows, columns))


def _relative(mine: Tensor, theirs: np.ndarray) -> float:
    """Largest difference in units of the largest recorded value."""
    if not theirs.size:
        raise CheckpointError("a recorded array is empty")
    return gap(mine, theirs) / float(np.abs(theirs).max())
