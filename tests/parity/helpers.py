"""generate/helpers of the second layout: what stands for empty, given, hidden and partly written modalities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.checkpoints.formats.fourm.domains import DOMAINS, END
from anymodal.files import read_json
from anymodal.generation import SampleState
from anymodal.masking import merge_spans
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.text import Vocabulary
from anymodal.tokens import Layout
from parity.results import Result, gap
from parity.vocabulary import find_vocabulary

Fields = Mapping[str, np.ndarray]


def verify_helpers(folder: Path) -> Result:
    """Our inputs for each recorded situation against the tokens that the original marks as inputs and as targets."""
    settings, path = read_json(folder / "helpers.json"), find_vocabulary(folder.parent / "text")
    with np.load(folder / "helpers.npz", allow_pickle=False) as file:
        flat = {key: file[key] for key in file.files}
    errors: list[float] = []
    left_out: list[str] = []
    for key, arguments in settings.items():
        mine = {k.removeprefix(f"{key}/"): v for k, v in flat.items() if k.startswith(f"{key}/")}
        helper = key.split("/")[0]
        if helper == "init_empty_target":
            errors += _empty_target(arguments["modality"], _fields(mine, arguments["modality"]))
        elif helper == "init_full_input":
            errors += _full_input(mine)
        elif helper == "custom_text" and path is not None:
            errors += _custom_text(Vocabulary.load(path), arguments, _fields(mine, "caption"))
        elif helper in ("empty_seq", "empty_img", "empty_seq_emb"):
            errors += _hidden(mine)
        elif helper == "expand_to_batch":
            errors += _copies(mine, arguments["batch_size"])
        elif helper in ("merge", "merge_empty"):
            prefix = f"{helper}/"
            errors += _merge({k.removeprefix(prefix): v for k, v in flat.items() if k.startswith(prefix)})
        else:
            left_out.append(key)
    note = f"{len(settings) - len(left_out)} situations; texts of a batch end at their own end marks here"
    if left_out:
        note += f"; without {', '.join(left_out)}: no vocabulary file"
    return Result("generate/helpers", float(np.max(errors, initial=0.0)), 0, note)


def _fields(arrays: Fields, name: str) -> Fields:
    return {key.removeprefix(f"{name}/"): value for key, value in arrays.items()}


def _layout(name: str, width: int | None = None) -> Layout:
    """One domain; `width` that of its recorded vectors."""
    domain = DOMAINS[name]
    stream = domain.as_stream(True, True)
    if width is not None and isinstance(domain.space, DenseSpace):
        space = DenseSpace(width, domain.space.length, domain.space.order, domain.space.shape, domain.space.bias)
        stream = Stream(stream.name, stream.modality, space, target=False)
    return Layout([stream])


def _inputs(known: SampleState, stream: Stream, **what: Any) -> np.ndarray:
    """The ids (n,) or rows (n, width) that the encoder gets."""
    packed = known.pack(**what).inputs
    if stream.is_dense:
        return packed.dense[stream.name].values
    return packed.ids - known.layout.inputs[stream.name].start


def _empty_target(name: str, theirs: Fields) -> Iterator[float]:
    if name == "t5_caption":
        return  # a sequence of vectors is no target; as a hidden input it is compared under empty_seq_emb
    layout = _layout(name)
    stream = layout.streams[0]
    for tensor, hidden, silent in zip(theirs["tensor"], theirs["input_mask"], theirs["target_mask"], strict=True):
        known = SampleState(layout, {})
        if stream.is_sequence:
            assert isinstance(stream.space, TokenSpace)
            known.open(stream)
            opens, closes = tensor[~silent][[0, -1]] if (~silent).sum() > 1 else (tensor[0], tensor[-1])
            yield gap([stream.space.sentinel(1), stream.space.sentinel(2)], [opens, closes])
        else:
            yield gap(known.unknown(stream), np.flatnonzero(~silent))
        yield gap(_inputs(known, stream), tensor[~hidden])


def _full_input(arrays: Fields) -> Iterator[float]:
    name = next(key.split("/")[0] for key in arrays if "/" in key)
    theirs = _fields({k: v for k, v in arrays.items() if "/" in k}, name)
    layout = _layout(name, theirs["tensor"].shape[-1])
    stream = layout.streams[0]
    for b, hidden in enumerate(theirs["input_mask"]):
        given = arrays["in"][b] if "in" in arrays else theirs["tensor"][b][theirs["mask_valid"][b]]
        expected, ends = theirs["tensor"][b][~hidden], np.flatnonzero(given == END)
        if not stream.is_sequence or stream.is_dense:
            yield gap(_inputs(SampleState(layout, {stream.name: given}), stream), expected)
        elif len(ends) and len(expected) == ends[0] + 1:
            text = given[: ends[0] + 1]
            yield gap(_inputs(SampleState(layout, {stream.name: text}), stream), expected)


def _custom_text(vocabulary: Vocabulary, arguments: Mapping[str, Any], theirs: Fields) -> Iterator[float]:
    ids = vocabulary.encode(arguments["text"], marks=True)
    visible, slots = (theirs["tensor"][0][~theirs[mask][0]] for mask in ("input_mask", "target_mask"))
    layout = _layout("caption")
    yield gap(_inputs(SampleState(layout, {"caption": ids}), layout.streams[0]), visible)
    yield gap([vocabulary.sentinels[0] + 1, vocabulary.end], slots[[0, -1]])
    yield gap(len(slots), arguments["target_max_len"])


def _hidden(arrays: Fields) -> Iterator[float]:
    name = next(iter(arrays)).split("/")[0]
    theirs = _fields(arrays, name)
    layout = _layout(name, theirs["tensor"].shape[-1])
    stream = layout.streams[0]
    for tensor, hidden in zip(theirs["tensor"], theirs["input_mask"], strict=True):
        known = SampleState(layout, {stream.name: tensor})
        yield gap(_inputs(known, stream, hidden={stream.name}), tensor[~hidden])


def _copies(arrays: Fields, count: int) -> Iterator[float]:
    name = next(iter(arrays)).split("/")[0]
    theirs, layout = _fields(arrays, name), _layout(name)
    stream, known = layout.streams[0], SampleState(layout, {})
    yield gap(len(theirs["tensor"]), count)
    for hidden, silent in zip(theirs["input_mask"], theirs["target_mask"], strict=True):
        yield gap(_inputs(known.copy(), stream), theirs["tensor"][0][~hidden])
        yield gap(known.copy().unknown(stream), np.flatnonzero(~silent))


def _merge(arrays: Fields) -> Iterator[float]:
    space = DOMAINS["caption"].space
    assert isinstance(space, TokenSpace)
    for b, predicted in enumerate(arrays["pred"]):
        read = np.zeros(0, np.int64)
        if "in_tensor" in arrays:
            read = arrays["in_tensor"][b][~arrays["in_input_mask"][b]]
        expected = arrays["out/caption/tensor"][b][~arrays["out/caption/input_mask"][b].astype(bool)]
        yield gap(merge_spans(read, predicted, space), expected)
