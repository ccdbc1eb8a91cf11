"""Budgets, and what becomes of whole samples, over many draws: means and shares within sampling error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.files import read_json
from anymodal.masking import Alphas, Component, Gammas, Masker, MaskingConfig, published_budgets, whole_chunks
from anymodal.text import Vocabulary
from anymodal.tokens import Layout
from parity.masking.recorded import encoded, is_grid, recorded_stream
from parity.results import Result, attempt, worst

DEVIATIONS = 5.0  # standard errors: among some hundred compared numbers one beyond 5 is a chance of 1 in 10,000
SEED = 20260101


def verify_budgets(recorded: Mapping[str, Any]) -> Iterator[Result]:
    """Mean budgets and shares of draws with any, within sampling error, by component."""
    for number, component in enumerate(recorded["components"]):
        yield from attempt(
            f"masking/budgets component {number}", partial(_component_budgets, recorded, number, component)
        )


def _component_budgets(recorded: Mapping[str, Any], number: int, component: Mapping[str, Any]) -> Result:
    names, rng = list(recorded["alphas"]), np.random.default_rng(SEED + number)
    alphas = {
        side: Alphas(np.array([recorded["alphas"][n][f"{side}_alphas"][number] for n in names], float))
        for side in ("input", "target")
    }
    draws = [Gammas(each, rng) for each in alphas.values()]
    most, count = np.array([recorded["max_tokens"][n] for n in names]), recorded["draws"]
    grid = np.array([is_grid(n) for n in names])
    given, wanted = [], []
    for _ in range(count):
        given.append(published_budgets(draws[0], recorded["num_input_tokens"], range(len(most)), most))
        left = np.where(grid, most - given[-1], most)
        wanted.append(published_budgets(draws[1], recorded["num_target_tokens"], range(len(most)), left))
    errors: dict[str, float] = {}
    for side, drawn in (("input", np.array(given)), ("target", np.array(wanted))):
        for i, name in enumerate(names):
            if name in component[f"{side}_mean"]:
                mean, share = component[f"{side}_mean"][name], component[f"{side}_nonzero"][name]
                errors[f"{side} {name}"] = _mean_error(drawn[:, i], mean, float(drawn[:, i].std()), count)
                errors[f"{side} share {name}"] = _share_error(drawn[:, i] > 0, share, count)
        total = drawn.sum(1)
        errors[f"{side} total"] = _mean_error(total, component[f"{side}_total_mean"], float(total.std()), count)
    return _compared(f"masking/budgets component {number}", errors)


# Statistics of whole samples.


def verify_samples(folder: Path, vocabulary: Vocabulary) -> Iterator[Result]:
    recorded, raw = read_json(folder / "stats.json"), read_json(folder / "stats_raw_sequences.json")
    for name, case in recorded.items():
        yield from attempt(f"masking/stats {name}", partial(_stats_case, name, case, raw, vocabulary))


def _stats_case(name: str, case: Mapping[str, Any], raw: list[Mapping[str, Any]], vocabulary: Vocabulary) -> Result:
    names = list(case["modalities"])
    masker = _recorded_masker(case)
    samples = [_sample(case["modalities"], values, vocabulary) for values in raw]
    rng, rows = np.random.default_rng(SEED), []
    for number in range(case["draws"]):
        sample = samples[number % len(samples)]
        component = masker.component(rng)
        (concentrations,) = masker.concentrations(component, rng)
        given, wanted = masker.budgets(sample, concentrations, component, rng)
        selected = masker.select(sample, concentrations, given, wanted, component, rng)
        chosen = {s.stream.name: s for s in selected}
        read, asked = ([len(getattr(chosen[n], side)) for n in names] for side in ("inputs", "targets"))
        rows.append([read, asked, given.tolist(), wanted.tolist()])
    kinds = ("input_tokens", "target_tokens", "input_budget", "target_budget")
    drawn = dict(zip(kinds, np.array(rows).swapaxes(0, 1), strict=True))
    errors: dict[str, float] = {}
    for kind, values in drawn.items():
        for i, key in enumerate(names):
            errors |= _distribution_errors(f"{kind} {key}", values[:, i], case[kind][key], case["draws"])
        errors |= _distribution_errors(f"total {kind}", values.sum(1), case[f"total_{kind}"], case["draws"])
    for side in ("input", "target"):
        used = (drawn[f"{side}_tokens"] > 0).sum(1)
        errors |= _distribution_errors(f"{side} modalities", used, case[f"num_{side}_modalities_used"], case["draws"])
    return _compared(f"masking/stats {name}", errors)


def _recorded_masker(case: Mapping[str, Any]) -> Masker:
    """Our masker with the published scheme, over modalities as a recorded set-up describes them."""
    modalities = case["modalities"]
    streams = [recorded_stream(name, m["type"], m["max_tokens"]) for name, m in modalities.items()]
    count = len(next(iter(modalities.values()))["input_alphas"])
    components = [
        Component(
            inputs={n: m["input_alphas"][c] for n, m in modalities.items()},
            targets={n: m["target_alphas"][c] for n, m in modalities.items()},
            weight=case["sampling_weights"][c] if case["sampling_weights"] else 1.0,
            keep={n: m["keep"][c] for n, m in modalities.items() if m["keep"] and m["type"] != "img"},
            input_tokens=(case["input_tokens_range"][0], case["input_tokens_range"][1]),
        )
        for c in range(count)
    ]
    chunks = {"metadata": 2} if "metadata" in modalities else {}
    asked = case["target_tokens_range"][1]
    return Masker(Layout(streams), MaskingConfig(asked, asked, tuple(components), "fourm", chunks))


def _sample(modalities: Mapping[str, Any], values: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    sample: dict[str, np.ndarray] = {}
    for name, modality in modalities.items():
        most = modality["max_tokens"]
        if modality["type"] == "seq_emb":
            sample[name] = np.ones((min(values[name]["length"], most), 1), np.float32)
        elif modality["type"] == "seq":
            ids, sizes = encoded(values[name], vocabulary)
            sample[name] = ids[: whole_chunks(sizes, most).sum()]
        else:
            sample[name] = np.zeros((most, 1) if name.startswith("rgb") else most, np.int64)
    return sample


# How far two sets of draws are apart.


def _distribution_errors(name: str, mine: np.ndarray, theirs: Mapping[str, float], count: int) -> dict[str, float]:
    return {
        name: _mean_error(mine, theirs["mean"], theirs["std"], count),
        f"share of zeros of {name}": _share_error(mine == 0, theirs["fraction_zero"], count),
    }


def _mean_error(mine: np.ndarray, mean: float, deviation: float, count: int) -> float:
    """The difference of two means in standard errors; means that are stored rounded may differ by that."""
    spread = np.sqrt(float(mine.var()) / len(mine) + deviation**2 / count)
    return max(abs(float(mine.mean()) - mean) - 1e-3, 0.0) / max(spread, 1e-9)


def _share_error(mine: np.ndarray, share: float, count: int) -> float:
    """The difference of two shares of draws in standard errors of the pooled share."""
    pooled = (mine.sum() + share * count) / (len(mine) + count)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / len(mine) + 1 / count))
    return max(abs(float(mine.mean()) - share) - 1e-4, 0.0) / max(float(spread), 1e-9)


def _compared(case: str, errors: Mapping[str, float]) -> Result:
    return worst(case, errors, DEVIATIONS, f"standard errors; {len(errors)} numbers, ")
