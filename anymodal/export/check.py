"""A stored graph beside the module that it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from anymodal.errors import ConfigError
from anymodal.export.graphs import TYPES, Draft
from anymodal.export.precision import Precision
from anymodal.sessions.manifest import Graph, Port, digest
from anymodal.sessions.session import Session


def checked(draft: Draft, folder: Path, file: str, precision: Precision) -> Graph:
    """What a manifest says of a graph that lies in a folder, after it was compared with PyTorch.

    Raises ConfigError where it is further from PyTorch than its precision allows.
    """
    path = folder / file
    graph = Graph(
        file=file,
        sha256=digest(path),
        bytes=path.stat().st_size,
        inputs={name: Port(TYPES[draft.examples[0][name].dtype], tuple(shape)) for name, shape in draft.inputs.items()},
        outputs={},
        error=0.0,
    )
    session, errors, kinds, allowed = Session(folder.joinpath, graph), [], {}, {}
    for examples in draft.examples:
        with torch.no_grad():
            wanted = draft.module(*examples.values())
        outputs = wanted if isinstance(wanted, tuple) else (wanted,)
        for name, mine, theirs in zip(draft.outputs, session(**examples), outputs, strict=True):
            if mine.shape != theirs.shape:
                raise ConfigError(f"{file} gives {name} of shape {tuple(mine.shape)}, not {tuple(theirs.shape)}")
            kinds[name] = TYPES[theirs.dtype]
            whole = not theirs.is_floating_point()
            error = _differing(mine.numpy(), theirs.numpy()) if whole else _distance(mine.numpy(), theirs.numpy())
            errors.append(error)
            allowed[name] = precision.ids if whole else precision.tolerance
            if not error <= allowed[name]:
                raise ConfigError(
                    f"{file} is {error:.3g} away from PyTorch in {name}, more than {allowed[name]}; store more bits"
                )
    ports = {name: Port(kinds[name], tuple(shape)) for name, shape in draft.outputs.items()}
    return Graph(
        file=file,
        sha256=graph.sha256,
        bytes=graph.bytes,
        inputs=graph.inputs,
        outputs=ports,
        error=float(f"{max(errors, default=0.0):.3g}"),
    )


def _differing(mine: np.ndarray, theirs: np.ndarray) -> float:
    return float((mine != theirs).mean()) if mine.size else 0.0


def _distance(mine: np.ndarray, theirs: np.ndarray) -> float:
    """The root of the mean square of the differences, over that of `theirs`."""
    spread = float(np.sqrt(np.square(theirs, dtype=np.float64).mean())) if theirs.size else 0.0
    gap = float(np.sqrt(np.square(mine.astype(np.float64) - theirs).mean())) if mine.size else 0.0
    return gap / spread if spread else gap
