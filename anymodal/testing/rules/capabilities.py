"""AM011: what a class says of itself, by which the library decides what to do with it, is true."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import numpy as np
import torch

from anymodal.modality import Modality
from anymodal.testing.definition import RULES, rule
from anymodal.testing.outcome import Broken, expect
from anymodal.testing.subject import Subject

FLAGS = (
    *("spelled", "is_text", "is_picture", "has_tokenizer", "draws", "aligned", "photographic"),
    *("averages", "nan_is_missing"),
)


@rule(
    "AM011",
    "What the class says of itself agrees with what it defines",
    fix="declare `spelled`, `is_text`, `is_picture`, `sizes`, `file_range`, `members` and `nan_is_missing` truly",
)
def truthful(subject: Subject) -> None:
    """The library asks these attributes and never for a family, so that a class of its own base is second to none."""
    cls = subject.cls
    for flag in FLAGS:
        expect(isinstance(getattr(cls, flag), bool), f"{flag} is {getattr(cls, flag)!r:.40}, neither true nor false")
    for number in cls.exceptions:
        expect(number in RULES, f"exceptions names {number!r}, which is no rule")
    pictures = (_tensors, _pictured, _sized, _ranged)
    for check in (_spelled, _drawn, _tokenizing, *pictures, _known, _shared, _tokens_of_itself):
        check(subject)


def _spelled(subject: Subject) -> None:
    """Spelled values have the methods of a spelled one, a stream that is read left to right, and are str if text."""
    cls = subject.cls
    missing = [name for name in ("spell", "parse", "chunks") if not callable(getattr(cls, name, None))]
    if cls.spelled:
        expect(not missing, f"spelled is true, and there is no {' and no '.join(missing)}")
        sequential = all(stream.is_sequence for stream in subject.modality.streams())
        expect(sequential, "spelled is true, and a stream is no sequence")
    else:
        expect(missing, "it has spell, parse and chunks, and spelled is false: no vocabulary would be made for it")
    if cls.is_text:
        expect(cls.spelled, "is_text is true, and spelled is false")
        for example in subject.examples:
            kind = type(example.value).__name__
            expect(isinstance(example.value, str), f"is_text is true, and {example} is a value of type {kind}")


def _drawn(subject: Subject) -> None:
    """Whether tokenize draws is read off its signature; what spell draws must come through."""
    cls = subject.cls
    takes = "rng" in inspect.signature(cls.tokenize).parameters
    expect(cls.draws == takes, f"draws is {cls.draws}, and tokenize takes {'an' if takes else 'no'} rng")
    spell: Any = getattr(cls, "spell", None)
    if cls.spelled and "rng" in inspect.signature(spell).parameters:
        expect(takes, "spell draws from an rng, and tokenize takes none: training would never see another spelling")


def _tokenizing(subject: Subject) -> None:
    defined = subject.cls.tokenizer_config is not Modality.tokenizer_config
    expect(subject.cls.has_tokenizer == defined, f"has_tokenizer is not {defined}, as tokenizer_config says")
    if subject.cls.has_tokenizer:
        for example in subject.examples:
            found = subject.tokenizing.parts(example.value)
            whole = isinstance(found, list) and all(isinstance(part, np.ndarray) for part in found)
            expect(whole, f"it has a tokenizer, and parts of {example} is no list of arrays for it to learn from")


def _tensors(subject: Subject) -> None:
    """What its grids are of tensors is what they are of values."""
    modality = subject.tokenizing
    grids = [stream for stream in modality.streams() if stream.input and stream.space.shape is not None]
    if not subject.cls.reads_tensors or not subject.examples:
        return
    expect(grids, "it has stream_tensor, and none of its streams is a grid")
    example = subject.examples[0]
    tensor = torch.from_numpy(modality.preprocess(example.value))[None]
    if tuple(tensor.shape[-2:]) != (modality.sizes[0],) * 2:
        return  # of several sizes, preprocess gives the largest
    main = min(grids, key=lambda stream: stream.space.length)
    (wanted,) = modality.condition([example.value], [main.name])[main.name]
    found = modality.stream_tensor(tensor, main.name)[0].detach().numpy()
    alike = found.shape == wanted.shape and np.allclose(found, wanted, atol=1e-5)
    expect(alike, f"stream_tensor gives other tokens of {main.name!r} than condition does, for {example}")


def _pictured(subject: Subject) -> None:
    """Tensors of a picture are (channels, H, W), and in -1..1 where networks of color pictures may read them."""
    if subject.cls.is_picture:
        for example in subject.examples:
            tensor = subject.modality.preprocess(example.value)
            channels = getattr(subject.modality, "channels", None)
            right = tensor.ndim == 3 and tensor.shape[0] == channels
            expect(right, f"is_picture is true, and the tensor of {example} has shape {tensor.shape}")
            most = float(np.abs(tensor).max(initial=0))
            limit = 1 + 1e-4 if channels == 3 else math.inf
            expect(most <= limit, f"is_picture is true, and the tensor of {example} reaches {most:g}")


def _sized(subject: Subject) -> None:
    """Sizes are whole numbers, and the modality can be had at another one."""
    m = subject.modality
    expect(m.sizes or not m.aligned, "aligned is true, and it has no sizes, in pixels a side")
    if not m.sizes:
        return
    whole = isinstance(m.sizes, tuple) and all(type(size) is int and size > 0 for size in m.sizes)
    expect(whole, f"sizes is {m.sizes!r}, no tuple of pixels a side")
    expect("size" in m.settings, "it has sizes, and no setting 'size' that a checkpoint could record")
    for size in (m.sizes[0], 2 * m.sizes[0]):
        try:
            again = m.at_size(size).sizes
        except Exception as error:
            raise Broken(f"it has sizes, and at_size({size}) raises {type(error).__name__}: {error!s:.150}") from None
        expect(again == (size,), f"at_size({size}) has the sizes {again}")


def _ranged(subject: Subject) -> None:
    """The range of files is two numbers, and examples lie in it."""
    span = subject.modality.file_range
    if span is None:
        return
    right = isinstance(span, tuple) and len(span) == 2 and all(map(math.isfinite, span)) and span[0] < span[1]
    expect(right, f"file_range is {span!r}, not two finite numbers, the lower first")
    for example in subject.examples:
        value = np.asarray(example.value, float)
        value = value[~np.isnan(value)]
        slack = 0.01 * (span[1] - span[0])
        inside = not value.size or (value.min() >= span[0] - slack and value.max() <= span[1] + slack)
        expect(inside, f"file_range is {span}, and {example} reaches from {value.min():g} to {value.max():g}")


def _known(subject: Subject) -> None:
    """Examples hold NaN only where it says that nothing is known."""
    if subject.cls.nan_is_missing:
        return
    for example in subject.examples:
        value = example.value
        holes = isinstance(value, np.ndarray) and value.dtype.kind == "f" and bool(np.isnan(value).any())
        expect(not holes, f"{example} holds NaN, and nan_is_missing is false: datasets that do are refused")


def _shared(subject: Subject) -> None:
    """Members are modalities by their own names, spelled if they share the vocabulary."""
    for name, member in subject.modality.members.items():
        expect(isinstance(member, Modality), f"the member {name!r} is of type {type(member).__name__}, no modality")
        expect(member.name == name, f"the member {name!r} is the modality {member.name!r}")
        expect(member.spelled == subject.cls.spelled, f"spelled of the member {name!r} is {member.spelled}")


def _tokens_of_itself(subject: Subject) -> None:
    """Tokens made with its own settings, as JSON holds them, mean the same to it."""
    reason = subject.modality.other_tokens(json.loads(json.dumps(subject.modality.config())))
    expect(reason == "", f"other_tokens refuses tokens made with its own settings: {reason!r:.100}")
