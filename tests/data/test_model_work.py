"""Work in which a model takes part: its shards, where it computes, and what of it travels to other processes."""

from __future__ import annotations

import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anymodal.data.jobs.model_source import ModelSource
from anymodal.data.jobs.model_work import ModelWork


class Model:
    """Knows where it is."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def to(self, device: Any) -> None:
        self.device = device


class Source(ModelSource):
    def load(self, device: Any = None) -> Any:
        return Model(self.options.get("device") or device)


class Making(ModelWork):
    def __init__(self, samples: int, shard_size: int = 10, **options: Any) -> None:
        super().__init__(Source("model", options), shard_size)
        self.count = samples

    @property
    def samples(self) -> int:
        return self.count


@given(st.integers(0, 200), st.integers(1, 50))
def test_every_sample_is_in_one_shard(samples: int, shard_size: int) -> None:
    work = Making(samples, shard_size)
    rows = [row for shard in range(len(work.counts)) for row in work.rows(shard)]
    assert rows == list(range(samples)) and sum(work.counts) == samples
    assert all(0 < count <= shard_size for count in work.counts)


def test_a_model_that_a_plan_needed_moves_to_the_device_of_its_worker() -> None:
    work = Making(3)
    model = work.model
    work.move("cuda:1")
    assert work.model is model and model.device == "cuda:1"
    chosen = Making(3, device="cpu")
    assert chosen.model.device == "cpu"
    chosen.move("cuda:1")
    assert chosen.model.device == "cpu"


def test_other_processes_load_the_model_themselves_on_their_device() -> None:
    work = Making(3)
    assert work.model.device is None
    there = pickle.loads(pickle.dumps(work))
    assert "model" not in vars(there)
    there.move("cuda:2")
    assert there.model.device == "cuda:2"


def test_several_workers_compute_with_one_thread_each_and_one_with_all() -> None:
    alone = []
    for samples, workers, executor in ((30, 2, "local"), (30, 1, "local"), (10, 2, "local"), (10, 1, "ray")):
        work = Making(samples)
        work.share(workers, executor)
        alone.append(work.alone)
    assert alone == [True, False, False, True]
