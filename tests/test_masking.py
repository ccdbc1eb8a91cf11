"""Budgets, span masking and selection hold their invariants whatever is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anymodal.errors import ConfigError
from anymodal.masking import Component, Masker, MaskingConfig, budgets, hide_spans, merge_spans, select_sequence
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout

TEXT = TokenSpace.sequence(100, 40, sentinels=(4, 12), end=3)
ids = st.lists(st.integers(16, 99), min_size=1, max_size=40).map(lambda x: np.array([*x[:-1], 3]))


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.01, 0.1, 1.0, 10.0, 1000.0]), st.integers(0, 80)), min_size=1, max_size=8
    ),
    st.integers(0, 300),
    st.integers(0, 2**32),
)
def test_budgets_fill_the_total_and_never_exceed_the_room(streams, total, seed):
    alphas, room = np.array([a for a, _ in streams]), np.array([r for _, r in streams])
    counts = budgets(alphas, total, room, np.random.default_rng(seed))
    assert (counts >= 0).all() and (counts <= room).all()
    assert (counts[alphas == 0] == 0).all()
    assert counts.sum() == min(total, room[alphas > 0].sum())


def test_budgets_have_the_means_of_their_dirichlet_while_nothing_is_clamped():
    rng, alphas = np.random.default_rng(0), np.array([0.5, 1.0, 2.5])
    counts = np.mean([budgets(alphas, 128, np.full(3, 128), rng) for _ in range(3000)], 0)
    assert counts == pytest.approx(128 * alphas / alphas.sum(), rel=0.06)


def test_the_example_of_the_paper():
    read, said = hide_spans(np.array([20, 21, 22, 23, 3]), np.array([True, False, False, True, False]), TEXT)
    assert read.tolist() == [20, 5, 23, 6]
    assert said.tolist() == [5, 21, 22, 6, 3, 7]


@given(ids, st.data())
def test_merging_undoes_hiding(sequence, data):
    visible = np.array(data.draw(st.lists(st.booleans(), min_size=len(sequence), max_size=len(sequence))))
    read, said = hide_spans(sequence, visible, TEXT)
    assert merge_spans(read, said, TEXT).tolist() == sequence.tolist()
    assert TEXT.is_sentinel(said)[[0, -1]].all()
    assert len(read) <= len(sequence) and len(said) <= len(sequence) + 2 + len(sequence) // 2


@given(
    ids,
    st.integers(0, 50),
    st.integers(0, 50),
    st.sampled_from(["random", "all", "none", "binary"]),
    st.integers(0, 2**32),
)
def test_a_selected_sequence_stays_within_its_budgets(sequence, inputs, targets, keep, seed):
    read, said = select_sequence(sequence, inputs, targets, keep, TEXT, np.random.default_rng(seed))
    assert len(read) <= inputs and len(said) <= targets
    assert not len(said) or TEXT.is_sentinel(said[:1])[0]
    if keep == "none" and inputs:
        assert read.tolist() == [5]
    if keep == "all" and inputs >= len(sequence):
        assert read.tolist() == sequence.tolist()


LAYOUT = Layout(
    [Stream("a", "a", TokenSpace.grid(9, 4, 4)), Stream("b", "b", TokenSpace.grid(9, 4, 4)), Stream("t", "t", TEXT)]
)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 60), st.integers(0, 2**32), st.booleans())
def test_no_token_is_input_and_target_at_once_and_grids_fill_their_budgets(inputs, targets, seed, lacking):
    part = Component({"a": 1, "b": 0.1}, {"a": 0.5, "b": 0.5}, input_tokens=(0, inputs))
    masker = Masker(LAYOUT, MaskingConfig(inputs, targets, (part,)))
    rng = np.random.default_rng(seed)
    sample = {"a": rng.integers(0, 9, 16)} | ({} if lacking else {"b": rng.integers(0, 9, 16)})
    packed = masker(sample, np.random.default_rng(seed))
    read, said = set(packed.inputs.positions.tolist()), set(packed.targets.positions.tolist())
    assert len(read) == len(packed.inputs.ids) and len(said) == len(packed.targets.ids) and not read & said
    assert len(read) <= inputs
    assert len(said) == min(targets, 16 * len(sample) - len(read))
    again = masker(sample, np.random.default_rng(seed))
    assert np.array_equal(packed.inputs.ids, again.inputs.ids) and np.array_equal(
        packed.targets.labels, again.targets.labels
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Masker(LAYOUT, MaskingConfig()),
        lambda: Masker(LAYOUT, MaskingConfig(components=(Component({"c": 1}, {}),))),
        lambda: Component({"a": 1}, {}, keep={"a": "some"}),
        lambda: Component({"a": -1}, {}),
        lambda: Component({"a": 1}, {}, input_tokens=(5, 2)),
    ],
)
def test_impossible_mixtures_are_refused(make):
    with pytest.raises(ConfigError):
        make()
