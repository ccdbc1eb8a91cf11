"""Single calls with the draws that were recorded, and fixed roles, which draw nothing: equal to the last number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.checkpoints.formats.fourm.domains import END
from anymodal.files import read_json
from anymodal.masking import Roles, Selection, hide_spans, select_grid, select_rows, select_sequence, whole_chunks
from anymodal.text import Vocabulary
from anymodal.tokens import Layout
from parity.batches import stored_grid, stored_sequence
from parity.masking.recorded import encoded, is_grid, recorded_stream
from parity.results import Result, attempt, gap, skip
from parity.vocabulary import text_space


def verify_examples(folder: Path, vocabulary: Vocabulary | None) -> Iterator[Result]:
    """Recorded calls; where there is no vocabulary, texts are taken as the ids that were recorded for them."""
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


def _example(name: str, run: Any, case: Mapping[str, Any], vocabulary: Vocabulary | None) -> Result:
    return Result(name, float(max(run(case, vocabulary))), 0, f"{len(case.get('draws', [None]))} draws replayed")


def _sequence_example(case: Mapping[str, Any], vocabulary: Vocabulary | None) -> Iterator[float]:
    arguments, rng = case["arguments"], _replay(case)
    most = arguments["max_tokens"]
    if "sequence" in arguments:
        if vocabulary is None:
            ids, sizes = _recorded_ids(case["sequence_ids"])
        else:
            ids, sizes = encoded(arguments["sequence"], vocabulary)
        if isinstance(arguments["sequence"], str):
            yield gap(ids[:-1], case["sequence_ids"])
        sizes = whole_chunks(sizes, most)
    else:
        ids = np.array(arguments["sequence_ids"]) + arguments["vocab_offset"]
        sizes = np.ones(len(ids), np.int64)
    budget = arguments["input_budget"]
    read, said = select_sequence(
        ids, budget, arguments["target_budget"], arguments["keep_scheme"], text_space(most), rng, sizes
    )
    yield from _fields_error(stored_sequence(read, said, budget, len(case["out"]["tensor"])), case["out"])
    yield float(rng.left())


def _recorded_ids(ids: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """As `encoded`, from the ids of a text, or those of its chunks."""
    sizes = [len(chunk) if isinstance(chunk, list) else 1 for chunk in ids]
    return np.array([*np.hstack([np.zeros(0, np.int64), *ids]), END], np.int64), np.array([*sizes, 1])


def _rows_example(case: Mapping[str, Any], vocabulary: Vocabulary | None) -> Iterator[float]:
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


def _grid_example(case: Mapping[str, Any], vocabulary: Vocabulary | None) -> Iterator[float]:
    arguments = case["arguments"]
    rng = Recorded([np.argsort(case["ids_shuffle"])])
    read, asked = select_grid(arguments["num_tokens"], arguments["input_budget"], arguments["target_budget"], rng)
    yield from _fields_error(stored_grid(np.array(case["out"]["tensor"]), read, asked), case["out"])


def _spans_example(case: Mapping[str, Any], vocabulary: Vocabulary | None) -> Iterator[float]:
    ids, space = np.array(case["sequence"], np.int64), text_space(len(case["sequence"]))
    sizes = {"simple": np.ones(len(ids), np.int64), "chunk": np.array([len(c) for c in case["chunks"]])}
    for draw in case["draws"]:
        kind = draw["call"].removesuffix("_span_masking")
        read, said = hide_spans(ids, np.repeat(~np.array(draw["masked"]), sizes[kind]), space)
        yield gap(read, case[kind][0])
        yield gap(said, case[kind][1])


# Recorded draws.


class Recorded(np.random.Generator):
    """A generator that gives recorded draws one after the other: numbers, orders, and (share, which are visible)."""

    def __init__(self, draws: list[Any]) -> None:
        super().__init__(np.random.PCG64(0))
        self._draws, self._visible = iter(draws), np.zeros(0, bool)

    def random(self, *rest: Any, **keywords: Any) -> Any:
        number = next(self._draws, None)
        if rest or keywords or not isinstance(number, float):
            raise ValueError("the recorded draws are of another kind or number")
        return number

    def binomial(self, n: Any, p: Any, size: Any = None) -> Any:
        """How many are visible; they come first in the next permutation."""
        share, self._visible = next(self._draws)
        if n != len(self._visible) or not np.isclose(p, share, rtol=1e-9, atol=0):
            raise ValueError(f"{n} draws by {p}, recorded were {len(self._visible)} by {share}")
        return self._visible.sum()

    def permutation(self, x: Any, axis: int = 0) -> Any:
        return np.argsort(~self._visible, kind="stable") if len(self._visible) else next(self._draws)

    def left(self) -> int:
        """How many recorded numbers were not asked for."""
        return sum(1 for _ in self._draws)


def _replay(case: Mapping[str, Any]) -> Recorded:
    """The draws of a recorded call; the coin of 'binary' is read off the first share."""
    arguments, numbers = case["arguments"], []
    shares = [d["keep_prob"] for d in case["draws"] if d["call"].endswith("span_masking")]
    if arguments["keep_scheme"] == "binary" and arguments["input_budget"]:
        numbers.append(0.75 if shares[0] == 0 else 0.25)
    for draw in case["draws"]:
        if draw["call"].startswith("random.uniform"):
            numbers.append(draw["value"])
        elif draw["call"].endswith("span_masking"):
            numbers.append((draw["keep_prob"], ~np.array(draw["masked"], bool)))
        else:
            numbers.append((draw["value"] + 0.5) / draw["args"][-1])
    return Recorded(numbers)


# Fixed roles.


def verify_roles(folder: Path, vocabulary: Vocabulary) -> Iterator[Result]:
    yield from attempt(
        "masking/transfer_masking", partial(_roles, read_json(folder / "transfer_masking.json"), vocabulary)
    )


def _roles(case: Mapping[str, Any], vocabulary: Vocabulary | None) -> Result:
    streams = [recorded_stream(n, "img" if is_grid(n) else "seq", most) for n, most in case["max_tokens"].items()]
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
        mine = stored_sequence(chosen.inputs, chosen.targets, chosen.stream.space.length, len(theirs["tensor"]))
    else:
        mine = stored_grid(value, chosen.input_positions, chosen.target_positions)
    yield from _fields_error(mine, {k: v for k, v in theirs.items() if k != "tensor" or not chosen.stream.is_dense})


def _fields_error(mine: Mapping[str, np.ndarray], theirs: Mapping[str, Any]) -> Iterator[float]:
    for key, value in theirs.items():
        yield gap(mine[key], value)
