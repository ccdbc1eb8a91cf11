"""AM3xx: values to tokens and back, with small random weights."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anymodal.errors import ConfigError, counted, sort_of
from anymodal.export.tokenizer import tokenizer_drafts
from anymodal.testing.definition import rule
from anymodal.testing.outcome import Broken, expect
from anymodal.testing.rules.compare import with_codes, with_tokenizer, with_tokens
from anymodal.testing.subject import Subject
from anymodal.testing.tiny import equip, shrunk
from anymodal.testing.values import examples
from anymodal.tokenizers.losses import loss_named

STEPS = 30


@rule(
    "AM301",
    "Tokens decode to the natural type and shape",
    fix="let detokenize return a list of what accept returns: the type, dtype and shape of natural values",
    applies=with_tokens,
    after=("AM202",),
)
def natural(subject: Subject) -> None:
    """A generated value is used exactly as a given one is."""
    m = subject.tokenizing
    for example in subject.examples:
        values = m.detokenize(m.tokenize([example.value])[m.name])
        expect(isinstance(values, list), f"detokenize of the tokens of {example} returns {sort_of(values)}, not a list")
        (back,) = values
        wanted = type(example.value)
        expect(isinstance(back, wanted), f"tokens of {example} decode to {type(back).__name__}, not {wanted.__name__}")
        if isinstance(back, np.ndarray):
            expect(back.dtype == example.value.dtype, f"tokens of {example} decode to dtype {back.dtype}")
            if not subject.is_sequence:
                expect(back.shape == example.value.shape, f"tokens of {example} decode to shape {back.shape}")


@rule(
    "AM303",
    "A batch gives what single values give",
    fix="let no value see its neighbors in tokenize and detokenize",
    after=("AM202",),
)
def batches(subject: Subject) -> None:
    """Data is tokenized in batches of any size; the result may not depend on the company."""
    m = subject.tokenizing
    values = [example.value for example in subject.examples]
    together = m.tokenize(values)
    for name, arrays in together.items():
        expect(
            len(arrays) == len(values),
            f"tokenize returns {counted(len(arrays), 'array')} for {counted(len(values), 'value')}",
        )
        for example, ids in zip(subject.examples, arrays, strict=True):
            alone = m.tokenize([example.value])[name][0]
            equal = np.array_equal(alone, ids) or (ids.dtype.kind == "f" and np.allclose(alone, ids, atol=1e-5))
            if not equal and ids.dtype.kind in "iu" and ids.shape == alone.shape and subject.has_tokenizer:
                equal = (alone == ids).mean() > 0.95  # ties of distances in floating point
            expect(equal, f"{example} has other tokens in a batch than alone")
    if not subject.is_target:
        return
    back = m.detokenize(together[m.name])
    expect(
        len(back) == len(values),
        f"detokenize returns {counted(len(back), 'value')} for {counted(len(values), 'array')} of ids",
    )
    for example, ids, value in zip(subject.examples, together[m.name], back, strict=True):
        (alone,) = m.detokenize([ids])
        expect(_near(value, alone), f"the tokens of {example} decode to another value in a batch than alone")


def _near(a: Any, b: Any) -> bool:
    """Whether two values are the same but for rounding; of what is no array, only the kind and the length."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return type(a) is type(b) and (not hasattr(a, "__len__") or len(a) == len(b))
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return not a.size or float((a != b).mean()) < 0.05  # ties of distances in floating point
    scale = float(np.nan_to_num(np.abs(b)).max(initial=0))
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-4 * scale, equal_nan=True))


@rule(
    "AM310",
    "condition gives what tokenize gives",
    fix="leave condition to the family, or let it return some of the streams of tokenize, unchanged",
    after=("AM202",),
)
def conditions(subject: Subject) -> None:
    """Generation reads a value through `condition`, training through `tokenize`; a model must see the same in both."""
    m = subject.tokenizing
    for example in subject.examples:
        tokens = m.tokenize([example.value])
        for stream in m.streams():
            if stream.name not in tokens:
                continue
            found = m.condition([example.value], {stream.name})
            expect(stream.name in found, f"condition of {example} does not return the stream {stream.name!r}")
            gap = _near(np.asarray(found[stream.name][0]), np.asarray(tokens[stream.name][0]))
            expect(gap, f"condition of {example} gives another stream {stream.name!r} than tokenize")


@rule(
    "AM304",
    "Any precision of the tokenizer gives natural types",
    fix="call .float() before .numpy() on what the tokenizer returns, and move inputs to its device",
    applies=with_codes,
    after=("AM301",),
)
def precision(subject: Subject) -> None:
    """Checkpoints are loaded in bfloat16 to save memory; values stay what they are."""
    m = equip(shrunk(subject.cls))
    m.tokenizer = m.tokenizer.to(torch.bfloat16)
    example = subject.examples[-1]
    tokens = m.tokenize([example.value])
    expect(tokens[m.name][0].dtype.kind in "iu", f"ids of {example} are {tokens[m.name][0].dtype} in bfloat16")
    (value,) = m.detokenize(tokens[m.name])
    expect(value.dtype == example.value.dtype, f"in bfloat16, tokens of {example} decode to dtype {value.dtype}")


@rule(
    "AM305",
    "Any tokens decode to a value",
    fix="keep the valid part of malformed sequences, and raise nothing in postprocess or parse",
    applies=with_tokens,
)
def decodes(subject: Subject) -> None:
    """Models make mistakes: half a box, a missing end, a value token where a word belongs."""
    m = subject.tokenizing
    space = next(stream.space for stream in m.streams() if stream.name == m.name)
    rng = np.random.default_rng(0)
    for trial in range(12):
        count = int(rng.integers(1, space.length)) if subject.is_sequence else space.length
        ids = rng.integers(0, space.size, count)
        if subject.is_sequence and trial % 2:  # an own text, disturbed
            own = m.tokenize([subject.examples[-1].value])[m.name][0].copy()
            ids = np.delete(own, rng.integers(0, len(own), 2)) if len(own) > 2 else own
        try:
            (value,) = m.detokenize([ids.astype(np.int64)])
            m.accept(value)
        except Exception as error:
            kind = "disturbed" if trial % 2 and subject.is_sequence else "random"
            what = f"{len(ids)} {kind} ids (trial {trial} of seed 0)"
            raise Broken(f"{what} raise {type(error).__name__}: {error!s:.150}") from None
        expect(value is not None, "random ids decode to None")


@rule(
    "AM306",
    "A saved tokenizer gives the same tokens",
    fix="keep what the tokenizer needs in its config and its weights",
    applies=with_tokenizer,
    after=("AM202",),
)
def saved(subject: Subject) -> None:
    """Tokens of a data set are read with the tokenizer of a checkpoint."""
    from anymodal.checkpoints.tokenizer import load_tokenizer, save_tokenizer

    m = subject.tokenizing
    again = shrunk(subject.cls)
    again.vocabulary = m.vocabulary
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(m, Path(folder))
        again.tokenizer = load_tokenizer(folder)
    for example in subject.examples:
        first, second = (each.tokenize([example.value])[m.name][0] for each in (m, again))
        expect(np.array_equal(first, second), f"{example} has other tokens after the tokenizer was saved and loaded")


@rule(
    "AM307",
    f"Training lowers the loss in {STEPS} steps",
    fix="choose a `loss` that fits what postprocess undoes, and keep tensors around -1..1",
    applies=with_tokenizer,
    after=("AM101", "AM102"),
)
def learns(subject: Subject) -> None:
    """`anymodal train-tokenizer` has to work for the modality without a line of its author's."""
    first, last, _ = _trained(subject)
    expect(last < first, f"the loss {subject.cls.loss!r} goes from {first:.4g} to {last:.4g} in {STEPS} steps")  # type: ignore[attr-defined]


@rule(
    "AM308",
    "More than one id is used",
    fix="spread tensors over -1..1; values that differ should have tensors that do",
    level="should",
    applies=with_tokenizer,
    after=("AM307",),
    profile="full",
)
def used(subject: Subject) -> None:
    """A codebook of which one entry is used says nothing."""
    _, _, ids = _trained(subject)
    expect(len(set(ids)) > 1, f"after {STEPS} steps all values have the id {ids[0]}")


def _trained(subject: Subject) -> tuple[float, float, list[int]]:
    """Loss before and after, and the ids after a few steps on 8 examples."""
    m = equip(shrunk(subject.cls))
    rows = [m.preprocess(e.value) for seed in range(4) for e in examples(m, seed)[-2:]]
    batch = torch.from_numpy(np.stack(rows))
    measure, tokenizer = loss_named(m.loss), m.tokenizer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=2e-3)
        tokenizer.train()
        losses = []
        for _ in range(STEPS):
            result = tokenizer(batch)
            loss = measure(result.output.float(), result.target)
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            (loss + result.code_loss).backward()
            optimizer.step()
        tokenizer.eval()
    expect(np.isfinite(losses).all(), f"the loss {m.loss!r} becomes {losses[-1]}")
    return float(np.mean(losses[:3])), float(np.mean(losses[-3:])), tokenizer.encode(batch).flatten().tolist()


@rule(
    "AM309",
    "Half precision decodes to nearly the same",
    fix="avoid differences of large numbers in the decoder; let its last layers run in float32",
    applies=with_tokenizer,
    after=("AM306",),
)
def half(subject: Subject) -> None:
    """The embedded checkpoints are stored in sixteen bits."""
    m = subject.tokenizing
    codebooks, size = m.tokenizer.quantize.codebooks, m.tokenizer.config.quantizer.size
    shape = m.grid if hasattr(m, "grid") else m.streams()[-1].space.shape
    count = codebooks if shape is None else shape[0] * shape[1]
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, size, (2, count)))
    low = copy.deepcopy(m.tokenizer).to(torch.bfloat16)
    full, less = (t.decode(ids, shape=shape) for t in (m.tokenizer, low))
    gap = float((full - less).abs().mean() / full.abs().mean().clamp_min(1e-6))
    expect(gap < 0.05, f"bfloat16 decodes random ids (seed 0) {gap:.3f} away, more than 0.05 of the mean")


@rule(
    "AM311",
    "The tokenizer can be exported",
    fix="compute with PyTorch alone, and let no Python number depend on the batch: x.shape[0], not len(x)",
    applies=with_tokenizer,
    after=("AM306",),
    profile="full",
)
def exports(subject: Subject) -> None:
    """`anymodal export` makes graphs of tokenizers, which take batches of any size."""
    drafts = [each for each in tokenizer_drafts(subject.tokenizing) if each[1].by_hand is None]
    for name, draft in drafts:
        try:
            program = draft.program().module()
        except ConfigError as error:
            raise Broken(f"{name}: {error}") from None
        for inputs in draft.examples:
            with torch.no_grad():
                wanted, found = draft.module(*inputs.values()), program(*inputs.values())
            batch = len(wanted)
            expect(torch.allclose(wanted.float(), found.float(), atol=1e-4), f"{name} differs for a batch of {batch}")
