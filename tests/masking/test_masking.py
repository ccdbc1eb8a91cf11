"""Budgets, span masking and selection hold their invariants whatever is drawn."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymodal.config import structure
from anymodal.errors import ConfigError
from anymodal.masking import (
    SCHEMES,
    Alphas,
    Component,
    Gammas,
    Masker,
    MaskingConfig,
    MaskingScheme,
    Roles,
    budgets,
    chunk_sizes,
    hide_spans,
    merge_spans,
    published_budgets,
    select_rows,
    select_sequence,
)
from anymodal.masking.spans import _visible
from anymodal.spaces import LEFT_TO_RIGHT, DenseSpace, Stream, TokenSpace
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
    counts = budgets(Gammas(Alphas(alphas), np.random.default_rng(seed)), total, room.tolist())
    assert (counts >= 0).all() and (counts <= room).all()
    assert (counts[alphas == 0] == 0).all()
    assert counts.sum() == min(total, room[alphas > 0].sum())


def test_budgets_have_the_means_of_their_dirichlet_while_nothing_is_clamped():
    alphas = np.array([0.5, 1.0, 2.5])
    gammas = Gammas(Alphas(alphas), np.random.default_rng(0))
    counts = np.mean([budgets(gammas, 128, [128] * 3) for _ in range(3000)], 0)
    assert counts == pytest.approx(128 * alphas / alphas.sum(), rel=0.06)


def plain_split(alphas, total, rng):
    """The definition: floor of a Dirichlet draw, and each token that is left to the largest of another draw."""
    counts = np.floor(rng.dirichlet(alphas) * total).astype(int)
    for _ in range(total - counts.sum()):
        counts[rng.dirichlet(alphas).argmax()] += 1
    return counts


@pytest.mark.parametrize("alphas", [[0.2, 0.2, 0.2, 1.5], [30.0, 10.0, 1.0]])
def test_budgets_are_distributed_as_the_plain_definition(alphas):
    """Also where draws of one call are shared out over samples, and where a stream without room leaves its tokens."""
    rng, alphas, count = np.random.default_rng(1), np.array([*alphas, 0.0]), 3000
    few = alphas[:-1]
    for room, expected in (([99] * len(alphas), few), ([0, *[99] * len(few)], few[1:])):
        pairs = Gammas.pairs(Alphas(alphas), Alphas(alphas[::-1]), rng, count)
        mine = np.array([budgets(first, 20, room) for first, _ in pairs])[:, :-1]
        theirs = np.zeros_like(mine)
        theirs[:, len(few) - len(expected) :] = [plain_split(expected, 20, rng) for _ in range(count)]
        for measure in (lambda x: x, lambda x: x == 0, lambda x: x > 10):
            a, b = measure(mine).astype(float), measure(theirs).astype(float)
            spread = np.sqrt((a.var(0) + b.var(0)) / count) + 1e-9
            assert (np.abs(a.mean(0) - b.mean(0)) / spread < 4.5).all()


@given(st.integers(0, 60), st.floats(0, 1), st.integers(0, 2**32))
def test_each_token_is_visible_by_its_share_wherever_it_is(count, share, seed):
    rng = np.random.default_rng(seed)
    drawn = np.array([_visible(count, share, count, rng) for _ in range(300)]).reshape(300, count)
    spread = np.sqrt(share * (1 - share) / 300) + 1e-3
    assert (np.abs(drawn.mean(0) - share) < 6 * spread).all()
    most = count // 3
    some = [_visible(count, share, most, rng) for _ in range(30)]
    assert all(each is None or each.sum() <= most for each in some)


def test_the_example_of_the_paper():
    read, said = hide_spans(np.array([20, 21, 22, 23, 3]), np.array([True, False, False, True, False]), TEXT)
    assert read.tolist() == [20, 5, 23, 6]
    assert said.tolist() == [5, 21, 22, 6, 3, 7]


def test_spans_beyond_the_last_sentinel_stay_visible():
    """Of twelve sentinels [S_0] stands for nothing and one closes the target, so that ten spans are hidden."""
    sequence = np.append(np.arange(20, 45), 3)
    read, said = hide_spans(sequence, np.arange(26) % 2 == 1, TEXT)
    assert said[TEXT.is_sentinel(said)].tolist() == list(range(5, 16)) and read[20:].tolist() == sequence[20:].tolist()
    assert merge_spans(read, said, TEXT).tolist() == sequence.tolist()


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
    whole_read, whole = select_sequence(sequence, inputs, None, keep, TEXT, np.random.default_rng(seed))
    assert np.array_equal(read, whole_read)
    # As much of the whole as fits, from one of its sentinels on.
    starts = [k for k in np.flatnonzero(TEXT.is_sentinel(whole)) if np.array_equal(whole[k : k + len(said)], said)]
    assert any(len(said) == targets or k + len(said) == len(whole) for k in starts)
    if keep == "none" and inputs:
        assert read.tolist() == [5]
    if keep == "all" and inputs >= len(sequence):
        assert read.tolist() == sequence.tolist()


LAYOUT = Layout(
    [Stream("a", "a", TokenSpace.grid(9, 4, 4)), Stream("b", "b", TokenSpace.grid(9, 4, 4)), Stream("t", "t", TEXT)]
)


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


def test_a_component_reads_from_its_least_to_its_most_tokens():
    part = Component({"a": 1}, {"b": 1}, input_tokens=(3, 5))
    masker, rng = Masker(LAYOUT, MaskingConfig(16, 4, (part,))), np.random.default_rng(0)
    sample = {"a": np.zeros(16, int), "b": np.zeros(16, int)}
    assert {len(masker(sample, rng).inputs.ids) for _ in range(60)} == {3, 4, 5}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Masker(LAYOUT, MaskingConfig()), "at least one component"),
        (lambda: Masker(LAYOUT, MaskingConfig(components=(Component({"c": 1}, {}),))), "names the stream 'c'"),
        (lambda: Component({"a": 1}, {}, keep={"a": "some"}), "keep of 'a' .* 'some'"),
        (lambda: Component({"a": -1}, {}), "a in inputs .*, got -1"),
        (lambda: Component({"a": 1}, {}, input_tokens=(5, 2)), r"input_tokens .* \(5, 2\)"),
        (lambda: MaskingConfig(scheme="4m"), "scheme '4m'"),
        (lambda: MaskingConfig(chunks={"a": 0}), "chunk of 'a' .* 0"),
        (
            lambda: Masker(LAYOUT, MaskingConfig(components=(Component({"a": 1}, {}),), chunks={"c": 2})),
            "names the stream 'c'",
        ),
    ],
)
def test_impossible_mixtures_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_third_parties_add_schemes(request):
    @attrs.frozen(kw_only=True)
    class FirstCome(MaskingScheme):
        """Inputs are dealt out in the order of the streams, and every grid that is not read is predicted."""

        name: str = attrs.field(init=False, default="first-come")
        spare: int = 0

        def budgets(self, streams, sample, concentrations, inputs, targets, rng):
            lengths = streams.lengths(sample)
            before = np.concatenate([[0], lengths.cumsum()[:-1]])
            given = np.clip(inputs - self.spare - before, 0, lengths)
            return given, np.where(streams.sequences | (given > 0), 0, lengths)

        def select(self, streams, sample, concentrations, input_budgets, target_budgets, select, rng):
            pairs = zip(streams, input_budgets, target_budgets, strict=True)
            return [select(s, int(n), int(m)) for s, n, m in pairs if s.name in sample]

    SCHEMES.add(FirstCome)
    request.addfinalizer(lambda: SCHEMES.remove("first-come"))
    raw = {"input_tokens": 22, "components": {"inputs": {}, "targets": {"a": 1.0}}}
    config = structure(raw | {"scheme": {"name": "first-come", "spare": 2}}, MaskingConfig, "a recipe")
    sample = {"a": np.arange(16) % 9, "b": np.arange(16) % 9}
    packed = Masker(LAYOUT, config)(sample, np.random.default_rng(0))
    assert packed.inputs.streams.tolist() == [0] * 16 + [1] * 4 and not len(packed.targets.ids)
    packed = Masker(LAYOUT, attrs.evolve(config, input_tokens=7))(sample, np.random.default_rng(0))
    assert packed.inputs.streams.tolist() == [0] * 5 and packed.targets.streams.tolist() == [1] * 16


# The default wastes nothing.

WIDE = Layout(
    [
        Stream("a", "a", TokenSpace.grid(9, 20, 20)),
        Stream("b", "b", TokenSpace.grid(9, 20, 20)),
        Stream("t", "t", TEXT),
        Stream("v", "v", DenseSpace(3, 30, LEFT_TO_RIGHT), target=False),
    ]
)


def wide_sample(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "a": rng.integers(0, 9, 400),
        "b": rng.integers(0, 9, 400),
        "t": np.append(rng.integers(16, 99, 20), 3),
        "v": rng.random((12, 3)),
    }


def counts(packed, side: str) -> list[int]:
    return np.bincount(getattr(packed, side).streams, minlength=4).tolist()


@given(st.integers(0, 150), st.integers(0, 150), st.integers(0, 2**32), st.sampled_from([0.01, 0.1, 1.0, 10.0]))
def test_budgets_are_met_when_grids_can_take_what_sequences_leave(inputs, targets, seed, alpha):
    part = Component(dict.fromkeys("abtv", alpha), dict.fromkeys("abt", alpha))
    masker = Masker(WIDE, MaskingConfig(inputs, targets, (part,)))
    packed = masker(wide_sample(seed), np.random.default_rng(seed))
    assert sum(counts(packed, "inputs")) == inputs
    assert sum(counts(packed, "targets")) == targets


def test_what_sequences_leave_keeps_the_proportions_of_the_grids():
    """Grids of concentrations 3 and 1 keep the ratio of their means; sequences keep what they would have."""
    part = Component({"a": 3.0, "b": 1.0, "t": 2.0}, {"a": 3.0, "b": 1.0, "t": 2.0})
    full = Masker(WIDE, MaskingConfig(90, 90, (part,)))
    published = Masker(WIDE, MaskingConfig(90, 90, (part,), "fourm"))
    draw = lambda masker: [masker(wide_sample(k), np.random.default_rng(5000 + k)) for k in range(1500)]  # noqa: E731
    ours, theirs = draw(full), draw(published)
    for side in ("inputs", "targets"):
        mine = np.mean([counts(p, side) for p in ours], 0)
        lost = np.mean([counts(p, side) for p in theirs], 0)
        assert mine[0] / mine[1] == pytest.approx(3, rel=0.1) and mine.sum() == 90
        assert lost[0] / lost[1] == pytest.approx(3, rel=0.1) and lost.sum() < 85


# The published scheme.


def test_published_budgets_lose_what_does_not_fit():
    gammas = Gammas(Alphas(np.array([1.0, 1.0, 0.0])), np.random.default_rng(0))
    most = np.array([100, 10, 100])
    drawn = np.array([published_budgets(gammas, 100, range(3), most) for _ in range(2000)])
    assert drawn[:, 1].max() == 10 and drawn[:, 2].max() == 0
    assert drawn[:, 0].mean() == pytest.approx(50, rel=0.05) and drawn.sum(1).min() < 60
    assert published_budgets(gammas, 0, range(3), most).sum() == 0


def test_published_budgets_are_for_the_streams_that_the_component_names():
    """Also in a sample that lacks one of them and has as many others."""
    gammas = Gammas(Alphas(np.array([1.0, 0.0, 1.0])), np.random.default_rng(0))
    assert published_budgets(gammas, 100, [0, 1], np.array([100, 100, 100])).tolist() == [100, 0, 0]
    part = Component({"a": 1.0, "t": 1.0}, {"a": 1.0, "t": 1.0})
    sample = wide_sample(0)
    del sample["t"], sample["v"]
    packed = Masker(WIDE, MaskingConfig(30, 30, (part,), "fourm"))(sample, np.random.default_rng(0))
    assert counts(packed, "inputs") == counts(packed, "targets") == [30, 0, 0, 0]


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**32))
def test_the_published_scheme_never_exceeds_its_budgets(inputs, targets, seed):
    part = Component(dict.fromkeys("abtv", 0.3), dict.fromkeys("abtv", 0.3), keep={"t": "binary", "v": "all"})
    masker = Masker(WIDE, MaskingConfig(inputs, targets, (part,), "fourm"))
    packed = masker(wide_sample(seed), np.random.default_rng(seed))
    assert sum(counts(packed, "inputs")) <= inputs and sum(counts(packed, "targets")) <= targets
    assert counts(packed, "targets")[3] == 0


def test_the_published_budgets_of_a_sequence_do_not_shorten_each_other():
    part = Component({"t": 1.0}, {"t": 1.0}, keep={"t": "none"})
    masker = Masker(WIDE, MaskingConfig(30, 30, (part,), "fourm"))
    packed = masker({"t": wide_sample(0)["t"]}, np.random.default_rng(0))
    assert counts(packed, "inputs")[2] == 1 and counts(packed, "targets")[2] == 22


@given(st.integers(0, 9), st.booleans(), st.integers(0, 12), st.integers(0, 2**32), st.data())
def test_chunks_are_hidden_as_a_whole(pairs, closed, inputs, seed, data):
    ids = np.array([x for k in range(pairs) for x in (20 + k, 40 + k)] + [3] * closed, np.int64)
    extra = np.append(ids, [60]) if not closed and data.draw(st.booleans()) else ids
    sizes = chunk_sizes(extra, 2, TEXT)
    assert sizes.sum() == len(ids)
    read, said = select_sequence(extra, inputs, None, "random", TEXT, np.random.default_rng(seed), sizes)
    for part in (read, said):
        tokens = part[~TEXT.is_sentinel(part)].tolist()
        assert all((20 + k in tokens and 40 + k in tokens) or not {20 + k, 40 + k} & set(tokens) for k in range(pairs))
    if inputs:
        assert merge_spans(read, said, TEXT).tolist() == ids.tolist()


@given(st.integers(0, 9), st.integers(1, 4), st.integers(0, 2**32))
def test_a_sequence_that_is_no_multiple_of_its_chunks_keeps_its_end(count, size, seed):
    """Of three words in pairs the third one stood for the end, which no model could learn."""
    ids = np.array([*range(20, 20 + count), 3], np.int64)
    sizes = chunk_sizes(ids, size, TEXT)
    assert sizes.sum() == len(ids) and sizes[-1] == 1 and (sizes[:-1] <= size).all()
    read, said = select_sequence(ids, 12, None, "random", TEXT, np.random.default_rng(seed), sizes)
    assert merge_spans(read, said, TEXT).tolist() == ids.tolist()


@given(st.integers(0, 15), st.integers(0, 20), st.sampled_from(["random", "all", "none", "binary"]), st.integers(0, 99))
def test_hidden_runs_of_vectors_become_single_zeros(length, inputs, keep, seed):
    rows = np.random.default_rng(seed).random((length, 3)) + 1
    read = select_rows(rows, inputs, keep, np.random.default_rng(seed))
    assert len(read) <= inputs
    kept = read[read.any(1)]
    assert all((rows == row).all(1).any() for row in kept)
    gone = ~read.any(1)
    assert not (gone[1:] & gone[:-1]).any()
    if keep == "all" and inputs >= length:
        assert np.array_equal(read, rows)


def test_fixed_roles_read_and_predict_whole_streams():
    sample = wide_sample(0)
    packed = Roles(WIDE, ["a", "v"], ["b", "t"])(sample)
    assert counts(packed, "inputs") == [400, 0, 0, 12] and counts(packed, "targets") == [0, 400, 22, 0]
    labels = packed.targets.labels[packed.targets.streams == 2].tolist()
    assert labels == [*sample["t"].tolist(), TEXT.sentinel(2)]


@pytest.mark.parametrize(
    ("others", "scheme", "signs"),
    [
        ([], "full", 1),
        ([Component({"a": 1.0, "t": 1.0}, {"b": 1.0}, keep={"t": "all"})], "full", 1),  # never hidden there
        ([Component({"a": 1.0, "t": 1.0}, {"b": 1.0}, weight=0.0)], "full", 1),
        ([Component({"a": 1.0, "t": 1.0}, {"b": 1.0})], "full", 0),
        ([], "fourm", 0),  # as published
    ],
)
def test_a_text_that_is_hidden_nowhere_else_is_read_as_it_is_when_generated(others, scheme, signs):
    config = MaskingConfig(30, 60, [Component({"a": 1.0}, {"t": 1.0}), *others], SCHEMES(scheme))
    masker, rng = Masker(WIDE, config), np.random.default_rng(0)
    packed = masker(wide_sample(0), rng, component=0)
    assert counts(packed, "inputs")[2] == signs and counts(packed, "targets")[2] == 22
    read = packed.inputs.ids[packed.inputs.streams == 2] - WIDE.inputs["t"].start
    assert read.tolist() == [TEXT.sentinel(1)] * signs
