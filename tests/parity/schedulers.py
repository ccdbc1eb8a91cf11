"""tok/schedulers: noise schedules, visited timesteps, single steps, and mixing pictures with noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.tokenizers.config import NoiseConfig
from anymodal.tokenizers.noise import Noise, spaced
from anymodal.tokenizers.solvers import ddim, ddpm
from parity.results import gap

TIMESTEPS = 1000


def scheduler_errors(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> dict[str, float]:
    """The gap of every recorded value of the schedulers."""
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    errors = {}
    for case in about["alphas_cumprod"]:
        mine = _noise(case).shares_T[case["at"]]
        errors[f"shares of signal {case['index']}"] = gap(mine, arrays[f"alphas_cumprod/{case['index']}"])
    for case in about["timesteps"]:
        visited = spaced(TIMESTEPS, case["steps"], "leading" if _kind(case) == "ddpm" else case["mode"])
        first, last = len(case["first"]), len(case["last"])
        wrong = (len(visited), visited[:first], visited[-last:]) != (case["length"], case["first"], case["last"])
        errors[f"timesteps of {case['steps']} steps, {case['mode']}, {case['scheduler']}"] = float(wrong)
    for case in about["steps"]:
        for name, value in _step(case, tensors):
            errors[f"{name} {case['index']}"] = gap(value, arrays[f"step/{_kind(case)}/{case['index']}/{name}"])
    return errors | _mixing_errors(arrays, tensors, about["add_noise"])


def _kind(case: Mapping[str, Any]) -> str:
    return "ddpm" if case["scheduler"].startswith("DDPM") else "ddim"


def _noise(case: Mapping[str, Any]) -> Noise:
    return Noise(
        NoiseConfig(
            schedule=case["beta_schedule"],
            prediction=case.get("prediction_type", "sample"),
            timesteps=TIMESTEPS,
            zero_terminal=case.get("zero_terminal_snr", True),
            clip=case.get("clip_sample", False),
            threshold=case.get("thresholding", False),
        )
    )


def _step(case: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The two recorded results of one step."""
    noise, t = _noise(case), case["t"]
    before = t - TIMESTEPS // case["inference_steps"]
    noisy, output = tensors["step/sample"], tensors["step/model_output"]

    def draw() -> Tensor:
        return tensors["step/variance_noise"]

    clean, rest = noise.parts(noisy, output, t)
    yield "pred_original_sample", clean
    if _kind(case) == "ddpm":
        yield "prev_sample", ddpm(noise.share(t), noise.share(before), noisy, clean, t > 0, draw)
    else:
        yield "prev_sample", ddim(noise.share(t), noise.share(before), clean, rest, case.get("eta", 0.0), draw)


def _mixing_errors(
    arrays: Mapping[str, np.ndarray], tensors: Mapping[str, Tensor], case: Mapping[str, Any]
) -> dict[str, float]:
    noise, t = _noise(case), torch.tensor(case["t"])
    x, e = tensors[case["original_samples"]], tensors[case["noise"]]
    return {
        "add_noise": gap(noise.mix(x, e, t), arrays["add_noise"]),
        "get_velocity": gap(noise.velocity(x, e, t), arrays["get_velocity"]),
        "get_noise": gap(_noise_in(case, x, tensors[case["velocity_for_get_noise"]], t), arrays["get_noise"]),
    }


def _noise_in(case: Mapping[str, Any], noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
    """The noise in noisy pictures of that velocity, each of its own timestep."""
    noise = Noise(attrs.evolve(_noise(case).config, prediction="v_prediction"))
    samples = zip(noisy, velocity, timesteps.tolist(), strict=True)
    return torch.stack([noise.parts(x, v, t)[1] for x, v, t in samples])
