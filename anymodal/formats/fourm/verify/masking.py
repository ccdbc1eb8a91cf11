"""masking/: budgets, statistics of whole samples, recorded draws, and fixed roles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.files import read_json
from anymodal.formats.fourm.batches import stored_grid, stored_sequence
from anymodal.formats.fourm.domains import END, SENTINELS, TEXT_SIZE
from anymodal.formats.fourm.verify.results import Result, attempt, gap, skip, worst
from anymodal.formats.fourm.verify.vocabulary import find_vocabulary
from anymodal.masking import (
    Component,
    Masker,
    MaskingConfig,
    Roles,
    Selection,
    hide_spans,
    published_budgets,
    select_grid,
    select_rows,
    select_sequence,
    whole_chunks,
)
from anymodal.spaces import LEFT_TO_RIGHT, DenseSpace, Stream, TokenSpace
from anymodal.text import Vocabulary
from anymodal.tokens import Layout

DEVIATIONS = 5.0  # standard errors: among some hundred compared numbers one beyond 5 is a chance of 1 in 10,000
SEED = 20260101


def verify_masking(folder: Path) -> Iterator[Result]:
    """All cases of a folder masking/ of either layout."""
    path = find_vocabulary(folder.parent / "text")
    vocabulary = None if path is None else Vocabulary.load(path)
    if (folder / "budgets.json").is_file():
        yield from _budgets(read_json(folder / "budgets.json"))
    for name, run in (("stats", _stats), ("examples", _examples), ("transfer_masking", _transfer)):
        if not (folder / f"{name}.json").is_file():
            continue
        if vocabulary is None:
            yield skip(f"masking/{name}", "needs the text tokenizer file of 4M; put it into text/")
        else:
            yield from run(folder, vocabulary)


def _text_space(length: int) -> TokenSpace:
    return TokenSpace.sequence(TEXT_SIZE, length, sentinels=SENTINELS, end=END)


def _is_grid(name: str) -> bool:
    return "@" in name or name.startswith("tok_")


# Budgets.


def _budgets(recorded: Mapping[str, Any]) -> Iterator[Result]:
    """Mean budgets and shares of draws with any, within sampling error, by component."""
    for number, component in enumerate(recorded["components"]):
        yield from attempt(
            f"masking/budgets component {number}", partial(_component_budgets, recorded, number, component)
        )


def _component_budgets(recorded: Mapping[str, Any], number: int, component: Mapping[str, Any]) -> Result:
    names, rng = list(recorded["alphas"]), np.random.default_rng(SEED + number)
    alphas = {
        side: np.array([recorded["alphas"][n][f"{side}_alphas"][number] for n in names]) for side in ("input", "target")
    }
    most, count = np.array([recorded["max_tokens"][n] for n in names]), recorded["draws"]
    grid = np.array([_is_grid(n) for n in names])
    given, wanted = [], []
    for _ in range(count):
        given.append(published_budgets(alphas["input"], recorded["num_input_tokens"], most, rng))
        left = np.where(grid, most - given[-1], most)
        wanted.append(published_budgets(alphas["target"], recorded["num_target_tokens"], left, rng))
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


def _mean_error(mine: np.ndarray, mean: float, deviation: float, count: int) -> float:
    """The difference of two means in standard errors; means that are stored rounded may differ by that."""
    spread = np.sqrt(float(mine.var()) / len(mine) + deviation**2 / count)
    return max(0.0, abs(float(mine.mean()) - mean) - 1e-3) / max(spread, 1e-9)


def _share_error(mine: np.ndarray, share: float, count: int) -> float:
    """The difference of two shares of draws in standard errors of the pooled share."""
    pooled = (mine.sum() + share * count) / (len(mine) + count)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / len(mine) + 1 / count))
    return max(0.0, abs(float(mine.mean()) - share) - 1e-4) / max(float(spread), 1e-9)


def _compared(case: str, errors: Mapping[str, float]) -> Result:
    return worst(case, errors, DEVIATIONS, f"standard errors; {len(errors)} numbers, ")


# Statistics of whole samples.


def _stats(folder: Path, vocabulary: Vocabulary) -> Iterator[Result]:
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
        given, wanted = masker.budgets(sample, rng, component)
        chosen = {s.stream.name: s for s in masker.select(sample, given, wanted, component, rng)}
        read, asked = ([len(getattr(chosen[n], side)) for n in names] for side in ("read", "asked"))
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


def _distribution_errors(name: str, mine: np.ndarray, theirs: Mapping[str, float], count: int) -> dict[str, float]:
    return {
        name: _mean_error(mine, theirs["mean"], theirs["std"], count),
        f"share of zeros of {name}": _share_error(mine == 0, theirs["fraction_zero"], count),
    }


def _recorded_masker(case: Mapping[str, Any]) -> Masker:
    """Our masker with the published scheme, over modalities as a recorded set-up describes them."""
    modalities = case["modalities"]
    streams = [_stream(name, m["type"], m["max_tokens"]) for name, m in modalities.items()]
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


def _stream(name: str, kind: str, length: int) -> Stream:
    if kind == "seq":
        return Stream(name, name, _text_space(length))
    if kind == "seq_emb":
        return Stream(name, name, DenseSpace(1, length, LEFT_TO_RIGHT), target=False)
    if name.startswith("rgb"):
        return Stream(name, name, DenseSpace(1, length), target=False)
    return Stream(name, name, TokenSpace(2, length))


def _sample(modalities: Mapping[str, Any], values: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    sample: dict[str, np.ndarray] = {}
    for name, modality in modalities.items():
        most = modality["max_tokens"]
        if modality["type"] == "seq_emb":
            sample[name] = np.ones((min(values[name]["length"], most), 1), np.float32)
        elif modality["type"] == "seq":
            ids, sizes = _encode(values[name], vocabulary)
            sample[name] = ids[: whole_chunks(sizes, most).sum()]
        else:
            sample[name] = np.zeros((most, 1) if name.startswith("rgb") else most, np.int64)
    return sample


def _encode(value: str | list[str], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Ids with the end mark, and how many belong together: those of each entry of a list, else single ones."""
    if isinstance(value, str):
        ids = np.append(vocabulary.encode(value), vocabulary.end)
        return ids, np.ones(len(ids), np.int64)
    parts = [vocabulary.encode(part) for part in value]
    return np.concatenate([*parts, [vocabulary.end]]), np.array([*map(len, parts), 1])


# Recorded draws.


class Recorded(np.random.Generator):
    """A generator that gives recorded numbers one after the other: single ones and whole arrays."""

    def __init__(self, numbers: list[Any]) -> None:
        super().__init__(np.random.PCG64(0))
        self._numbers = iter(numbers)

    def random(self, size: Any = None, *rest: Any, **keywords: Any) -> Any:
        number = next(self._numbers, None)
        if number is None or (size is not None) != isinstance(number, np.ndarray):
            raise ValueError("the recorded draws are of another kind or number")
        if size is not None and len(number) != size:
            raise ValueError(f"{len(number)} recorded draws where {size} are needed")
        return number

    def permutation(self, x: Any, axis: int = 0) -> Any:
        return next(self._numbers)

    def left(self) -> int:
        """How many recorded numbers were not asked for."""
        return sum(1 for _ in self._numbers)


def _replay(case: Mapping[str, Any]) -> Recorded:
    """The draws of a recorded call. Hidden tokens get exactly the share that was drawn against, so that any other share
    of ours would hide others; the coin of 'binary' is read off the first share."""
    arguments, numbers = case["arguments"], []
    shares = [d["keep_prob"] for d in case["draws"] if d["call"].endswith("span_masking")]
    if arguments["keep_scheme"] == "binary" and arguments["input_budget"]:
        numbers.append(0.75 if shares[0] == 0 else 0.25)
    for draw in case["draws"]:
        if draw["call"].startswith("random.uniform"):
            numbers.append(draw["value"])
        elif draw["call"].endswith("span_masking"):
            share = draw["keep_prob"]
            numbers.append(np.where(draw["masked"], share, share * (1 - 1e-12)))
        else:
            numbers.append((draw["value"] + 0.5) / draw["args"][-1])
    return Recorded(numbers)


def _examples(folder: Path, vocabulary: Vocabulary) -> Iterator[Result]:
    kinds = {
        "sequence_mask": _sequence_example,
        "sequence_token_mask": _sequence_example,
        "sequence_emb_mask_span": _rows_example,
        "image_mask": _grid_example,
        "span_masking": _spans_example,
    }
    for number, case in enumerate(read_json(folder / "examples.json")):
        name = f"masking/examples {number} {case['function']}"
        if case["function"] not in kinds:
            yield skip(name, "unknown to this version")
            continue
        yield from attempt(name, partial(_example, name, kinds[case["function"]], case, vocabulary))


def _example(name: str, run: Any, case: Mapping[str, Any], vocabulary: Vocabulary) -> Result:
    return Result(name, float(max(run(case, vocabulary))), 0, f"{len(case.get('draws', [None]))} draws replayed")


def _fields_error(mine: Mapping[str, np.ndarray], theirs: Mapping[str, Any]) -> Iterator[float]:
    for key, value in theirs.items():
        yield gap(mine[key], value)


def _sequence_example(case: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[float]:
    arguments, rng = case["arguments"], _replay(case)
    most = arguments["max_tokens"]
    if "sequence" in arguments:
        ids, sizes = _encode(arguments["sequence"], vocabulary)
        if isinstance(arguments["sequence"], str):
            yield gap(ids[:-1], case["sequence_ids"])
        sizes = whole_chunks(sizes, most)
    else:
        ids = np.array(arguments["sequence_ids"]) + arguments["vocab_offset"]
        sizes = np.ones(len(ids), np.int64)
    budget = arguments["input_budget"]
    read, said = select_sequence(
        ids, budget, arguments["target_budget"], arguments["keep_scheme"], _text_space(most), rng, sizes
    )
    yield from _fields_error(stored_sequence(read, said, budget, len(case["out"]["tensor"])), case["out"])
    yield float(rng.left())


def _rows_example(case: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[float]:
    arguments, rng = case["arguments"], _replay(case)
    rows = np.array(arguments["emb_tensor"], np.float32)[: arguments["max_tokens"]]
    read = select_rows(rows, arguments["input_budget"], arguments["keep_scheme"], rng)
    out = case["out"]
    stored = np.zeros((len(out["tensor"]), rows.shape[1]), np.float32)
    stored[: len(read)] = read
    silent = np.arange(len(stored)) >= len(read)
    mine = {
        "tensor": stored,
        "input_mask": silent,
        "target_mask": np.ones_like(silent),
        "decoder_attention_mask": np.zeros_like(silent),
    }
    yield from _fields_error(mine, out)
    yield float(rng.left())


def _grid_example(case: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[float]:
    arguments = case["arguments"]
    rng = Recorded([np.argsort(case["ids_shuffle"])])
    read, asked = select_grid(arguments["num_tokens"], arguments["input_budget"], arguments["target_budget"], rng)
    yield from _fields_error(stored_grid(np.array(case["out"]["tensor"]), read, asked), case["out"])


def _spans_example(case: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[float]:
    ids, space = np.array(case["sequence"], np.int64), _text_space(len(case["sequence"]))
    sizes = {"simple": np.ones(len(ids), np.int64), "chunk": np.array([len(c) for c in case["chunks"]])}
    for draw in case["draws"]:
        kind = draw["call"].removesuffix("_span_masking")
        read, said = hide_spans(ids, np.repeat(~np.array(draw["masked"]), sizes[kind]), space)
        yield gap(read, case[kind][0])
        yield gap(said, case[kind][1])


# Fixed roles.


def _transfer(folder: Path, vocabulary: Vocabulary) -> Iterator[Result]:
    yield from attempt(
        "masking/transfer_masking", partial(_roles, read_json(folder / "transfer_masking.json"), vocabulary)
    )


def _roles(case: Mapping[str, Any], vocabulary: Vocabulary) -> Result:
    streams = [_stream(n, "img" if _is_grid(n) else "seq", most) for n, most in case["max_tokens"].items()]
    sample = {
        s.name: np.append(vocabulary.encode(case[s.name]), vocabulary.end)[: s.space.length]
        if s.is_sequence
        else np.zeros((s.space.length, 1))
        if s.is_dense
        else np.array(case["out"][s.name]["tensor"])
        for s in streams
    }
    roles = Roles(Layout(streams), case["input_modalities"], case["target_modalities"])
    errors = [
        error
        for chosen in roles.select(sample)
        for error in _role_errors(chosen, sample[chosen.stream.name], case["out"][chosen.stream.name])
    ]
    return Result("masking/transfer_masking", max(errors), 0, f"{len(streams)} modalities")


def _role_errors(chosen: Selection, value: np.ndarray, theirs: Mapping[str, Any]) -> Iterator[float]:
    if chosen.stream.is_sequence:
        mine = stored_sequence(chosen.read, chosen.asked, chosen.stream.space.length, len(theirs["tensor"]))
    else:
        mine = stored_grid(value, chosen.read_at, chosen.asked_at)
    yield from _fields_error(mine, {k: v for k, v in theirs.items() if k != "tensor" or not chosen.stream.is_dense})
