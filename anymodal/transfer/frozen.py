"""Features of many samples by a frozen model, computed once and kept in a file.

Shapes: n samples, N tokens, D width, h x w cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch

from anymodal.errors import ConfigError, DataError, ValueProblem, system_errors
from anymodal.files import read_array_and_note, write_array
from anymodal.generation.state import SampleState
from anymodal.model.features import features_of
from anymodal.outputs.fingerprint import fingerprint
from anymodal.progress import task
from anymodal.tokens import collate

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel

BATCH = 32
NOTE = "sha256"  # of the numbers, behind them in the file


@attrs.frozen(eq=False)
class StoredTokens:
    """What stands for a value: its tokens by stream, as a tokenized dataset holds them."""

    tokens: Mapping[str, np.ndarray]


def accepted(model: AnyModel, sample: Mapping[str, Any]) -> dict[str, Any]:
    """The natural values of a sample; what is stored as tokens stays as it is. Raises as `AnyModel.accept`."""
    plain = model.accept({name: value for name, value in sample.items() if not isinstance(value, StoredTokens)})
    return {name: plain.get(name, value) for name, value in sample.items()}


def condition(model: AnyModel, sample: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What the encoder reads of an accepted sample, by stream. Raises ConfigError for tokens that it does not read."""
    plain = {name: value for name, value in sample.items() if not isinstance(value, StoredTokens)}
    found = dict(model.modalities.condition(plain)) if plain else {}
    for name, value in sample.items():
        for stream in model.modalities.input_streams(name) if isinstance(value, StoredTokens) else ():
            if stream not in value.tokens:
                raise ConfigError(f"the model reads {name!r} as {stream!r}, which is not among the stored tokens")
            found[stream] = value.tokens[stream]
    return found


def frozen_features(
    model: AnyModel,
    samples: Sequence[Mapping[str, Any]],
    *,
    map_of: str | None = None,
    pool: str | None = "mean",
    layer: int = -1,
    cache: Path | None = None,
) -> np.ndarray:
    """Features of samples, float32.

    Args:
        model: whose encoder reads them.
        samples: accepted values by modality, the same modalities in each.
        map_of: a grid of which every cell has a feature.
        pool: 'mean' for one vector a sample; None for all tokens.
        layer: after which block.
        cache: a folder where they are kept, under a name made of what the encoder reads and of its weights, so that
            a changed input or another model never meets old features.

    Returns:
        (n, h, w, D) of a map, (n, D) pooled, or (n, N, D), zero where a sample has fewer tokens than another.

    Raises:
        AnymodalError: a value cannot be read as tokens.
        ValueProblem: the model gives features that are not finite.
        DataError: the cache cannot be read or written, or a file of it is not what was written.
    """
    path = None
    if cache is not None:
        path = cache / f"{_key(model, samples, f'{map_of} {pool} {layer}')}.npy"
        with system_errors(DataError, f"cannot read {path}"):
            if path.is_file():
                return _kept(path)
    found = _computed(model, samples, map_of, pool, layer)
    if not np.isfinite(found).all():
        raise ValueProblem("the features are not finite: the model computes numbers beyond its precision")
    if path is not None:
        with system_errors(DataError, f"cannot write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_array(found, path, f"{NOTE} {_hash(found)}".encode())
    return found


def _kept(path: Path) -> np.ndarray:
    """The features in a file. Raises DataError where they are not what was written."""
    try:
        found, note = read_array_and_note(path, NOTE, 64 + len(NOTE))
    except ValueProblem as error:
        raise DataError(f"{error}; remove it, and it is made again") from None
    if note != _hash(found).encode():
        raise DataError(f"{path} is damaged: it is not what was written; remove it, and it is made again")
    return found


def _hash(found: np.ndarray) -> str:
    return hashlib.sha256(f"{found.dtype} {found.shape} ".encode() + np.ascontiguousarray(found).tobytes()).hexdigest()


@torch.inference_mode()
def _computed(
    model: AnyModel, samples: Sequence[Mapping[str, Any]], map_of: str | None, pool: str | None, layer: int
) -> np.ndarray:
    parts = []
    with task("features", len(samples)) as now:
        for rows in _batches(samples):
            pooling = None if map_of is not None else pool
            layout = model.modalities.layout
            states_of = [SampleState(layout, condition(model, row)).pack() for row in rows]
            packed = collate(states_of, layout, input_tokens=1).to(model.device)
            features = features_of(model.transformer, packed.inputs, [layer], pooling)
            states = features.map(map_of)[0] if map_of is not None else features.states[0]
            if map_of is None and pooling is None:
                states = states * features.attended[..., None]
            parts.append(states.float().cpu().numpy())
            now.advance(len(rows))
    if map_of is not None or pool is not None:
        return np.concatenate(parts)
    most = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, [(0, 0), (0, most - part.shape[1]), (0, 0)]) for part in parts])


def _batches(samples: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    for start in range(0, len(samples), BATCH):
        yield list(samples[start : start + BATCH])


def _key(model: AnyModel, samples: Sequence[Mapping[str, Any]], what: str) -> str:
    """A name made of the weights, of all that the encoder reads, and of what is made of it."""
    content = hashlib.sha256(f"{fingerprint(model.transformer, model.modalities).transformer} {what}".encode())
    for sample in samples:
        for name, tokens in sorted(condition(model, sample).items()):
            content.update(f"{name} {tokens.dtype} {tokens.shape}".encode())
            content.update(np.ascontiguousarray(tokens).tobytes())
    return content.hexdigest()[:32]
