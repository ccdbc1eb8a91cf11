"""How a picture turns into noise: this file decides how much of each is left at every timestep.

A noisy picture is sqrt(a) x + sqrt(1 - a) e, where a, the share of signal, falls from almost 1 at timestep 0 towards 0
at the last (Ho et al. 2020). Tables are float32 and made as published models had them: their last digits matter where
a is close to 1.

Shapes: B batch, ... a picture, T timesteps.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from anymodal.tokenizers.config import SHIFTED, NoiseConfig

FIRST, LAST = 1e-4, 0.02  # betas of the linear schedules


def signal_shares(config: NoiseConfig) -> Tensor:
    """The share of signal, a, at every timestep: float32 (T,), falling, on the CPU."""
    name, _, shift = config.schedule.partition(":")
    if name == SHIFTED:
        return _shifted_cosine(config.timesteps, float(shift))
    betas_T = _betas(name, config.timesteps)
    if config.zero_terminal:
        betas_T = _end_in_noise(betas_T)
    return (1 - betas_T).cumprod(0)


def _betas(name: str, count: int) -> Tensor:
    """The share of variance, in (0, 1), that every timestep replaces by noise."""
    if name == "squaredcos_cap_v2":  # Nichol & Dhariwal 2021, equation 17
        share = [math.cos((t / count + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(count + 1)]
        betas = [min(1 - after / before, 0.999) for before, after in pairwise(share)]
        return torch.tensor(betas, dtype=torch.float32, device="cpu")
    ends = {"linear": (FIRST, LAST), "scaled_linear": (FIRST**0.5, LAST**0.5), "sigmoid": (-6.0, 6.0)}[name]
    line_T = torch.linspace(*ends, count, dtype=torch.float32, device="cpu")
    if name == "scaled_linear":
        return line_T**2
    return line_T if name == "linear" else line_T.sigmoid() * (LAST - FIRST) + FIRST


def _end_in_noise(betas_T: Tensor) -> Tensor:
    """Betas whose last step leaves no signal and whose first stays (Lin et al. 2023, algorithm 1)."""
    roots_T = (1 - betas_T).cumprod(0).sqrt()
    first, last = roots_T[0].clone(), roots_T[-1].clone()
    shares_T = ((roots_T - last) * first / (first - last)) ** 2
    return 1 - torch.cat([shares_T[:1], shares_T[1:] / shares_T[:-1]])


def _shifted_cosine(count: int, shift: float) -> Tensor:
    """The cosine schedule with its log signal-to-noise ratio moved by -2 log shift (Hoogeboom et al. 2023, eq. 3)."""
    time_T = torch.linspace(0, 1, count, dtype=torch.float64, device="cpu")
    ratio_T = -2 * ((math.pi / 2 * time_T).tan().log() + math.log(shift))
    shares_T = ratio_T.clamp(-15, 15).float().sigmoid()
    shares_T[-1] = 0
    return shares_T


class Noise:
    """The noise schedule of a decoder: mixes pictures with noise, and takes apart what it predicts."""

    def __init__(self, config: NoiseConfig) -> None:
        self.config = config
        self.shares_T = signal_shares(config)

    def share(self, timestep: int) -> Tensor:
        """The share of signal, a scalar; 1 before the first timestep."""
        return self.shares_T[timestep] if timestep >= 0 else torch.ones((), device="cpu")

    def mix(self, x: Tensor, noise: Tensor, timesteps_B: Tensor) -> Tensor:
        """Pictures (B, ...) with the noise of their timesteps."""
        signal, rest = self._roots(x, timesteps_B)
        return signal * x + rest * noise

    def velocity(self, x: Tensor, noise: Tensor, timesteps_B: Tensor) -> Tensor:
        """What a decoder with velocity prediction puts out (Salimans & Ho 2022, appendix D)."""
        signal, rest = self._roots(x, timesteps_B)
        return signal * noise - rest * x

    def target(self, x: Tensor, noise: Tensor, timesteps_B: Tensor) -> Tensor:
        """What the decoder should put out for `mix(x, noise, timesteps)`."""
        match self.config.prediction:
            case "sample":
                return x
            case "epsilon":
                return noise
            case _:
                return self.velocity(x, noise, timesteps_B)

    def parts(self, noisy: Tensor, output: Tensor, timestep: int) -> tuple[Tensor, Tensor]:
        """The picture, cut to its range, and the noise that an output says a noisy picture is made of."""
        share = self.share(timestep)
        signal, rest = share.sqrt(), (1 - share).sqrt()
        match self.config.prediction:
            case "sample":
                clean, noise = output, (noisy - signal * output) / rest
            case "epsilon":
                clean, noise = (noisy - rest * output) / signal, output
            case _:
                clean, noise = signal * noisy - rest * output, signal * output + rest * noisy
        return self._cut(clean), noise

    def _cut(self, clean: Tensor) -> Tensor:
        if self.config.threshold and self.config.ceiling > 1:
            return threshold(clean, self.config.ceiling)
        return clean.clamp(-1, 1) if self.config.clip or self.config.threshold else clean

    def _roots(self, like: Tensor, timesteps_B: Tensor) -> tuple[Tensor, Tensor]:
        shares_B = self.shares_T.to(like.device)[timesteps_B.to(like.device)]
        shares = shares_B.view(-1, *[1] * (like.ndim - 1)).to(like.dtype)
        return shares.sqrt(), (1 - shares).sqrt()


def threshold(x: Tensor, ceiling: float, quantile: float = 0.995) -> Tensor:
    """Pictures cut at a quantile of their absolute values, between 1 and `ceiling`, and divided by it: in [-1, 1]."""
    highest_B = torch.quantile(x.float().flatten(1).abs(), quantile, dim=1).clamp(1, ceiling)
    limit = highest_B.view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
    return x.clamp(-limit, limit) / limit


def spaced(timesteps: int, steps: int, spacing: str) -> list[int]:
    """The timesteps that `steps` steps visit, falling; "trailing" starts at the last, "leading" ends at the first.

    As in published samplers "trailing" strides by the whole number timesteps // steps and so takes more steps where
    that leaves a rest; "linspace" visits both ends; "even" is "trailing" with exactly `steps` of them.
    """
    stride = timesteps // steps
    match spacing:
        case "trailing":
            return list(range(timesteps - 1, -1, -stride))
        case "leading":
            return list(range((steps - 1) * stride, -1, -stride))
        case "linspace":
            return [int(t) - 1 for t in np.round(np.linspace(timesteps, 1, steps))]
        case _:
            return [int(t) - 1 for t in np.round(np.linspace(timesteps, 0, steps, endpoint=False))]
