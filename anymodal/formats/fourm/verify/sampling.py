"""generate/: schedules, filtering, and greedy sequences with and without guidance."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from safetensors.numpy import load_file

from anymodal.files import read_json
from anymodal.formats.fourm.batches import dense_rows
from anymodal.formats.fourm.domains import DOMAINS, END
from anymodal.formats.fourm.verify.recipes import dense
from anymodal.formats.fourm.verify.results import Result, attempt, gap, skip
from anymodal.formats.fourm.verify.transformer import hashed_model
from anymodal.generation import KnownTokens, Sampler, Target
from anymodal.generation.draw import filter_logits
from anymodal.generation.schedules import temperature_schedule, token_schedule
from anymodal.modality import Sampling
from anymodal.model import Transformer
from anymodal.tokens import Layout

TOLERANCE = 1e-9


def verify_sampling(folder: Path) -> Iterator[Result]:
    """All cases of a folder generate/ of either layout."""
    for name, run in (("schedules.json", _schedules), ("filtering.safetensors", _filtering), ("filtering.npz", _kept)):
        if (folder / name).is_file():
            yield from attempt(f"generate/{Path(name).stem}", partial(run, folder / name))
    cases = read_json(folder / "cases.json") if (folder / "cases.json").is_file() else {}
    if isinstance(cases, dict):
        yield from _hashed_runs(cases)
    else:
        yield skip("generate/cases", f"{len(cases)} recorded runs: no replay of prescribed schedules and draws yet")
    if (folder / "grid.safetensors").is_file():
        yield skip("generate/grid", "no comparison of the logits of single steps yet")
    if (folder / "helpers.json").is_file():
        yield skip("generate/helpers", "padded generation inputs have no counterpart here")


def _schedules(path: Path) -> Result:
    """Token counts must be equal, zeros apart; where the original's are negative, ours must be a valid schedule."""
    recorded, error, broken = read_json(path), 0.0, 0
    for kind in ("cosine", "linear"):
        for steps, total, counts in _token_cases(recorded, kind):
            mine = token_schedule(kind, total, steps)
            if min(counts) < 0:
                broken += 1
                error = max(error, gap(sum(mine), total), float(min(mine) < 1))
            else:
                error = max(error, gap(mine, [c for c in counts if c]))
    for kind, temperature, counts, expected in _temperature_cases(recorded):
        error = max(error, gap(temperature_schedule(kind, temperature, counts), expected))
    note = f"{broken} cosine schedules end in a negative count in the original and are only checked to be valid"
    return Result("generate/schedules", error, TOLERANCE, note if broken else "")


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


def _hashed_runs(recorded: dict[str, Any]) -> Iterator[Result]:
    for index, case in enumerate(recorded.get("cases", [])):
        given, guidance = "+".join(case["input"]), case.get("guidance", 1)
        name = f"generate/{case['kind']} {given} -> {case['target']} guidance {guidance}"
        if case["kind"] != "autoregressive" or set(case["input"]) - {"rgb@224"}:
            yield skip(f"{name} [{index}]", "only greedy sequences from pixels are compared so far")
            continue
        yield from attempt(name, partial(_greedy, name, recorded, case))


def _greedy(name: str, recorded: dict[str, Any], case: dict[str, Any]) -> Result:
    model = hashed_model(recorded["config"], recorded["weight_salt"], "generate/cases.json")
    expected = np.array(case["greedy_ids"])
    target = DOMAINS[case["target"]].stream
    pixels = dense(case["dense_seed"], (len(expected), 3, 224, 224))
    stream = model.layout["rgb.pixels"]
    known = [KnownTokens(model.layout, {stream.name: dense_rows(picture, stream)}) for picture in pixels]
    how = Sampling(scheme="autoregressive", temperature=0.0, guidance=case["guidance"])
    _shorten(model, target, case["target_length"])
    for sample in known:
        sample.layout = model.layout
    for _ in Sampler(model).run(known, [Target(target, how)], range(len(known))):
        pass
    wrong = sum(
        sample.streams[target].values[:-1].tolist() != _until_stop(ids[1:], case["stop_id"])
        for sample, ids in zip(known, expected, strict=True)
    )
    return Result(name, wrong, 0, f"of {len(known)} sequences")


def _until_stop(ids: np.ndarray, stop: int) -> list[int]:
    """Ids before the first stop or end mark: we close a sequence at either."""
    stops = np.flatnonzero((ids == stop) | (ids == END))
    return ids[: stops[0] if len(stops) else len(ids)].tolist()


def _shorten(model: Transformer, name: str, length: int) -> None:
    """Let a model write at most `length` tokens of a sequence; its weights do not depend on that."""
    streams = [
        attrs.evolve(s, space=attrs.evolve(s.space, length=length)) if s.name == name else s
        for s in model.layout.streams
    ]
    model.layout = Layout(streams, model.layout.position_rows)
