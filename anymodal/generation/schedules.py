"""How many tokens each step decodes, and at which temperature (4M, arXiv 2312.06647)."""

from __future__ import annotations

import math

import attrs
import numpy as np

from anymodal.errors import ConfigError
from anymodal.sampling import Sampling


@attrs.frozen
class Step:
    """One forward pass of a grid: how many of its tokens it fixes, and the temperature they are drawn at."""

    count: int
    temperature: float


def steps_of(how: Sampling, total: int) -> list[Step]:
    """The steps that fill `total` positions of a grid."""
    counts = token_schedule(how.schedule, total, how.steps) if total else []
    return list(map(Step, counts, temperature_schedule(how.anneal, how.temperature, counts)))


def remaining(counts: list[int], done: int) -> list[int]:
    """What is left of a token schedule once its first `done` tokens are known."""
    left = []
    for count in counts:
        skipped = min(count, done)
        done -= skipped
        left.append(count - skipped)
    return [count for count in left if count]


def token_schedule(kind: str, total: int, steps: int) -> list[int]:
    """Tokens a step, summing to `total`; steps without tokens are left out.

    'linear' is even and descending; 'cosine' takes the differences of (1 + cos(pi i / steps)) / 2, small at both ends.
    """
    if kind == "linear":
        counts = sorted(np.diff(np.linspace(0, total, steps + 1).astype(int)).tolist(), reverse=True)
    elif kind == "cosine":
        share = [0.5 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)] + [0.0]
        counts = []
        for i in range(steps):
            wanted = round(total * (share[i] - share[i + 1])) if i < steps - 1 else total
            counts.append(min(wanted, total - sum(counts)))
    else:
        raise ConfigError(f"a token schedule is 'linear' or 'cosine', got {kind!r}")
    return [int(c) for c in counts if c > 0]


def temperature_schedule(kind: str, temperature: float, counts: list[int]) -> list[float]:
    """One temperature a step: 'constant', 'linear' in the share left, 'onex:MIN:POWER' (falls like one over x), or
    'down:MIN' (straight down to MIN in the share done after the step)."""
    total = sum(counts)
    if not counts:
        return []
    if kind == "constant":
        return [temperature] * len(counts)
    if kind == "linear":
        done = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.maximum(temperature * (1 - done / total), 1e-9).tolist()
    if kind.startswith("onex"):
        low, power = _numbers(kind, "onex:MIN:POWER", "onex:0.5:0.5")
        curve = np.linspace(1, 100, total) ** -power
        span = curve[0] - curve[-1]
        unit = (curve - curve[-1]) / span if span > 0 else np.ones(total)
        left = 1 - np.cumsum(counts) / total
        return (low + (temperature - low) * unit[: len(counts)] * left).tolist()
    if kind.startswith("down"):
        (low,) = _numbers(kind, "down:MIN", "down:0.2")
        return (temperature + (low - temperature) * np.cumsum(counts) / total).tolist()
    raise ConfigError(f"a temperature schedule is 'constant', 'linear', 'onex:MIN:POWER' or 'down:MIN', got {kind!r}")


def _numbers(kind: str, form: str, example: str) -> list[float]:
    """The numbers of a schedule written like `form`."""
    try:
        values = [float(part) for part in kind.split(":")[1:]]
    except ValueError:
        values = []
    if len(values) != form.count(":"):
        raise ConfigError(f"{kind!r} is not of the form {form}, such as {example}")
    return values
