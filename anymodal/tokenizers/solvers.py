"""From noise to a picture: this file decides which steps a diffusion decoder takes.

A solver is made for one run and asked step by step, because "dpm++" remembers the step before. Everything is float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import attrs
import torch
from attrs.validators import optional
from torch import Tensor

from anymodal.config.validators import at_least, between, one_of, whole
from anymodal.errors import ConfigError
from anymodal.tokenizers.config import SOLVERS
from anymodal.tokenizers.noise import Noise, spaced

Spacing = Literal["trailing", "leading", "linspace", "even"]
Draw = Callable[[], Tensor]
SPACING: dict[str, Spacing] = {"ddim": "trailing", "ddpm": "leading", "dpm++": "even"}


@attrs.frozen(kw_only=True)
class Denoising:
    """How a diffusion decoder is run.

    steps: forward passes. eta: share of the noise that "ddpm" would draw, in [0, 1].
    solver: "ddim" (Song et al. 2021; deterministic unless `eta` is above 0), "ddpm" (Ho et al. 2020; draws noise at
        every step), "dpm++" (second-order DPM-Solver++, Lu et al. 2022), or None for the checkpoint's own.
    spacing: see `noise.spaced`; None for what is usual with the solver.
    """

    steps: int = attrs.field(default=25, validator=[whole, at_least(1)])
    solver: str | None = attrs.field(default=None, validator=optional(one_of(*SOLVERS)))
    spacing: str | None = attrs.field(default=None, validator=optional(one_of(*get_args(Spacing))))
    eta: float = attrs.field(default=0.0, validator=between(0, 1))


class Solver:
    """One run from noise to a picture: the timesteps to visit, and the picture after each."""

    def __init__(self, noise: Noise, options: Denoising) -> None:
        config = noise.config
        if options.steps > config.timesteps:
            raise ConfigError(f"{options.steps} steps are more than the {config.timesteps} timesteps of this decoder.")
        self.noise, self.eta = noise, options.eta
        self.kind = options.solver or config.solver
        spacing = options.spacing or SPACING[self.kind]
        self.timesteps = spaced(config.timesteps, options.steps, spacing)
        self.stride = config.timesteps // options.steps
        self.before: tuple[Tensor, Tensor] | None = None  # log signal-to-noise ratio and picture of the last step
        cut = self.kind == "ddpm" and (config.clip or config.threshold)  # which brings back what is divided by zero
        if config.prediction == "epsilon" and not cut and not noise.share(self.timesteps[0]) > 0:
            raise ConfigError(
                f"timestep {self.timesteps[0]} is pure noise, from which a decoder of epsilon cannot start;"
                " take fewer steps with spacing='leading', or a schedule without zero_terminal."
            )

    def step(self, index: int, noisy: Tensor, output: Tensor, draw: Draw) -> Tensor:
        """The picture after step `index`, from the one before it and the decoder's output; `draw` gives fresh noise."""
        t = self.timesteps[index]
        clean, noise = self.noise.parts(noisy, output, t)
        match self.kind:
            case "ddim":
                return ddim(self.noise.share(t), self.noise.share(t - self.stride), clean, noise, self.eta, draw)
            case "ddpm":
                return ddpm(self.noise.share(t), self.noise.share(t - self.stride), noisy, clean, t > 0, draw)
            case _:
                after = self.timesteps[index + 1] if index + 1 < len(self.timesteps) else -1
                return self._second_order(self.noise.share(t), self.noise.share(after), noisy, clean)

    def _second_order(self, share: Tensor, after: Tensor, noisy: Tensor, clean: Tensor) -> Tensor:
        """DPM-Solver++(2M), Lu et al. 2022, algorithm 2; the first and the last step are of first order."""
        ratio, ratio_after = (0.5 * torch.special.logit(a.double()) for a in (share, after))
        width = ratio_after - ratio
        direction = clean
        if self.before is not None and after < 1:
            ratio_before, clean_before = self.before
            extrapolated = 0.5 * width / (ratio - ratio_before)  # zero after a step from pure noise
            direction = clean + extrapolated.float() * (clean - clean_before)
        self.before = (ratio, clean)
        kept = ((1 - after) / (1 - share)).sqrt()
        return kept * noisy - after.sqrt() * torch.expm1(-width).float() * direction


def ddim(share: Tensor, after: Tensor, clean: Tensor, noise: Tensor, eta: float, draw: Draw) -> Tensor:
    """Song et al. 2021, equation 12: to signal share `after`, with `eta` times the noise that DDPM would draw."""
    if not eta:
        return after.sqrt() * clean + (1 - after).sqrt() * noise
    spread = eta * ((1 - after) / (1 - share) * (1 - share / after)).sqrt()
    return after.sqrt() * clean + (1 - after - spread**2).sqrt() * noise + spread * draw()


def ddpm(share: Tensor, after: Tensor, noisy: Tensor, clean: Tensor, draws: bool, draw: Draw) -> Tensor:
    """Ho et al. 2020, equations 6 and 7, to signal share `after`; without fresh noise in the last step."""
    kept = share / after
    mean = after.sqrt() * (1 - kept) / (1 - share) * clean + kept.sqrt() * (1 - after) / (1 - share) * noisy
    if not draws:
        return mean
    return mean + ((1 - after) / (1 - share) * (1 - kept)).clamp(min=1e-20).sqrt() * draw()
