"""How many tokens each step decodes, and at which temperature (4M, arXiv 2312.06647)."""

from __future__ import annotations

import math

import numpy as np

from anymodal.errors import ConfigError


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
    """One temperature a step: 'constant', 'linear' in the share left, or 'onex:MIN:POWER' (falls like one over x)."""
    total = sum(counts)
    if kind == "constant":
        return [temperature] * len(counts)
    if kind == "linear":
        done = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.maximum(temperature * (1 - done / total), 1e-9).tolist()
    if kind.startswith("onex"):
        low, power = _onex_numbers(kind)
        curve = np.linspace(1, 100, total) ** -power
        span = curve[0] - curve[-1]
        unit = (curve - curve[-1]) / span if span > 0 else np.ones(total)
        left = 1 - np.cumsum(counts) / total
        return (low + (temperature - low) * unit[: len(counts)] * left).tolist()
    raise ConfigError(f"a temperature schedule is 'constant', 'linear' or 'onex:MIN:POWER', got {kind!r}")


def _onex_numbers(kind: str) -> tuple[float, float]:
    try:
        _, low, power = kind.split(":")
        return float(low), float(power)
    except ValueError:
        raise ConfigError(f"{kind!r} is not of the form onex:MIN:POWER, such as onex:0.5:0.5") from None
