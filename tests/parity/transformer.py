"""fm/: encoder and decoder states, logits, log-sum-exps and losses of both layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from anymodal.checkpoints.formats.fourm.config import parse_model_config
from anymodal.checkpoints.formats.fourm.domains import domain_of
from anymodal.checkpoints.formats.fourm.model import load_transformer, read_transformer, transformer_keys
from anymodal.checkpoints.state import transformer_on_meta
from anymodal.files import read_json
from anymodal.model import Transformer
from anymodal.tokens import Packed
from parity.batches import mean_over_logits, mean_over_modalities, pack_batch
from parity.checkpoints import InMemory
from parity.recipes import closed_form_state, dense, hashed_state
from parity.results import Result, attempt, gap, worst

HASHED_TOLERANCE, STORED_TOLERANCE = 1e-4, 2e-4
DENSE_SHAPES = {"rgb@224": (3, 224, 224), "rgb@448": (3, 448, 448), "t5_caption": (77, 4096)}


def verify_transformers(folder: Path) -> Iterator[Result]:
    """All cases of a folder fm/ of either layout."""
    for part in sorted(p for p in folder.iterdir() if (p / "expected.json").is_file()):
        yield from attempt(f"fm/{part.name}", partial(_hashed_case, part))
    for path in sorted(folder.glob("*.case*.json")):
        yield from attempt(f"fm/{path.stem}", partial(_stored_case, path))


@attrs.frozen(eq=False)
class States:
    """One run of a model: encoder states after the norm (B, N, D), decoder states (B, M, D), losses by stream."""

    encoder: Tensor
    decoder: Tensor
    losses: dict[str, Tensor]


@torch.no_grad()
def run(model: Transformer, packed: Packed) -> States:
    """Run a model on a packed batch and keep what the recorded cases hold."""
    assert packed.targets is not None
    context = model.encode(packed.inputs)
    return States(model.features(packed.inputs), model.decode(packed.targets, context), model(packed))


def hashed_model(raw: Mapping[str, Any], salt: str, source: str) -> Transformer:
    """A model with weights by the hash recipe."""
    config, layout = parse_model_config(raw, source)
    keys = transformer_keys(transformer_on_meta(config, layout))
    return read_transformer(InMemory(hashed_state(keys, salt)), config, layout, source)


def _hashed_case(folder: Path) -> Result:
    expected = read_json(folder / "expected.json")
    model = hashed_model(read_json(folder / "config.json"), expected["weight_salt"], str(folder))
    arrays_by_domain = nested(load_file(folder / "inputs.safetensors"))
    batch = {name: arrays_by_domain[name] for name in expected["modality_ids"]}
    for name, arrays in batch.items():
        if "tensor" not in arrays:
            size = len(arrays["input_mask"])
            arrays["tensor"] = dense(expected["dense_seed"][name], (size, *DENSE_SHAPES[name]))
    order, outputs = expected["decoder_modality_order"], load_file(folder / "outputs.safetensors")
    packed = pack_batch(model.layout, batch, expected["num_encoder_tokens"], expected["num_decoder_tokens"], order)
    states = run(model, packed)
    lost = attends_to_nothing(model, packed)
    errors = _state_errors(packed, states, lost, outputs["encoder_output"], outputs["decoder_output"])
    errors["target ids"] = _label_error(packed, outputs["target_ids"], ~outputs["decoder_mask"])
    for name in order:
        logits, kept = _logits(model, packed, states, lost, name)
        errors[f"logits {name}"] = gap(logits[:, :64], outputs[f"logits64.{name}"][kept])
        errors[f"log-sum-exp {name}"] = gap(logits.logsumexp(-1), outputs[f"logsumexp.{name}"][kept])
    losses = {kind: (value["loss"], value["per_modality"]) for kind, value in expected["losses"].items()}
    errors |= _loss_errors(model, packed, states, lost, losses, len(order))
    return worst(f"fm/{folder.name}", errors, HASHED_TOLERANCE, _left_out(int(lost.sum())))


def stored_model(path: Path) -> Transformer:
    """A model of the second layout: a folder, a folder with a closed-form recipe, or a single file."""
    if not path.is_dir():
        return load_transformer(path.with_name(f"{path.name}.safetensors"))
    if not (path / "weights_recipe.json").is_file():
        return load_transformer(path)
    source = path / "weights_recipe.json"
    config, layout = parse_model_config(read_json(path / "config.json"), str(path))
    keys = transformer_keys(transformer_on_meta(config, layout))
    return read_transformer(
        InMemory(closed_form_state(keys, read_json(source), str(source))), config, layout, str(source)
    )


def stored_inputs(folder: Path, name: str) -> dict[str, dict[str, np.ndarray]]:
    """The input batch of a set; pictures are kept only once."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        batch = nested({key: file[key] for key in file.files})
    if "rgb@224" in batch and "tensor" not in batch["rgb@224"]:
        with np.load(folder / "input_all21.npz", allow_pickle=False) as file:
            batch["rgb@224"]["tensor"] = file["rgb@224/tensor"]
    return batch


def _stored_case(path: Path) -> Result:
    name, case = path.stem.split(".", 1)
    expected = read_json(path)
    model = stored_model(path.parent / name)
    toggles = expected["toggles"]
    model.config = attrs.evolve(
        model.config,
        causal_targets=toggles.get("decoder_causal_mask", model.config.causal_targets),
        separate_targets=toggles.get("decoder_sep_mask", model.config.separate_targets),
    )
    batch = stored_inputs(path.parent, _inputs_of(name, case))
    batch = {key: batch[key] for key in expected["mod_dict_order"]}
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    errors: dict[str, float] = {}
    lost = 0
    for label, result in expected["results"].items():
        recorded = {k.removeprefix(f"{label}/"): v for k, v in arrays.items() if k.startswith(f"{label}/")}
        sizes = expected["num_encoder_tokens"], expected["num_decoder_tokens"]
        packed = pack_batch(model.layout, batch, *sizes, result["decoder_order"])
        found = _stored_errors(model, packed, result, recorded)
        lost += int(attends_to_nothing(model, packed).sum())
        errors |= {f"{what} ({label})": error for what, error in found.items()}
    return worst(f"fm/{path.stem}", errors, STORED_TOLERANCE, _left_out(lost))


def _inputs_of(name: str, case: str) -> str:
    if case.startswith("case2_long"):
        return "input_long"
    return "input_small" if name in ("gelu_bias", "qknorm_single") else "input_all21"


def _stored_errors(
    model: Transformer, packed: Packed, result: Mapping[str, Any], recorded: Mapping[str, np.ndarray]
) -> dict[str, float]:
    assert packed.targets is not None
    states, lost = run(model, packed), attends_to_nothing(model, packed)
    errors = _state_errors(packed, states, lost, recorded["encoder_out"], recorded["decoder_out"])
    if "target_ids" in recorded:
        errors["target ids"] = _label_error(packed, recorded["target_ids"], ~recorded["decoder_mask"][:, 0])
    for key, columns in result["logit_columns"].items():
        logits, kept = _logits(model, packed, states, lost, key)
        theirs = {part: recorded[f"logits/{key}/{part}"][kept] for part in ("sub", "lse", "argmax", "top2_gap")}
        errors[f"logits {key}"] = gap(logits[:, columns], theirs["sub"])
        errors[f"log-sum-exp {key}"] = gap(logits.logsumexp(-1), theirs["lse"])
        clear = theirs["top2_gap"] > 2 * STORED_TOLERANCE
        errors[f"argmax {key}"] = gap(logits.argmax(-1)[clear], theirs["argmax"][clear])
    for key, columns in result.get("all_logit_columns", {}).items():
        chosen = (packed.targets.streams >= 0) & ~lost
        stream = _stream(model, key)
        with torch.no_grad():
            logits = model.logits(states.decoder[chosen], stream)
        errors[f"all logits {key}"] = gap(logits[:, columns], recorded[f"all_logits/{key}/sub"][chosen.numpy()])
    losses = {kind: (value["total"], value["per_mod"]) for kind, value in result["losses"].items()}
    return errors | _loss_errors(model, packed, states, lost, losses, len(result["decoder_order"]))


def attends_to_nothing(model: Transformer, packed: Packed) -> Tensor:
    """Targets (B, M) that may attend to no other target: the original averages over padding there, we do not."""
    targets = packed.targets
    assert targets is not None
    order = torch.arange(targets.streams.shape[1])[None]
    reach = order + 1 if model.config.causal_targets else targets.reach
    allowed = order[None] < reach[..., None]
    if model.config.separate_targets:
        allowed = allowed & (targets.streams[:, :, None] == targets.streams[:, None])
    return (targets.streams >= 0) & ~allowed.any(-1)


def nested(flat: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Arrays named `domain/field` by domain, then field."""
    batch: dict[str, dict[str, np.ndarray]] = {}
    for key, value in flat.items():
        name, _, field = key.rpartition("/")
        batch.setdefault(name, {})[field] = value
    return batch


def _state_errors(
    packed: Packed, states: States, lost: Tensor, encoder: np.ndarray, decoder: np.ndarray
) -> dict[str, float]:
    """States at the tokens that are real; what a padding position holds is nobody's input."""
    assert packed.targets is not None
    registers = states.encoder.shape[1] - packed.inputs.streams.shape[1]
    real = np.pad((packed.inputs.streams >= 0).numpy(), ((0, 0), (registers, 0)), constant_values=True)
    length = min(real.shape[1], encoder.shape[1])
    real, decoded = real[:, :length], ((packed.targets.streams >= 0) & ~lost).numpy()
    return {
        "encoder": gap(states.encoder[:, :length][real], encoder[:, :length][real]),
        "decoder": gap(states.decoder[decoded], decoder[decoded]),
    }


def _label_error(packed: Packed, ids: np.ndarray, real: np.ndarray) -> float:
    assert packed.targets is not None
    mine = packed.targets.labels.numpy()
    return gap(np.where(real, mine, 0), np.where(real, ids, 0)) + gap(real, packed.targets.streams.numpy() >= 0)


def _stream(model: Transformer, name: str) -> str:
    return next(s.name for s in model.layout.streams if domain_of(s.name).name == name)


def _logits(model: Transformer, packed: Packed, states: States, lost: Tensor, name: str) -> tuple[Tensor, np.ndarray]:
    """Logits of the targets of a domain that attend to something, and which of all its targets those are."""
    assert packed.targets is not None
    stream = _stream(model, name)
    chosen = packed.targets.streams == model.layout.index[stream]
    with torch.no_grad():
        return model.logits(states.decoder[chosen & ~lost], stream), ~lost[chosen].numpy()


def _loss_errors(
    model: Transformer,
    packed: Packed,
    states: States,
    lost: Tensor,
    losses: Mapping[str, tuple[float, Mapping[str, float]]],
    count: int,
) -> dict[str, float]:
    assert packed.targets is not None
    if lost.any():
        return {}
    mine = {
        "mod": mean_over_modalities(states.losses, count),
        "token": mean_over_logits(states.losses, packed.targets, model.layout),
    }
    errors = {f"loss {kind!r}": gap(mine[kind], total) for kind, (total, _) in losses.items()}
    for name, value in losses["mod"][1].items():
        stream = next((s for s in states.losses if domain_of(s).name == name), None)
        errors[f"loss {name}"] = gap(states.losses[stream] if stream else 0.0, value)
    return errors


def _left_out(lost: int) -> str:
    return f"without losses and {lost} targets that attend to nothing but padding; " if lost else ""
