"""What was selected of all samples of a batch is packed as that of each sample alone."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anymodal.masking import Chosen, Component, Masker, MaskingConfig, Roles, pack, packed_batch
from anymodal.spaces import LEFT_TO_RIGHT, DenseSpace, Stream, TokenSpace
from anymodal.tokens import Layout, Packed, collate

TEXT = TokenSpace.sequence(100, 40, sentinels=(4, 6), end=3)
LAYOUT = Layout(
    [
        Stream("pixels", "a", DenseSpace(3, 16), target=False),
        Stream("a", "a", TokenSpace.grid(9, 4, 4)),
        Stream("b", "b", TokenSpace.grid(9, 2, 3)),
        Stream("t", "t", TEXT),
        Stream("u", "u", attrs.evolve(TEXT, length=8)),
        Stream("v", "v", DenseSpace(3, 30, LEFT_TO_RIGHT), target=False),
    ],
    {"u": 12},
)
SCHEMES = st.sampled_from(["full", "fourm"])


def sample(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A sample that may lack streams, but not all."""
    found = {
        "pixels": rng.random((16, 3), np.float32),
        "a": rng.integers(0, 9, 16),
        "b": rng.integers(0, 9, 6),
        "t": np.append(rng.integers(16, 99, rng.integers(0, 39)), 3),
        "u": np.append(rng.integers(16, 99, rng.integers(0, 8)), 3),
        "v": rng.random((rng.integers(1, 30), 3), np.float32),
    }
    return {name: value for name, value in found.items() if name == "a" or rng.random() < 0.7}


def tensors(packed: Packed) -> Mapping[str, torch.Tensor]:
    """All tensors of a batch by name."""
    assert packed.targets is not None
    found = {
        f"targets.{field.name}": getattr(packed.targets, field.name) for field in attrs.fields(type(packed.targets))
    }
    found |= {name: getattr(packed.inputs, name) for name in ("ids", "positions", "streams")}
    for name, rows in packed.inputs.dense.items():
        found |= {f"{name}.values": rows.values, f"{name}.slots": rows.slots}
    return found


def assert_packed_alike(rows: list[list[Chosen]]) -> None:
    together = tensors(packed_batch(LAYOUT, rows))
    alone = tensors(collate([pack(LAYOUT, row) for row in rows], LAYOUT))
    assert together.keys() == alone.keys()
    for name, tensor in together.items():
        assert tensor.dtype == alone[name].dtype and torch.equal(tensor, alone[name]), name


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 60), st.integers(0, 60), SCHEMES)
@settings(max_examples=60)
def test_what_a_mixture_selects(seed: int, count: int, inputs: int, targets: int, scheme: str) -> None:
    component = Component({"*": 0.5}, {"a": 0.5, "b": 0.5, "t": 0.5, "u": 0.5})
    masker = Masker(LAYOUT, MaskingConfig(inputs, targets, [component], scheme))  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    assert_packed_alike([masker.chosen(sample(rng), rng) for _ in range(count)])


@given(st.integers(0, 2**32), st.sets(st.sampled_from([s.name for s in LAYOUT.streams])))
@settings(max_examples=40)
def test_what_has_a_role(seed: int, inputs: set[str]) -> None:
    roles = Roles(LAYOUT, inputs, {"a", "b", "t", "u"} - inputs)
    rng = np.random.default_rng(seed)
    assert_packed_alike([roles.select(sample(rng)) for _ in range(3)])


def test_nothing_selected_is_nothing_but_padding() -> None:
    packed = packed_batch(LAYOUT, [[], []])
    assert packed.inputs.ids.shape == (2, 0) and packed.targets is not None and packed.targets.ids.shape == (2, 0)
