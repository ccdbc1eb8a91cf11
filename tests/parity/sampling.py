"""generate/: schedules, filtering, and greedy sequences with and without guidance."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from anymodal.checkpoints.formats.fourm.domains import DOMAINS, END
from anymodal.files import read_json
from anymodal.generation import GuidedModel, Sampler, SampleState, StreamTokens, Target, guidance_passes
from anymodal.generation.logits import filter_logits
from anymodal.model import Transformer
from anymodal.sampling import Sampling
from anymodal.text import Vocabulary
from parity.batches import dense_rows
from parity.helpers import verify_helpers
from parity.recipes import dense
from parity.results import Result, attempt, gap, skip, worst
from parity.runs import RECORDED, RecordedTarget, verify_runs
from parity.transformer import hashed_model
from parity.vocabulary import find_vocabulary

TOLERANCE, LOGIT_TOLERANCE = 1e-9, 1e-4


def verify_sampling(folder: Path) -> Iterator[Result]:
    """All cases of a folder generate/ of either layout."""
    for name, run in (("schedules.json", _schedules), ("filtering.safetensors", _filtering), ("filtering.npz", _kept)):
        if (folder / name).is_file():
            yield from attempt(f"generate/{Path(name).stem}", partial(run, folder / name))
    cases = read_json(folder / "cases.json") if (folder / "cases.json").is_file() else {}
    if isinstance(cases, dict):
        yield from _hashed_runs(folder, cases)
    else:
        yield from verify_runs(folder, cases)
    if (folder / "helpers.json").is_file():
        yield from attempt("generate/helpers", partial(verify_helpers, folder))


def _schedules(path: Path) -> Result:
    """Token counts must be equal, zeros apart; where the original's are negative, ours must be a valid schedule."""
    recorded, error, broken = read_json(path), 0.0, 0
    for kind in ("cosine", "linear"):
        for steps, total, counts in _token_cases(recorded, kind):
            mine = [step.count for step in Sampling(schedule=kind, steps=steps).plan(total)]
            if min(counts) < 0:
                broken += 1
                error = max(error, gap(sum(mine), total), float(min(mine) < 1))
            else:
                error = max(error, gap(mine, [c for c in counts if c]))
    for kind, temperature, counts, expected in _temperature_cases(recorded):
        error = max(error, gap(Sampling(anneal=kind).anneal.temperatures(temperature, counts), expected))
    for case in recorded.get("continue_schedule", []):
        left = [count for count in case["out"] if count]
        error = max(error, gap(_remaining(case["schedule"], case["num_current_tokens"]), left))
    for case in recorded.get("build_chained_generation_schedules", []):
        error = max(error, _chain_error(case["kwargs"], case["out"]))
    note = f"{broken} cosine schedules end in a negative count in the original and are only checked to be valid"
    return Result("generate/schedules", error, TOLERANCE, note if broken else "")


def _remaining(counts: list[int], done: int) -> list[int]:
    """What is left of a token schedule once its first `done` tokens are known."""
    left = []
    for count in counts:
        skipped = min(count, done)
        done -= skipped
        left.append(count - skipped)
    return [count for count in left if count]


def _token_cases(recorded: dict[str, Any], kind: str) -> list[tuple[int, int, list[int]]]:
    stored = recorded.get(f"{kind}_schedule")
    if stored is None:
        return [tuple(case) for case in recorded[kind]]
    return [(case["num_steps"], case["total_tokens"], case["out"]) for case in stored]


def _temperature_cases(recorded: dict[str, Any]) -> Iterator[tuple[str, float, list[int], list[float]]]:
    for high, low, power, counts, out in recorded.get("onex_temperature", []):
        yield f"onex:{low}:{power}", high, counts, out
    for high, counts, out in recorded.get("linear_temperature", []):
        yield "linear", high, counts, out
    for case in recorded.get("onex_temp_schedule", []):
        yield f"onex:{case['min_t']}:{case['power']}", case["max_t"], case["token_schedule"], case["out"]
    for case in recorded.get("linear_temp_schedule", []):
        yield "linear", case["temp"], case["token_schedule"], case["out"]
    for case in recorded.get("decreasing_temp_schedule", []):
        yield f"down:{case['min']}", case["max"], case["token_schedule"], case["out"]


def _chain_error(how: dict[str, Any], recorded: list[dict[str, Any]]) -> float:
    """Largest difference between a recorded list of steps and the steps of our targets."""
    mine: list[tuple[str, int | None, float]] = []
    for i, name in enumerate(how["target_domains"]):
        if how["autoregression_schemes"][i] == "autoregressive":
            mine.append((name, None, how["temps"][i]))
            continue
        sampling = Sampling(
            scheme=how["autoregression_schemes"][i],
            steps=how["decoding_steps"][i],
            schedule=how["token_decoding_schedules"][i],
            temperature=how["temps"][i],
            anneal=how["temp_schedules"][i],
        )
        mine += [(name, step.count, step.temperature) for step in sampling.plan(how["tokens_per_target"][i])]
    theirs = [(step["target_domain"], step["num_tokens"], step["temperature"]) for step in recorded]
    if [step[:2] for step in mine] != [step[:2] for step in theirs]:
        return float("inf")
    return gap([step[2] for step in mine], [step[2] for step in theirs])


def _filtering(path: Path) -> Result:
    arrays = load_file(path)
    logits, error = torch.from_numpy(arrays.pop("logits")), 0.0
    for name, expected in arrays.items():
        settings = dict(part.split("=") for part in name.split(","))
        mine = filter_logits(logits, _top_k(float(settings["top_k"]), logits.shape[-1]), float(settings["top_p"]))
        error = max(error, gap(mine, expected))
    return Result("generate/filtering", error, 0, f"{len(arrays)} settings")


def _kept(path: Path) -> Result:
    settings, error = read_json(path.with_suffix(".json")), 0.0
    with np.load(path, allow_pickle=False) as arrays:
        logits = torch.from_numpy(arrays["logits"])
        compared = {key: value for key, value in settings.items() if key.isdigit()}
        for key, value in compared.items():
            count = value["top_k"] if value["top_k_type"] == "int" else _top_k(value["top_k"], logits.shape[-1])
            mine = torch.isfinite(filter_logits(logits, int(count), value["top_p"]))
            error = max(error, gap(mine, arrays[f"kept/{key}"]))
    return Result("generate/filtering", error, 0, f"{len(compared)} settings")


def _top_k(value: float, size: int) -> int:
    """4M takes a fraction of the ids as well as a count."""
    return int(value * size) if 0 < value < 1 else int(value)


def _hashed_runs(folder: Path, recorded: dict[str, Any]) -> Iterator[Result]:
    for case in recorded.get("cases", []):
        given, guidance = "+".join(case["input"]), case.get("guidance", 1)
        name = f"generate/{case['kind']} {given} -> {case['target']} guidance {guidance}"
        if case["kind"] == "autoregressive":
            yield from attempt(name, partial(_greedy, name, recorded, case))
        elif case.get("captions") and find_vocabulary(folder.parent / "text") is None:
            yield skip(name, "its captions need the text tokenizer file of 4M; put it into text/")
        else:
            yield from attempt(name, partial(_grid_step, name, recorded, case, folder))


def _grid_step(name: str, recorded: dict[str, Any], case: dict[str, Any], folder: Path) -> Result:
    """One parallel step on a partly revealed grid: logits of both passes, and the best ids with and without guidance.

    Ids are compared where the two best are further apart than both could be off.
    """
    model = hashed_model(recorded["config"], recorded["weight_salt"], "generate/cases.json")
    prefix = f"{case['name']}."
    arrays = {k.removeprefix(prefix): v for k, v in load_file(folder / "grid.safetensors").items()}
    arrays = {k: v for k, v in arrays.items() if "." not in k}
    target, asked = model.layout[DOMAINS[case["target"]].stream], arrays["target_positions"]
    samples = [SampleState(model.layout, given) for given in _grid_inputs(model, case, folder, len(asked))]
    for sample, ids in zip(samples, arrays["known_ids"], strict=True):
        sample.put(target.name, StreamTokens(ids, arrays["known_positions"]))
    guided_model = GuidedModel(model)
    passes = guidance_passes(samples, Target(target.name, Sampling(guidance=case["guidance"])))
    with torch.inference_mode():
        cond, uncond, guided = (
            guided_model.grid_logits(samples, target, list(asked), part) for part in (passes[1:], passes[:1], passes)
        )
    errors = {
        "conditional logits": gap(cond[..., :64], arrays["cond_logits64"]),
        "unconditional logits": gap(uncond[..., :64], arrays["uncond_logits64"]),
        "log-sum-exp": gap(cond.logsumexp(-1), arrays["cond_logsumexp"]),
        "best ids": _argmax_error(cond, arrays["cond_argmax"], 1),
        "best guided ids": _argmax_error(guided, arrays["guided_argmax"], 2 * abs(case["guidance"]) + 1),
    }
    return worst(name, errors, LOGIT_TOLERANCE)


def _grid_inputs(model: Transformer, case: dict[str, Any], folder: Path, count: int) -> Iterator[dict[str, np.ndarray]]:
    stream = model.layout["rgb.pixels"]
    pictures = dense(case["dense_seed"], (count, 3, 224, 224))
    vocabulary = None
    if case.get("captions"):
        path = find_vocabulary(folder.parent / "text")
        assert path is not None
        vocabulary = Vocabulary.load(path)
    for b, picture in enumerate(pictures):
        given = {stream.name: dense_rows(picture, stream)} if "rgb@224" in case["input"] else {}
        if vocabulary is not None:
            given["caption"] = np.append(vocabulary.encode(case["captions"][b]), vocabulary.end)
        yield given


def _argmax_error(logits: torch.Tensor, expected: np.ndarray, spread: float) -> float:
    best = logits.topk(2, -1)
    clear = (best.values[..., 0] - best.values[..., 1] > 2 * spread * LOGIT_TOLERANCE).numpy()
    return float((best.indices[..., 0].numpy() != expected)[clear].sum())


def _greedy(name: str, recorded: dict[str, Any], case: dict[str, Any]) -> Result:
    model = hashed_model(recorded["config"], recorded["weight_salt"], "generate/cases.json")
    expected = np.array(case["greedy_ids"])
    target = DOMAINS[case["target"]].stream
    pixels = dense(case["dense_seed"], (len(expected), 3, 224, 224))
    stream = model.layout["rgb.pixels"]
    known = [SampleState(model.layout, {stream.name: dense_rows(picture, stream)}) for picture in pixels]
    how = Sampling(scheme=RECORDED["autoregressive"], temperature=0.0, guidance=case["guidance"])
    plan = [RecordedTarget(target, how, length=case["target_length"] - 1, until=case["stop_id"])]
    for _ in Sampler(model).run(known, plan, range(len(known))):
        pass
    wrong = sum(
        _until_stop(sample.streams[target].values, case["stop_id"]) != _until_stop(ids[1:], case["stop_id"])
        for sample, ids in zip(known, expected, strict=True)
    )
    return Result(name, wrong, 0, f"of {len(known)} sequences")


def _until_stop(ids: np.ndarray, stop: int) -> list[int]:
    """Ids before the first stop or end mark: what follows is no part of the text."""
    stops = np.flatnonzero((ids == stop) | (ids == END))
    return ids[: stops[0] if len(stops) else len(ids)].tolist()
