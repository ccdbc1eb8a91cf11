"""Hypothesis strategies: tokens of a space, sets of modalities, and packed batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from anymodal.families import image
from anymodal.masking import Component, Masker, MaskingConfig
from anymodal.modality import Modality
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.tokens import Layout, ModalitySet, Packed, collate


@st.composite
def token_sequences(draw: st.DrawFn, space: TokenSpace) -> np.ndarray:
    """Ids int64 of a value: all positions of a grid; of a sequence any number, closed by its end, without sentinels."""
    if not space.is_sequence:
        ids = draw(st.lists(st.integers(0, space.size - 1), min_size=space.length, max_size=space.length))
        return np.array(ids, np.int64)
    assert space.sentinels is not None and space.end is not None
    first, count = space.sentinels
    special = {space.end, *range(first, first + count)}
    plain = st.integers(0, space.size - 1).filter(lambda i: i not in special)
    return np.array([*draw(st.lists(plain, max_size=space.length - 1)), space.end], np.int64)


class _Streams(Modality):
    """A modality that is nothing but its streams."""

    def __init__(self, name: str, streams: tuple[Stream, ...]) -> None:
        super().__init__()
        vars(self)["name"] = name
        self._streams = streams

    def streams(self) -> tuple[Stream, ...]:
        return self._streams


@st.composite
def modality_sets(draw: st.DrawFn, most: int = 4) -> ModalitySet:
    """Sets of one to `most` modalities: grids, grids with pixels beside them, sequences that share a vocabulary."""
    members: list[Modality] = []
    for k in range(draw(st.integers(1, most))):
        name, side = f"m{k}", draw(st.integers(1, 3))
        kind = draw(st.sampled_from(["grid", "pixels", "sequence", "image"]))
        if kind == "image":
            members.append(image(name, channels=1)(size=8 * side, patch=8, codebook=draw(st.integers(2, 32)), latent=4))
            continue
        if kind == "sequence":
            space = TokenSpace.sequence(40, 4 * side, sentinels=(4, 10), end=3, vocabulary="text")
        else:
            space = TokenSpace.grid(draw(st.integers(2, 32)), side, draw(st.integers(1, 3)))
        streams = [Stream(name, name, space)]
        if kind == "pixels":
            streams.insert(0, Stream(f"{name}.pixels", name, DenseSpace.grid(6, side, side), target=False))
        members.append(_Streams(name, tuple(streams)))
    return ModalitySet(members)


@st.composite
def samples(draw: st.DrawFn, layout: Layout) -> dict[str, np.ndarray]:
    """Tokens by stream name for every stream of a layout."""
    found: dict[str, np.ndarray] = {}
    for stream in layout.streams:
        if isinstance(stream.space, TokenSpace):
            found[stream.name] = draw(token_sequences(stream.space))
        else:
            shape = stream.space.length, stream.space.width
            seed = draw(st.integers(0, 2**32 - 1))
            found[stream.name] = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return found


@st.composite
def packed_batches(draw: st.DrawFn, modalities: ModalitySet | None = None, most: int = 3) -> tuple[ModalitySet, Packed]:
    """A set (the given one, or a drawn one) and a batch of one to `most` masked samples of it."""
    chosen = modalities if modalities is not None else draw(modality_sets())
    layout = chosen.layout
    component = Component(
        {s.name: 1.0 for s in layout.streams if s.input}, {s.name: 1.0 for s in layout.streams if s.target}
    )
    budgets = draw(st.tuples(st.integers(1, 16), st.integers(1, 16)))
    masker = Masker(layout, MaskingConfig(*budgets, (component,)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    packed: Sequence[Any] = [masker(draw(samples(layout)), rng) for _ in range(draw(st.integers(1, most)))]
    return chosen, collate(packed, layout, *budgets)
