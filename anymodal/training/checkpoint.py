"""The resumable state of a run as a folder: this file decides what is stored and when a checkpoint counts as complete.

    checkpoints/step-00001000/
        model.safetensors  optimizer.safetensors  [ema.safetensors]
        state.json         step, settings, random states, and the size of every file above

A checkpoint is written beside its final name and renamed when it is whole. Only tensors and JSON are read back.
"""

from __future__ import annotations

import base64
import json
import random
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from anymodal.errors import CheckpointError

STATE_FILE = "state.json"
STATE_LIMIT = 2**24  # bytes; a state file is a few hundred kilobytes at most
FINISHED = re.compile(r"step-\d{8,12}")


@attrs.frozen
class Checkpoint:
    """tensors: by file (model, optimizer, ema) and name. state: the JSON object, at least {"step": int}."""

    path: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], keep: int = 2
) -> Path:
    """Write folder/step-NNNNNNNN in one move, then remove all but the newest `keep`. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:08d}"
    partial = folder / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for name, group in tensors.items():
            save_file(_unshared(group), partial / f"{name}.safetensors")
        sizes = {path.name: path.stat().st_size for path in partial.iterdir()}
        (partial / STATE_FILE).write_text(json.dumps({**state, "step": step, "files": sizes}))
        if final.exists():
            shutil.rmtree(final)
        partial.replace(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in _finished(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def newest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step, or None. Damaged and unfinished ones are passed over."""
    return next((path for path in reversed(_finished(folder)) if _is_complete(path)), None)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint back; `CheckpointError` if something in it is missing or damaged."""
    if not _is_complete(path):
        raise CheckpointError(f"the checkpoint {path} is incomplete; delete it to fall back on an older one.")
    state = json.loads((path / STATE_FILE).read_text())
    try:
        tensors = {Path(name).stem: load_file(path / name, device=str(device)) for name in state["files"]}
    except SafetensorError as error:
        raise CheckpointError(
            f"a file of the checkpoint {path} is damaged ({error}); delete it to fall back on an older one."
        ) from error
    return Checkpoint(path, tensors, state)


def optimizer_tensors(optimizers: Iterable[Optimizer], model: nn.Module) -> dict[str, Tensor]:
    """The optimisers' tensors by "PARAMETER/KEY", for example "blocks.0.weight/exp_avg"."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}/{key}": value
        for optimizer in optimizers
        for parameter, slots in optimizer.state.items()
        for key, value in slots.items()
    }


def restore_optimizers(optimizers: Iterable[Optimizer], model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`, in place."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    slots: dict[str, dict[str, Tensor]] = {}
    for flat, value in tensors.items():
        name, _, key = flat.rpartition("/")
        slots.setdefault(name, {})[key] = value
    for optimizer in optimizers:
        ordered = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
        state = {index: slots.pop(name) for index, name in enumerate(ordered) if name in slots}
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    if slots:
        raise CheckpointError(f"the optimizer state holds {next(iter(slots))!r}, which this model does not train.")


def random_state() -> dict[str, Any]:
    """The state of all global random generators, as JSON."""
    mersenne = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": {**mersenne, "state": {**mersenne["state"], "key": mersenne["state"]["key"].tolist()}},
        "torch": _encode(torch.get_rng_state()),
        "cuda": [_encode(state) for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """The inverse of `random_state`."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    mersenne = state["numpy"]
    key = np.array(mersenne["state"]["key"], dtype=np.uint32)
    np.random.set_state({**mersenne, "state": {**mersenne["state"], "key": key}})
    torch.set_rng_state(_decode(state["torch"]))
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_decode(text) for text in state["cuda"]])


def seed_everything(seed: int) -> None:
    """Start all global random generators from one number."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _encode(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _decode(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


def _finished(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if FINISHED.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _is_complete(path: Path) -> bool:
    try:
        file = path / STATE_FILE
        if file.stat().st_size > STATE_LIMIT:
            return False
        sizes = json.loads(file.read_text())["files"]
        return all(Path(name).name == name and (path / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors that own their memory, as safetensors wants them: tied weights are written once per name."""
    seen: set[int] = set()
    owned: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        address = tensor.untyped_storage().data_ptr()
        owned[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    return owned
