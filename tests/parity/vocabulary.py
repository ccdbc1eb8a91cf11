"""text/: ids of strings, with the text tokenizer that 4M publishes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from anymodal.checkpoints.formats.fourm.domains import END, SENTINELS, TEXT_SIZE
from anymodal.checkpoints.formats.fourm.layout import VOCABULARY as NAME
from anymodal.checkpoints.formats.fourm.vocabulary import SHA256
from anymodal.files import read_json
from anymodal.masking import hide_spans, merge_spans
from anymodal.spaces import TokenSpace
from anymodal.text import Vocabulary
from parity.results import Result, attempt, gap, skip
from parity.serialization import verify_transforms, verify_values


def find_vocabulary(folder: Path) -> Path | None:
    """The tokenizer file in a folder text/ of this set, or the published one in a set beside it."""
    own = folder / NAME
    if own.is_file():
        return own
    beside = sorted(folder.resolve().parent.parent.glob(f"*/text/{NAME}"))
    return next((path for path in beside if hashlib.sha256(path.read_bytes()).hexdigest() == SHA256), None)


def text_space(length: int) -> TokenSpace:
    """The space of sequences in 4M's vocabulary."""
    return TokenSpace.sequence(TEXT_SIZE, length, sentinels=SENTINELS, end=END)


def verify_text(folder: Path) -> Iterator[Result]:
    """The ids of all recorded strings of either layout, and span masking on ids.

    Without the tokenizer file no ids are made of strings; values are still compared with the recorded strings.
    """
    path = find_vocabulary(folder)
    vocabulary = None if path is None else Vocabulary.load(path)
    if (folder / "serialisation.json").is_file():
        recorded = read_json(folder / "serialisation.json")
        pairs = [(text, ids) for text, ids, _ in recorded["encode"]]
        pairs += [(recorded["det"]["string"], recorded["det"]["ids"])]
        pairs += [(case["string"], case["ids"]) for case in recorded["color_palette"] + recorded["human_poses"]]
        pairs += list(zip(recorded["metadata"]["chunks"], recorded["metadata"]["ids"], strict=True))
        yield from _ids("text/serialisation", vocabulary, pairs)
        yield from verify_values(recorded, vocabulary)
        yield from attempt("text/span_masking", lambda: _spans(recorded["span_masking"]))
    if (folder / "wordpiece.json").is_file():
        recorded_words = read_json(folder / "wordpiece.json")
        if path is not None and hashlib.sha256(path.read_bytes()).hexdigest() != recorded_words["tokenizer_sha256"]:
            yield skip("text/wordpiece", f"{path} is not the tokenizer file that this set was made with")
        else:
            yield from _ids("text/wordpiece", vocabulary, [(c["text"], c["ids"]) for c in recorded_words["strings"]])
    if (folder / "span_merge.json").is_file():
        yield from attempt("text/span_merge", lambda: _merges(read_json(folder / "span_merge.json")))
    if (folder / "transforms.json").is_file():
        yield from verify_transforms(read_json(folder / "transforms.json"), vocabulary)


def _ids(case: str, vocabulary: Vocabulary | None, pairs: list[tuple[str, list[int]]]) -> Iterator[Result]:
    if vocabulary is None:
        yield skip(case, f"there is no {NAME} here; put it beside the cases")
    else:
        yield from attempt(case, lambda: _encoded(case, vocabulary, pairs))


def _encoded(case: str, vocabulary: Vocabulary, pairs: list[tuple[str, list[int]]]) -> Result:
    wrong = [text for text, ids in pairs if vocabulary.encode(text, marks=True).tolist() != ids]
    note = f"of {len(pairs)} strings; first: {wrong[0]!r}" if wrong else f"of {len(pairs)} strings"
    return Result(case, len(wrong), 0, note)


def _spans(cases: list[dict]) -> Result:
    space, error = text_space(256), 0.0
    for case in cases:
        read, said = hide_spans(np.array(case["ids"], np.int64), np.array(case["keep"], bool), space)
        error = max(error, gap(read, case["input"]), gap(said, case["target"]))
    return Result("text/span_masking", error, 0, f"{len(cases)} examples")


def _merges(cases: list[dict]) -> Result:
    space, error = text_space(256), 0.0
    for case in cases:
        merged = merge_spans(np.array(case["input"], np.int64), np.array(case["target"], np.int64), space)
        error = max(error, gap(merged, case["merged"]))
    return Result("text/span_merge", error, 0, f"{len(cases)} examples")
