"""Every scheme, step by step: it ends as `generate` does, keeps nothing of the steps before, and can be left."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from anymodal.generation.encodings import Encodings
from anymodal.generation.state import SampleState, StreamTokens
from anymodal.outputs.equality import same
from anymodal.sampling import SCHEMES, GridScheme

GIVEN = {"grid": {"caption": "a red car"}, "sequence": {"depth": np.ones((32, 32), np.float32)}}
NAMES = list(SCHEMES)


def asked(name: str, **more: Any) -> dict[str, Any]:
    """The arguments of a request whose one target is made by a scheme, in many steps where it can."""
    kind = "sequence" if SCHEMES[name.partition(":")[0]].sequences else "grid"
    target = "caption" if kind == "sequence" else "depth"
    how = {"scheme": name, "steps": 16, "temperature": 1.0, "anneal": "constant", "top_p": 0.0, "seed": 5}
    return {"inputs": GIVEN[kind], "targets": target, **how, **more}


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_last_step_is_what_generate_returns(small_model, name, samples):
    request = asked(name, samples=samples, steps=4)
    out = small_model.generate(**request)
    *_, last = small_model.stream(**request)
    assert last.done
    target = request["targets"]
    assert np.array_equal(last.tokens, out.tokens[target])
    assert np.array_equal(last.partial, out[target]) and np.array_equal(last.preview, out[target])
    assert same(last.made.uncertainty, out.uncertainty.get(target))


@pytest.fixture
def alive(monkeypatch) -> Callable[[], tuple[int, int]]:
    """How many of the tokens and of the encodings that were made since are alive."""
    tokens, contexts = weakref.WeakSet[StreamTokens](), weakref.WeakSet[torch.Tensor]()
    put, of = SampleState.put, Encodings.of

    def watched_put(self, name, each):
        tokens.add(each)
        put(self, name, each)

    def watched_of(self, *arguments, **options):
        found = of(self, *arguments, **options)
        contexts.add(found.tokens)
        return found

    monkeypatch.setattr(SampleState, "put", watched_put)
    monkeypatch.setattr(Encodings, "of", watched_of)
    return lambda: (len(tokens), len(contexts))


@pytest.mark.parametrize("name", [name for name in NAMES if issubclass(SCHEMES[name], GridScheme)] + ["autoregressive"])
def test_memory_does_not_grow_with_the_steps(small_model, name, alive):
    """From the fifth step to the twelfth nothing more is kept, whoever lets go of the steps."""
    stream = small_model.stream(**asked("entropy:0" if name == "entropy" else name) | {"seed": 6})
    kept = []
    for number, step in enumerate(stream, 1):
        assert step.tokens is not None
        if number in (5, 12):
            kept.append(alive())
        if number == 12:
            break
    assert len(kept) == 2 and kept[1] == kept[0] and kept[0][0] <= 3 and kept[0][1] <= 2


@pytest.mark.parametrize("name", NAMES)
def test_leaving_early_leaves_nothing_running(small_model, name, alive):
    before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    stream = small_model.stream(**asked(name))
    next(stream)
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    stream.close()
    gone = weakref.ref(stream)
    del stream
    assert gone() is None and alive() == (0, 0)
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
