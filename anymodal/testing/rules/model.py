"""AM5xx: the modality in a model two layers deep and 32 wide, beside a gray picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from anymodal.checkpoints.state import fill_state, parts
from anymodal.masking import Component, Masker, MaskingConfig, Roles
from anymodal.modality import Modality
from anymodal.outputs.equality import same
from anymodal.testing.definition import rule
from anymodal.testing.outcome import expect
from anymodal.testing.rules.compare import with_tokens
from anymodal.testing.subject import Subject
from anymodal.testing.tiny import COMPANION, companion, model_over, vocabulary
from anymodal.testing.values import examples
from anymodal.tokens import ModalitySet, Packed, collate

READ, ASKED = 12, 12


def _masker(subject: Subject) -> Masker:
    streams = subject.model.modalities.layout.streams
    inputs = {s.name: 1.0 for s in streams if s.input}
    targets = {s.name: 1.0 for s in streams if s.target}
    return Masker(subject.model.modalities.layout, MaskingConfig(READ, ASKED, (Component(inputs, targets),)))


def _packed(subject: Subject, inputs: set[str], targets: set[str]) -> Packed:
    layout = subject.model.modalities.layout
    return collate([Roles(layout, inputs, targets)(subject.tokens)], layout)


@rule(
    "AM501",
    "Selection keeps its budgets",
    fix="return as many tokens from tokenize as the space says",
    after=("AM202",),
)
def budgets(subject: Subject) -> None:
    """A batch has a fixed number of places for tokens of all modalities together."""
    masker = _masker(subject)
    for seed in range(20):
        packed = masker(subject.tokens, np.random.default_rng(seed))
        read, asked = len(packed.inputs.ids), len(packed.targets.ids) if packed.targets else 0
        fits = read <= READ and asked <= ASKED
        expect(fits, f"seed {seed} selects {read} and {asked} tokens, more than {READ} and {ASKED}")


@rule(
    "AM502",
    "Selected tokens are the value's own",
    fix="let streams and tokenize agree on the order of positions",
    after=("AM501",),
)
def original(subject: Subject) -> None:
    """What is hidden and asked for is what was there."""
    masker, layout = _masker(subject), subject.model.modalities.layout
    for seed in range(20):
        packed = masker(subject.tokens, np.random.default_rng(seed))
        for stream in layout.streams:
            if stream.is_dense or stream.is_sequence or not packed.targets:
                continue
            chosen = packed.targets.streams == layout.index[stream.name]
            places = packed.targets.positions[chosen] - layout.positions[stream.name].start
            truth = np.asarray(subject.tokens[stream.name])[places]
            right = np.array_equal(truth, packed.targets.labels[chosen])
            expect(right, f"seed {seed} asks for tokens of {stream.name!r} that it does not have")


@rule(
    "AM503",
    "The loss is finite, and gradients reach its rows only when it is present",
    fix="keep ids inside the space, and rows finite",
    after=("AM202",),
)
def gradients(subject: Subject) -> None:
    """Modalities share one table; a batch without one of them leaves its rows alone."""
    model, name = subject.model.transformer, subject.cls.name
    layout = subject.model.modalities.layout
    own = {s.name for s in layout.streams if s.modality == name}
    with_it = _packed(subject, {s for s in own if layout[s].input}, {COMPANION})
    without = _packed(subject, {COMPANION}, {COMPANION}) if not own else _packed(subject, set(), {COMPANION})
    for packed, present in ((with_it, True), (without, False)):
        model.requires_grad_(True).zero_grad()
        losses = model(packed)
        total = sum(losses.values())
        expect(torch.isfinite(total), f"the loss with {name} {'given' if present else 'left out'} is {total.item()}")
        total.backward()
        reached = _reached(model, layout, own)
        model.zero_grad()
        expect(reached == present, f"its rows {'get no' if present else 'get a'} gradient from a batch that"
               f" {'has' if present else 'lacks'} it")  # fmt: skip


def _reached(model: Any, layout: Any, own: set[str]) -> bool:
    """Whether a gradient reaches what the model keeps for the inputs of these streams."""
    grads = []
    for stream in own:
        if layout[stream].is_dense:
            weight = model.projections[stream.replace(".", "/")].weight.grad
        elif stream in layout.inputs and model.input_table.grad is not None:
            weight = model.input_table.grad[layout.inputs[stream].rows]
        else:
            continue
        grads.append(weight is not None and bool(weight.abs().sum() > 0))
    return any(grads)


def _schemes(subject: Subject) -> tuple[str, ...]:
    if subject.is_sequence:
        return ("autoregressive",)
    has_mean = subject.cls.expect is not Modality.expect
    return ("roar", "maskgit", "mean") if has_mean else ("roar", "maskgit")


@rule(
    "AM504",
    "Every scheme generates the natural type",
    fix="let detokenize, and expect where there are codes, return natural values; let sampling name a scheme that fits",
    applies=with_tokens,
    after=("AM301", "AM305"),
)
def generates(subject: Subject) -> None:
    """The choice between schemes is the user's."""
    name = subject.cls.name
    natural = subject.examples[-1].value
    given = {COMPANION: examples(subject.model.modalities[COMPANION])[-1].value}
    for grounded in (True, False):
        default = subject.modality.sampling(grounded).scheme
        known = " or ".join(map(repr, _schemes(subject)))
        fits = default.name in _schemes(subject) or (
            default.sequences == subject.is_sequence and default.name != "mean"
        )
        expect(fits, f"sampling({grounded=}) asks for the scheme {default.name!r}, not {known}")
    for scheme in _schemes(subject):
        value = subject.model.generate(given, name, scheme=scheme, seed=0, **_steps(subject))[name]
        expect(isinstance(value, type(natural)), f"the scheme {scheme!r} generates {type(value).__name__}")
        if isinstance(value, np.ndarray):
            expect(value.dtype == natural.dtype, f"the scheme {scheme!r} generates dtype {value.dtype}")
        subject.model.modalities[name].accept(value)


def _steps(subject: Subject) -> dict[str, Any]:
    return {} if subject.is_sequence else {"steps": 2}


@rule(
    "AM505",
    "The same seed generates the same value",
    fix="draw nothing at random in detokenize, or from a generator with a fixed seed",
    applies=with_tokens,
    after=("AM504",),
)
def repeats(subject: Subject) -> None:
    """A result that cannot be repeated cannot be reported."""
    name = subject.cls.name
    given = {COMPANION: examples(subject.model.modalities[COMPANION])[-1].value}
    first, second = (subject.model.generate(given, name, seed=3, **_steps(subject))[name] for _ in range(2))
    expect(same(first, second), "seed 3 generates two different values")


@rule(
    "AM506",
    "It changes nothing for the others while it is not given",
    fix="let streams declare no stream of another modality",
    after=("AM503",),
)
def neutral(subject: Subject) -> None:
    """A model may be loaded with the modalities that a user has, and answers the same."""
    alone = model_over(ModalitySet([companion()], vocabulary()), seed=5)
    both = {part.name: part.tensor for part in parts(subject.model.transformer)}
    fill_state(alone.transformer, lambda name: both.get(name), "the model with the modality")
    tokens = {COMPANION: subject.tokens[COMPANION]}
    losses = []
    for model in (subject.model, alone):
        layout = model.modalities.layout
        packed = Masker(layout, MaskingConfig(8, 8, (Component({COMPANION: 1.0}, {COMPANION: 1.0}),)))(
            tokens, np.random.default_rng(0)
        )
        with torch.no_grad():
            losses.append(float(model.transformer(collate([packed], layout))[COMPANION]))
    expect(
        abs(losses[0] - losses[1]) < 1e-5, f"the companion's loss is {losses[1]:.5f} without it, {losses[0]:.5f} with"
    )
