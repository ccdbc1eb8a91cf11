"""Weights and inputs from the recipes of the two layouts: by the hash of a name, and in closed form."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anymodal.checkpoints.formats.fourm.keys import Key
from anymodal.errors import CheckpointError

EMBEDDINGS = ("mod_emb", "mask_token", "register_tokens", "pos_emb")


def half(values: np.ndarray) -> np.ndarray:
    """Rounded to float16 and back to float32."""
    return values.astype(np.float16).astype(np.float32)


def hashed_weight(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """A normal tensor seeded by its salted name, scaled by what the name says it is."""
    seed = int(hashlib.sha256(f"{salt}:{name}".encode()).hexdigest(), 16) % 2**32
    z = np.random.RandomState(seed).standard_normal(int(np.prod(shape))).reshape(shape)
    last = name.rpartition(".")[2]
    if last == "weight" and len(shape) == 1:
        z = 1 + 0.1 * z
    elif last == "bias":
        z = 0.1 * z
    elif "token_emb" in name or last in EMBEDDINGS:
        z = 0.25 * z
    elif last == "embed":
        z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    else:
        z = z / np.sqrt(shape[-1] if len(shape) == 2 else np.prod(shape[1:]))
    return half(z)


def hashed_state(keys: Iterable[Key], salt: str, kept: Iterable[str] = ()) -> dict[str, Tensor]:
    """A state by the hash recipe; constants and the `kept` names hold what a constructor leaves there.

    A tensor with two names is drawn under the encoder's.
    """
    kept = set(kept)
    by_part: dict[str, str] = {}
    state: dict[str, Tensor] = {}
    for key in keys:
        if key.fixed is not None:
            state[key.name] = key.fixed().reshape(key.shape)
        elif key.name in kept:
            state[key.name] = torch.zeros(key.shape)
        else:
            drawn = by_part.setdefault(key.part or key.name, key.name)
            state[key.name] = torch.from_numpy(hashed_weight(drawn, key.shape, salt))
    return state


def closed_form(name: str, shape: tuple[int, ...], seed: int, offset: float, scale: float) -> np.ndarray:
    """A tensor computed from its name: an integer hash of each index (golden2's README)."""
    x = np.arange(int(np.prod(shape)), dtype=np.uint32) + np.uint32(zlib.crc32(name.encode()) ^ seed)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(16)
    u = (x >> np.uint32(8)).astype(np.float64) / 2**24
    return (offset + scale * (2 * u - 1)).astype(np.float32).reshape(shape)


def closed_form_state(keys: Iterable[Key], recipe: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """A state by the closed-form recipe. Raises CheckpointError if it lists other tensors than the keys."""
    tensors, state = recipe["tensors"], {}
    by_part: dict[str | None, str] = {}
    for key in keys:
        entry = tensors.get(key.name)
        if isinstance(entry, Mapping):
            entry = (entry["offset"], entry["scale"])
        if entry is not None:
            values = closed_form(key.name, key.shape, recipe["seed"], *entry)
            state[key.name] = torch.from_numpy(values)
            by_part.setdefault(key.part, key.name)
        elif key.part is not None and key.part in by_part:
            state[key.name] = state[by_part[key.part]]
        elif key.name in recipe["not_filled"]:
            state[key.name] = key.fixed().reshape(key.shape) if key.fixed else torch.zeros(key.shape)
    if extra := sorted(tensors.keys() - state.keys()):
        raise CheckpointError(f"{source} fills {extra[0]!r}, which its config does not explain")
    return state


def dense(seed: int, shape: Iterable[int]) -> np.ndarray:
    """A dense input by the hash recipe."""
    return half(np.random.RandomState(seed).standard_normal(tuple(shape)))
