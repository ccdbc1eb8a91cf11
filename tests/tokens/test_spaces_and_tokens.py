"""Spaces refuse nonsense; packing keeps every chosen token exactly once, at its place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anymodal.errors import SpaceError, UnknownModality
from anymodal.spaces import DenseSpace, Stream, TokenSpace
from anymodal.tokens import NO_LABEL, Layout, ModalitySet, Packer, collate

TEXT = TokenSpace.sequence(100, 12, sentinels=(4, 10), end=3, vocabulary="text")
LAYOUT = Layout(
    [
        Stream("a.pixels", "a", DenseSpace.grid(6, 2, 3), target=False),
        Stream("a", "a", TokenSpace.grid(16, 2, 3)),
        Stream("t", "t", TEXT),
        Stream("u", "u", TEXT),
        Stream("b", "b", TokenSpace.grid(8, 3, 3)),
    ]
)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TokenSpace(0, 4), "'size', got 0"),
        (lambda: TokenSpace(4, 5, shape=(2, 2)), r"shape \(2, 2\) .* 5 positions"),
        (lambda: TokenSpace(4, 4, order="backwards"), "'backwards'"),
        (lambda: TokenSpace.sequence(10, 5, sentinels=(8, 5), end=3), r"sentinels \(8, 5\) .* outside the 10 ids"),
        (lambda: TokenSpace.sequence(10, 5, sentinels=(2, 5), end=3), "end 3 is one of the sentinels"),
        (lambda: TokenSpace(10, 5, order="left-to-right"), "needs sentinels and an end"),
        (lambda: Stream("p", "p", DenseSpace(3, 4)), "'p' is dense"),
        (lambda: Stream("p", "p", TokenSpace(3, 4), input=False, target=False), "'p' is neither"),
        (lambda: Layout([Stream("p", "p", TokenSpace(3, 4)), Stream("p", "p", TokenSpace(3, 4))]), "'p'"),
    ],
)
def test_impossible_spaces_are_refused(make, words):
    with pytest.raises(SpaceError, match=words):
        make()


def test_streams_of_one_vocabulary_share_rows_and_others_do_not_overlap():
    assert LAYOUT.inputs["t"] == LAYOUT.inputs["u"]
    for table in (LAYOUT.inputs, LAYOUT.queries, LAYOUT.outputs, LAYOUT.positions):
        assert all(a.start + a.size <= b.start for a, b in itertools.pairwise(table.blocks))
        assert table.size == table.blocks[-1].start + table.blocks[-1].size
    assert Layout([]).inputs.size == 1 and Layout([]).outputs.size == 0 and not Layout([]).positions.blocks


def test_an_unknown_stream_names_the_nearest():
    with pytest.raises(SpaceError, match=r"a\.pixels"):
        LAYOUT["a.pixel"]
    with pytest.raises(UnknownModality, match="did you mean"):
        ModalitySet(["rgb", "depht"])


@st.composite
def chosen(draw):
    """Positions of inputs and targets of both grids, and texts."""
    parts = {}
    for name, length in (("a", 6), ("b", 9)):
        order = draw(st.permutations(range(length)))
        cut = draw(st.integers(0, length))
        end = draw(st.integers(cut, length))
        parts[name] = (sorted(order[:cut]), sorted(order[cut:end]))
    parts["t"] = draw(st.lists(st.integers(20, 99), max_size=12))
    parts["pixels"] = sorted(draw(st.sets(st.integers(0, 5))))
    return parts


@given(st.lists(chosen(), min_size=1, max_size=4))
def test_packing_keeps_every_chosen_token_once(samples):
    packed = []
    for parts in samples:
        packer = Packer(LAYOUT)
        if parts["pixels"]:
            packer.add_dense(
                "a.pixels", np.array(parts["pixels"])[:, None] + np.arange(6) / 10, np.array(parts["pixels"])
            )
        for name in ("a", "b"):
            read, said = parts[name]
            packer.add_input(name, np.array(read, int) % 7, np.array(read, int))
            packer.add_grid_target(name, np.array(said, int) % 5, np.array(said, int))
        packer.add_input("t", np.array(parts["t"], int), np.arange(len(parts["t"])))
        if len(parts["t"]) > 1:
            packer.add_sequence_target("t", np.array(parts["t"], int))
        packed.append(packer.pack())
    batch = collate(packed, LAYOUT)
    for row, parts in enumerate(samples):
        real = batch.inputs.streams[row] >= 0
        assert int(real.sum()) == len(parts["pixels"]) + len(parts["a"][0]) + len(parts["b"][0]) + len(parts["t"])
        for name in ("a", "b"):
            here = batch.inputs.streams[row] == LAYOUT.index[name]
            assert (batch.inputs.positions[row][here] - LAYOUT.positions[name].start).tolist() == parts[name][0]
            assert (batch.inputs.ids[row][here] - LAYOUT.inputs[name].start).tolist() == [p % 7 for p in parts[name][0]]
            asked = batch.targets.streams[row] == LAYOUT.index[name]
            assert (batch.targets.positions[row][asked] - LAYOUT.positions[name].start).tolist() == parts[name][1]
            assert batch.targets.labels[row][asked].tolist() == [p % 5 for p in parts[name][1]]
        spoken = batch.targets.streams[row] == LAYOUT.index["t"]
        assert batch.targets.labels[row][spoken].tolist() == parts["t"][1:]
        assert (batch.targets.labels[row][batch.targets.streams[row] < 0] == NO_LABEL).all()
        if parts["pixels"]:
            dense = batch.inputs.dense["a.pixels"]
            slots = dense.slots[row][: len(parts["pixels"])]
            assert (batch.inputs.positions[row][slots] - LAYOUT.positions["a.pixels"].start).tolist() == parts["pixels"]
            assert torch.equal(dense.values[row, : len(slots), 0], torch.tensor(parts["pixels"], dtype=torch.float32))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.uint64])
def test_ids_of_any_whole_type_are_those_rows(kind):
    """Offsets were added in the type of the ids, in which they did not fit: 90 became another token."""
    grids = [Stream(name, name, TokenSpace.grid(100, 2, 2)) for name in ("a", "b", "c", "d")]
    layout = Layout([*grids, Stream("t", "t", TokenSpace.sequence(100, 4, sentinels=(4, 6), end=3))])
    packer, ids = Packer(layout), np.array([1, 90, 99, 0])
    for name in ("b", "d"):
        packer.add_input(name, ids.astype(kind), np.arange(4, dtype=kind))
    packer.add_sequence_target("t", ids.astype(kind))
    packed = packer.pack()
    assert packed.inputs.ids.tolist() == [*(ids + layout.inputs["b"].start), *(ids + layout.inputs["d"].start)]
    assert packed.targets.ids.tolist() == [*(ids[:3] + layout.queries["t"].start)]
    assert packed.targets.labels.tolist() == ids[1:].tolist()


@given(chosen())
def test_reach_lets_grids_see_all_and_sequences_the_past(parts):
    packer = Packer(LAYOUT)
    packer.add_grid_target("a", np.zeros(len(parts["a"][1]), int), np.array(parts["a"][1], int))
    packer.add_sequence_target("t", np.array([5, *parts["t"], 6]))
    packer.add_grid_target("b", np.zeros(len(parts["b"][1]), int), np.array(parts["b"][1], int))
    targets = packer.pack().targets
    order = np.arange(len(targets.ids))
    sees = (order[None] < targets.reach[:, None]) & (targets.streams[:, None] == targets.streams[None])
    for name in ("a", "b"):
        rows = np.flatnonzero(targets.streams == LAYOUT.index[name])
        assert sees[np.ix_(rows, rows)].all()
    rows = np.flatnonzero(targets.streams == LAYOUT.index["t"])
    assert (sees[np.ix_(rows, rows)] == np.tril(np.ones((len(rows), len(rows)), bool))).all()


def test_targets_past_the_length_of_a_longer_table_share_its_first_row():
    text = TokenSpace.sequence(100, 8, sentinels=(4, 6), end=3)
    layout = Layout([Stream("a", "a", TokenSpace.grid(9, 2, 2)), Stream("t", "t", text)], {"t": 12})
    assert layout.target_rows("t", np.arange(10)).tolist() == [4, 5, 6, 7, 8, 9, 10, 11, 4, 4]
    plain = Layout([Stream("t", "t", text)])
    assert plain.target_rows("t", np.arange(10)).tolist() == list(range(10))


@pytest.mark.parametrize("name", ["dept", 3, None, ("depth",)])
def test_a_set_says_what_it_has_whatever_it_is_asked_for(name):
    with pytest.raises(UnknownModality, match=r"is not in this set.*it has: depth"):
        ModalitySet(["depth"])[name]
