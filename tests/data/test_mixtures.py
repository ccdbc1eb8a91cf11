"""Mixtures of datasets: exact weights, whole epochs, and the same global batch on any number of processes."""

from __future__ import annotations

import pickle

import attrs
import numpy as np
import pytest
from aligned_layouts import as_folder, as_tars, npy, samples
from conftest import build_set
from hypothesis import given, settings
from hypothesis import strategies as st

from anymodal.config import structure
from anymodal.data.batches import Batch, MaskedBatches, MixtureEntry
from anymodal.data.config import DataConfig, as_datasets
from anymodal.data.mixture import Mixture, block_length, shares
from anymodal.data.order import Generators, Share, Shuffled, ShuffledShards
from anymodal.data.replacing import Replacing
from anymodal.data.sources.base import Source
from anymodal.data.sources.open import open_source
from anymodal.errors import ConfigError, DataError, ValueProblem
from anymodal.masking import Component, Masker, MaskingConfig
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import NO_LABEL, Layout
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.multimodal.data import open_batches

weights = st.lists(st.sampled_from([0.05, 0.2, 0.3, 1 / 3, 0.5, 1.0, 2.0, 7.0]), min_size=1, max_size=5)


# Shares.


@given(weights, st.integers(0, 2**32), st.integers(0, 20))
def test_every_block_has_the_exact_shares(weights, seed, block):
    mixture = Mixture(weights, seed)
    drawn = [mixture(position)[0] for position in range(block * mixture.length, (block + 1) * mixture.length)]
    counts = np.bincount(drawn, minlength=len(weights))
    assert counts.tolist() == mixture.counts.tolist()
    assert counts / mixture.length == pytest.approx(np.array(weights) / sum(weights), rel=1e-9, abs=1 / 60000)


def test_what_is_left_goes_to_the_largest_remainders_the_earlier_first():
    assert shares([5, 3, 2], 11).tolist() == [6, 3, 2]
    assert shares([1, 2, 2], 4).tolist() == [1, 2, 1]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_any_weights_have_shares_within_one_position(weights):
    length = block_length(weights)
    counts = shares(weights, length)
    assert counts.sum() == length and (counts > 0).all()
    assert (np.abs(counts - np.array(weights) / sum(weights) * length) < 1 + 1e-6).all()


@given(weights, st.lists(st.integers(1, 30), min_size=5, max_size=5), st.integers(0, 2**32))
def test_every_sample_of_a_dataset_comes_once_an_epoch(weights, sizes, seed):
    mixture = Mixture(weights, seed)
    orders = [Shuffled(sizes[k], seed + k) for k in range(len(weights))]
    seen = [[] for _ in weights]
    for position in range(2 * mixture.length):
        dataset, rank = mixture(position)
        assert rank == len(seen[dataset])
        seen[dataset].append(orders[dataset](rank))
    for indices, size in zip(seen, sizes, strict=False):
        for start in range(0, len(indices) - size + 1, size):
            assert sorted(indices[start : start + size]) == list(range(size))


@given(weights, st.integers(0, 2**32), st.lists(st.integers(0, 5000), min_size=1, max_size=10))
def test_a_position_needs_none_of_those_before(weights, seed, positions):
    mixture = Mixture(weights, seed)
    assert [mixture(p) for p in positions] == [Mixture(weights, seed)(p) for p in positions]


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="too small"):
        Mixture([1.0, 1e-6], 0)


# Batches.

LAYOUT = Layout(
    [
        Stream("a", "a", TokenSpace.grid(1000, 4, 4)),
        Stream("b", "b", TokenSpace.grid(1000, 4, 4)),
        Stream("t", "t", TokenSpace.sequence(1000, 8, sentinels=(1, 9), end=11)),
    ]
)
BOTH = MaskingConfig(
    6, 6, (Component({"a": 1}, {"b": 1}), Component({"a": 1, "b": 1}, {"a": 1, "t": 1}), Component({"t": 1}, {"t": 1}))
)


class Numbered(Source):
    """Samples whose ids are their index; those in `bad` cannot be used."""

    def __init__(self, name: str, count: int, streams: str, bad: frozenset[int] = frozenset()) -> None:
        self.name, self.count, self.streams, self.bad = name, count, frozenset(streams), bad

    def __len__(self) -> int:
        return self.count

    def describe(self, index: int) -> str:
        return f"{index} of {self.name}"

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        if index in self.bad:
            raise ValueProblem(f"sample {self.describe(index)} is damaged")
        ids = np.full(16, index) + rng.integers(2, size=16)
        return {name: np.array([20 + index, 21, 11]) if name == "t" else ids for name in sorted(self.streams)}


def mixed(share: Share = Share(), batch_size: int = 24, bad: frozenset[int] = frozenset()) -> MaskedBatches:  # noqa: B008
    masker = Masker(LAYOUT, BOTH)
    text = Masker(LAYOUT, MaskingConfig(4, 4, (Component({"t": 1}, {"t": 1}),)))
    entries = [
        MixtureEntry("x", Numbered("x", 50, "abt", bad), Shuffled(50, 1), masker),
        MixtureEntry("y", Numbered("y", 30, "ab", bad), Shuffled(30, 2), masker),
        MixtureEntry("z", Numbered("z", 20, "t"), Shuffled(20, 3), text, own=True),
    ]
    return MaskedBatches(entries, Mixture([0.5, 0.3, 0.2], 5), batch_size, 5, share)


def rows(batch: Batch) -> list[tuple]:
    """The samples of a batch without their padding."""
    inputs, targets = batch.packed.inputs, batch.packed.targets
    found = []
    for k in range(len(inputs.ids)):
        real, asked = inputs.streams[k] >= 0, targets.streams[k] >= 0
        fields = [inputs.ids[k][real], inputs.positions[k][real], targets.labels[k][asked], targets.reach[k][asked]]
        found.append(tuple(tuple(field.tolist()) for field in fields))
    return found


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 50), st.sampled_from([frozenset(), frozenset({3, 4, 9})]))
def test_the_global_batch_does_not_depend_on_processes_and_parts(world, parts, step, bad):
    whole = mixed(bad=bad)(step)
    shares = [mixed(Share(rank, world, parts), bad=bad) for rank in range(world)]
    pieces = [share(step * parts + part) for share in shares for part in range(parts)]
    assert [row for piece in pieces for row in rows(piece)] == rows(whole)
    assert [line for piece in pieces for line in piece.problems] == list(whole.problems)


def test_a_batch_is_the_same_every_time_it_is_made():
    batches = mixed()
    first = [rows(batches(step)) for step in (3, 4)]
    assert [rows(batches(step)) for step in (3, 3, 4)] == [first[0], first[0], first[1]]
    assert first[0] != first[1]


@given(st.integers(0, 2**32), st.lists(st.lists(st.integers(0, 2**40), max_size=3), min_size=1, max_size=5))
def test_random_numbers_of_a_place_are_the_same_in_any_order_and_of_no_other_place(seed, places):
    numbers = Generators(seed, "row")
    drawn = {tuple(place): numbers(*place).random(70).tolist() for place in places}
    assert all(numbers(*place).random(70).tolist() == values for place, values in reversed(drawn.items()))
    distinct = {(*place, 0, 0, 0)[:3] for place in drawn}  # numbers that are not given are 0
    assert len({values[0] for values in drawn.values()}) == len(distinct)
    assert Generators(seed + 1, "row")(*places[0]).random() != drawn[tuple(places[0])][0]
    assert Generators(seed, "crop")(*places[0]).random() != drawn[tuple(places[0])][0]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any), st.integers(1, 5), st.integers(0, 2**32))
def test_every_shard_is_opened_once_an_epoch_and_every_sample_comes_once(sizes, opened, seed):
    order = ShuffledShards(sizes, opened, seed)
    shard_of = np.repeat(np.arange(len(sizes)), sizes)
    for epoch in range(2):
        indices = [order(epoch * sum(sizes) + k) for k in range(sum(sizes))]
        assert sorted(indices) == list(range(sum(sizes)))
        kept, openings = [], 0  # the shards that are open, the one used last at the end
        for shard in shard_of[indices].tolist():
            openings += shard not in kept
            kept = [*(each for each in kept if each != shard), shard][-opened:]
        assert openings == np.count_nonzero(sizes)


def test_an_order_travels_to_other_processes_without_its_permutation():
    order = Shuffled(100_000, 1)
    first = order(5)
    sent = pickle.dumps(order)
    assert len(sent) < 1000
    assert pickle.loads(sent)(5) == first


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 4))
def test_pieces_are_contiguous_and_even(batch_size, world, parts):
    pieces = [Share(rank, world, parts).rows(batch_size, part) for rank in range(world) for part in range(parts)]
    assert [row for piece in pieces for row in piece] == list(range(batch_size))
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_a_batch_is_not_shared_by_more_than_its_samples():
    with pytest.raises(ConfigError, match="a batch of 3 samples cannot be shared by 2 processes in 2 parts"):
        mixed(Share(0, 2, 2), 3)


def test_bad_samples_are_replaced_by_others_of_their_dataset_and_named():
    bad = frozenset(range(0, 30, 3))
    batches = mixed(bad=bad)
    problems = [line for step in range(30) for line in batches(step).problems]
    assert problems and all(line in {f"sample {k} of {d} is damaged" for k in bad for d in "xy"} for line in problems)
    assert 0.2 < len(problems) / (30 * 24) < 0.4
    for step in range(3):
        assert len(rows(batches(step))) == 24 and rows(batches(step)) == rows(mixed(bad=bad)(step))
    with pytest.raises(DataError, match="20 samples of y in a row cannot be used; the last one: sample"):
        for step in range(9):
            mixed(bad=frozenset(range(30)))(step)


def test_samples_that_lack_streams_draw_a_component_that_fits():
    """Text alone is never masked by a component that reads pictures; a dataset of its own masking keeps to that."""
    masker, rng = Masker(LAYOUT, BOTH), np.random.default_rng(0)
    assert masker.fitting({"t": np.zeros(3)}, 0, rng) == 2
    assert masker.fitting({"a": np.zeros(16), "b": np.zeros(16)}, 0, rng) == 0
    assert {masker.fitting({"a": np.zeros(16), "b": np.zeros(16)}, 2, rng) for _ in range(40)} == {0, 1}
    with pytest.raises(DataError, match="no component of the masking reads and predicts any of b"):
        Masker(LAYOUT, MaskingConfig(components=(Component({"a": 1}, {"t": 1}),))).fitting({"b": np.zeros(16)}, 0, rng)
    streams = [set(batch) for step in range(20) for batch in mixed()(step).packed.inputs.streams.tolist()]
    assert {2} in [s - {-1} for s in streams] and {0} in [s - {-1} for s in streams]


def test_a_failing_plugin_is_a_bad_sample():
    class Broken(Numbered):
        def sample(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
            if index == 7:
                raise KeyError("nothing\nhere")
            return super().sample(index, rng)

    masker = Masker(LAYOUT, BOTH)
    entry = MixtureEntry("x", Broken("x", 9, "abt"), Shuffled(9, 1), masker)
    batch = MaskedBatches([entry], Mixture([1.0], 0), 9, 0)(0)
    assert (
        batch.problems and batch.problems[0].startswith("7 of x: KeyError: 'nothing") and "\n" not in batch.problems[0]
    )


def test_samples_are_replaced_by_the_next_or_by_any_other():
    def read(index: int, rng: np.random.Generator) -> int | None:
        tried.append(index)
        if index in bad:
            raise KeyError(index)
        return None if index in lacking else 10 * index

    def found(index: int) -> int:
        return replacing.read(read, index, lambda failed: np.random.default_rng(failed), problems)

    replacing = Replacing("x", 8, lambda index: f"{index} of x", "x has none")
    tried, problems, bad, lacking = [], [], {2}, {6, 7, 0}
    assert found(3) == 30 and not problems
    assert found(6) == 10 and tried[-4:] == [6, 7, 0, 1] and not problems
    other = int(np.random.default_rng(1).integers(8))
    assert found(2) and tried[-2:] == [2, other] and problems == ["2 of x: KeyError: 2"]
    bad, lacking = set(), set(range(8))
    with pytest.raises(DataError, match=r"^x has none$"):
        found(5)
    bad = set(range(8))
    with pytest.raises(DataError, match=r"20 samples of x in a row cannot be used; the last one: . of x: KeyError"):
        found(5)


# From configurations.


def test_a_plain_path_stands_for_a_dataset():
    def read(data: object) -> tuple[DataConfig, ...]:
        return structure({"data": data}, Datasets, "here").data

    assert read("a/b") == (DataConfig(path="a/b"),)
    assert read(["a", "b"]) == (DataConfig(path="a"), DataConfig(path="b"))
    assert read({"path": "a", "weight": 2}) == (DataConfig(path="a", weight=2.0),)
    assert read(["a", {"path": "b", "crop": {"flip": 0}}])[1].crop.flip == 0
    assert as_datasets("a") == as_datasets(["a"]) == as_datasets(DataConfig(path="a"))
    for wrong, words in (
        ([], "at least one dataset"),
        ([{"path": "a", "wieght": 1}], r"unknown key 'data\[0\].wieght'; did you mean 'weight'"),
        ({"path": "a", "weight": 0}, "a number from 1e-15 to 1e"),
        ({"path": "a", "crop": {"scale": [0.5, 2]}}, "scale of a crop"),
        (3, "must be text"),
    ):
        with pytest.raises(ConfigError, match=words):
            read(wrong)


@attrs.frozen(kw_only=True)
class Datasets:
    data: tuple[DataConfig, ...] = attrs.field(converter=as_datasets)


@pytest.fixture
def config(tmp_path):
    files = samples(8)
    return {
        "modalities": {},
        "tokenizers": "none",
        "data": [
            {"path": str(as_folder(tmp_path / "pairs", files)), "weight": 3},
            {
                "path": str(as_tars(tmp_path / "text", {"caption": files["caption"]})),
                "masking": {
                    "input_tokens": 4,
                    "target_tokens": 4,
                    "components": [{"inputs": {"caption": 1}, "targets": {"caption": 1}}],
                },
            },
        ],
        "model": {"dim": 32, "heads": 2},
        "masking": {
            "input_tokens": 8,
            "target_tokens": 8,
            "components": [{"inputs": {"rgb.pixels": 1}, "targets": {"caption": 1, "depth": 1}}],
        },
        "training": {"steps": 2, "batch_size": 16, "lr": 1e-3},
    }


def test_datasets_with_other_modalities_and_masking_train_together(config, vocabulary, tmp_path):
    modalities = build_set(["rgb", "depth", "caption"], vocabulary)
    batches = open_batches(structure(config, TrainConfig, "here"), modalities)
    index = modalities.layout.index
    kinds = [set(row) - {-1} for step in range(8) for row in batches(step).packed.inputs.streams.tolist()]
    pictures = [kind for kind in kinds if index["rgb.pixels"] in kind]
    assert len(pictures) == pytest.approx(96, abs=12)
    assert {frozenset(kind) for kind in pictures} <= {  # a caption that is asked for is read as hidden
        frozenset({index["rgb.pixels"]}),
        frozenset({index["rgb.pixels"], index["caption"]}),
    }
    assert sum(kind == {index["caption"]} for kind in kinds) >= 15
    (tmp_path / "pairs" / "depth" / "0003.npy").write_bytes(npy(np.full((32, 40), np.nan, np.float32)))
    problems = [line for step in range(8) for line in batches(step).problems]
    assert problems and all("depth/0003.npy holds 1280 of 1280 numbers that are NaN" in line for line in problems)


def test_a_component_is_measured_by_the_samples_that_it_masks_alone(config, vocabulary):
    """Text has nothing to read for the first component; measured together, its loss would be that of the second one."""
    own = config["data"][1].pop("masking")
    config["masking"]["components"] = [{"inputs": {"rgb.pixels": 1}, "targets": {"depth": 1}}, *own["components"]]
    modalities = build_set(["rgb", "depth", "caption"], vocabulary)
    index = modalities.layout.index

    def asked(batches, component):
        """The streams that are predicted, by whether a picture is read for that."""
        found = {True: set(), False: set()}
        for step in range(4):
            packed = batches.measured(step, component).packed
            counted = packed.targets.labels != NO_LABEL
            for read, streams, counts in zip(packed.inputs.streams, packed.targets.streams, counted, strict=True):
                found[index["rgb.pixels"] in read.tolist()] |= set(streams[counts].tolist())
        return found

    batches = open_batches(structure(config, TrainConfig, "here"), modalities)
    assert asked(batches, 0) == {True: {index["depth"]}, False: set()}
    assert asked(batches, 1) == {True: set(), False: {index["caption"]}}
    config["data"][1]["masking"] = own
    batches = open_batches(structure(config, TrainConfig, "here"), modalities)
    assert asked(batches, 0) == {True: {index["depth"]}, False: set()}
    assert asked(batches, None) == {True: set(), False: {index["caption"]}}


def test_streams_that_no_dataset_has_are_named(config, vocabulary):
    config["data"] = config["data"][1:]
    config["data"][0].pop("masking")
    modalities = build_set(["rgb", "depth", "caption"], vocabulary)
    with pytest.raises(DataError, match=r"text has no stream 'rgb\.pixels'; add it to the data"):
        open_batches(structure(config, TrainConfig, "here"), modalities)
    assert open_source(DataConfig(path=config["data"][0]["path"]), modalities).streams == {"caption"}
