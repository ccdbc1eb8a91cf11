"""tokenizers/ and tok/: latents, ids, codes and reconstructions of the VQ-VAE tokenizers of both layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from anymodal.errors import CheckpointError
from anymodal.files import read_json
from anymodal.formats.fourm import files
from anymodal.formats.fourm.tokenizers import (
    ViTSize,
    parse_tokenizer_config,
    read_tokenizer,
    tokenizer_keys,
)
from anymodal.formats.fourm.verify.checkpoints import InMemory
from anymodal.formats.fourm.verify.recipes import closed_form_state, dense, hashed_state
from anymodal.formats.fourm.verify.results import Result, attempt, gap, skip
from anymodal.tokenizers.config import TokenizerConfig
from anymodal.tokenizers.tokenizer import VQTokenizer

RELATIVE_TOLERANCE, STORED_TOLERANCE, MARGIN = 1e-3, 1e-4, 1e-3


def verify_hashed_tokenizers(folder: Path) -> Iterator[Result]:
    """All cases of a folder tokenizers/ of the first layout."""
    for part in sorted(p for p in folder.iterdir() if (p / "expected.json").is_file()):
        case, expected = f"tokenizers/{part.name}", read_json(part / "expected.json")
        if expected["cls"] != "VQVAE":
            yield skip(case, "diffusion decoders are not supported yet")
        else:
            yield from attempt(case, partial(_hashed_case, case, expected, part / "outputs.safetensors"))


def verify_stored_tokenizers(folder: Path) -> Iterator[Result]:
    """All cases of a folder tok/ of the second layout."""
    presets = read_json(folder / "presets.json") if (folder / "presets.json").is_file() else {}
    sizes = {
        name.removesuffix("_enc"): ViTSize(value["dim_tokens"], value["depth"], value["num_heads"])
        for name, value in presets.items()
        if value["cls"] == "ViTEncoder"
    }
    for path in sorted(folder.glob("**/*.npz")):
        case, home = f"tok/{path.relative_to(folder).with_suffix('')}", path.with_suffix("")
        if path.stem == "schedulers" or path.stem.startswith("divae"):
            yield skip(case, "diffusion decoders are not supported yet")
            continue
        source = home if home.is_dir() else home.with_name(f"{home.name}_single.safetensors")
        raw, place = files.read_config(source)
        if "beta_schedule" in raw:
            yield skip(case, "diffusion decoders are not supported yet")
        else:
            yield from attempt(case, partial(_stored_case, case, path, source, raw, place, sizes))


def _built(config: TokenizerConfig) -> VQTokenizer:
    with torch.device("meta"):
        return VQTokenizer(config)


def _hashed_case(case: str, expected: Mapping[str, Any], outputs: Path) -> Result:
    config = parse_tokenizer_config(expected["config"], case)
    state = hashed_state(tokenizer_keys(_built(config)), expected["weight_salt"], expected["kept_default"])
    tokenizer = read_tokenizer(InMemory(state), config, case)
    recorded = {key: value.astype(np.float32) for key, value in load_file(outputs).items()}
    mine = _run(tokenizer, _input(expected["input"]))
    clear = recorded.get("margin", np.ones_like(recorded["tokens"])) > MARGIN
    decoded = recorded["reconstruction"]
    again = _decoded(tokenizer, torch.from_numpy(recorded["tokens"][: len(decoded)]).long())
    errors = {
        "latents": _relative(mine["latents"], recorded["latents"]),
        "tokens": gap(mine["tokens"].numpy()[clear], recorded["tokens"][clear]),
        "codes": _relative(_codes(tokenizer, torch.from_numpy(recorded["tokens"]).long()), recorded["quantised"]),
        "reconstruction": _relative(again[:, : decoded.shape[1]], decoded),
    }
    place = max(errors, key=lambda name: errors[name])
    return Result(case, errors[place], RELATIVE_TOLERANCE, f"relative, largest in {place}")


def _input(recipe: Mapping[str, Any]) -> Tensor:
    shape, seed = recipe["shape"], recipe["seed"]
    if recipe["kind"] == "labels":
        return torch.from_numpy(np.random.RandomState(seed).randint(0, 134, shape))
    if recipe["kind"] == "mask":
        return torch.from_numpy(((np.random.RandomState(seed).rand(*shape) > 0.5) * 2 - 1).astype(np.float32))
    return torch.from_numpy(dense(seed, shape))


def _stored_case(
    case: str, outputs: Path, source: Path, raw: Mapping[str, Any], place: str, sizes: Mapping[str, ViTSize]
) -> Result:
    config = parse_tokenizer_config(raw, place, sizes)
    recipe = source / "weights_recipe.json"
    if source.is_dir() and recipe.is_file():
        state = closed_form_state(tokenizer_keys(_built(config)), read_json(recipe), str(recipe))
        tokenizer = read_tokenizer(InMemory(state), config, str(recipe))
    else:
        with files.open_weights(files.weights_path(source)) as file:
            tokenizer = read_tokenizer(file, config, place)
    with np.load(outputs, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    about = read_json(outputs.with_suffix(".json"))
    errors: dict[str, float] = {}
    for label in dict.fromkeys(key.split("/")[0] for key in arrays):
        recorded = {key.removeprefix(f"{label}/"): v for key, v in arrays.items() if key.startswith(f"{label}/")}
        found = _stored_errors(tokenizer, recorded, _channels(about))
        errors |= {f"{what} ({label})": error for what, error in found.items()}
    where = max(errors, key=lambda name: errors[name])
    return Result(case, errors[where], STORED_TOLERANCE, f"largest in {where}")


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
    tokenizer: VQTokenizer, recorded: Mapping[str, np.ndarray], channels: list[int] | None
) -> dict[str, float]:
    x = torch.from_numpy(recorded["input"])
    ids = torch.from_numpy(recorded["tokens"]).long()
    mine = _run(tokenizer, x if x.is_floating_point() else x.long())
    mine["quant"] = mine["tokens_to_embedding"] = _codes(tokenizer, ids)
    mine["quant_proj_out"] = mine.pop("latents")
    mine["decode_tokens"] = _decoded(tokenizer, ids)
    if tokenizer.config.labels and channels is not None:
        mine["decode_tokens/channels"] = mine["decode_tokens"][:, channels]
        mine["decode_tokens/lse"] = mine["decode_tokens"].logsumexp(1)
        mine["decode_tokens/argmax"] = mine["decode_tokens"].argmax(1)
    errors = {}
    for key, value in recorded.items():
        name, _, every = key.partition("/flat_every_")
        if name in mine:
            errors[name] = gap(mine[name].reshape(-1)[:: int(every)] if every else mine[name], value)
    return errors


@torch.no_grad()
def _run(tokenizer: VQTokenizer, x: Tensor) -> dict[str, Tensor]:
    """Latents (B, L, h, w) and ids, laid out as 4M does: (B, h, w), or (B, codebooks, 1, 1)."""
    vectors = tokenizer.config.kind == "mlp"
    given = x.flatten(1) if vectors else x
    h, w = (1, 1) if vectors else (x.shape[-2] // tokenizer.stride, x.shape[-1] // tokenizer.stride)
    ids = tokenizer.encode(given)
    return {
        "latents": tokenizer.latents(given).transpose(1, 2).unflatten(2, (h, w)),
        "tokens": ids[..., None, None] if vectors else ids.unflatten(1, (h, w)),
    }


@torch.no_grad()
def _codes(tokenizer: VQTokenizer, ids: Tensor) -> Tensor:
    """Codes (B, L, h, w) of ids in 4M's layout."""
    if tokenizer.config.kind == "mlp":
        return tokenizer.quantize.lookup(ids.flatten(1)[:, None]).transpose(1, 2)[..., None]
    return tokenizer.quantize.lookup(ids.flatten(1)).transpose(1, 2).unflatten(2, tuple(ids.shape[1:]))


def _decoded(tokenizer: VQTokenizer, ids: Tensor) -> Tensor:
    if tokenizer.config.kind == "mlp":
        return tokenizer.decode(ids.flatten(1))[..., None, None]
    rows, columns = ids.shape[1:]
    return tokenizer.decode(ids.flatten(1), (rows, columns))


def _relative(mine: Tensor, theirs: np.ndarray) -> float:
    """Largest difference in units of the largest recorded value."""
    if not theirs.size:
        raise CheckpointError("a recorded array is empty")
    return gap(mine, theirs) / float(np.abs(theirs).max())
