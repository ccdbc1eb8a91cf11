"""How many samples a second one core prepares for training: read, pick a crop, mask, pack; and what each part costs.

`python -m benchmarks data`, or on your tokens `--set data.data=out/tiny/tokens`.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

import attrs
from anymodal_scenes import write

import anymodal as am
from anymodal.config import load_config
from anymodal.data import Crops, DataConfig, MaskedBatches, tokenize_dataset
from anymodal.data.order import generator
from anymodal.tokens import ModalitySet, collate
from anymodal.training.multimodal.config import TrainConfig, build_set
from anymodal.training.multimodal.data import open_batches
from benchmarks.harness.base import BENCHMARKS, Case, Timed, Work
from benchmarks.harness.revisions import ROOT

BATCHES = 4
PARTS = ("all", "read", "generators", "budgets", "budgets, select, pack", "collate")


@BENCHMARKS.register("data")
@attrs.frozen
class Data(Timed):
    """Samples that one core prepares for training at the size of recipes/tiny/model.yaml: all, and each part alone."""

    target: ClassVar[str] = "6 times the original"
    data: str = ""  # a dataset such as out/tiny/tokens; by default scenes are rendered and tokenized

    def cases(self, quick: bool) -> list[Case]:
        if quick:
            return [{"part": "all", "scenes": 8}]
        return [{"part": name, "scenes": 64} for name in PARTS]

    def prepare(self, case: Case) -> Work:
        config = load_config(ROOT / "recipes/tiny/model.yaml", TrainConfig)
        trained = config.tokenizers.is_dir()
        modalities = build_set(config.modalities, config.tokenizers) if trained else am.load("tiny").modalities
        folder = tempfile.TemporaryDirectory()
        data = self.data or str(scenes_as_tokens(Path(folder.name), modalities, case["scenes"]))
        batches = open_batches(attrs.evolve(config, data=DataConfig(path=data)), modalities)
        batch = works(batches)[case["part"]]
        counter = itertools.count()

        def run() -> None:
            assert folder.name
            for _ in range(BATCHES):
                batch(next(counter))

        return Work(run, items=BATCHES * batches.batch_size, unit="sample")


def works(batches: MaskedBatches) -> dict[str, Callable[[int], object]]:
    """The way of a batch from the files to the model, by its number, and parts of it alone."""
    (entry,), size = batches.entries, batches.batch_size
    source, masker, layout = entry.source, entry.masker, batches.layout
    rngs = [generator(0, "row", k) for k in range(size)]
    samples = [source.sample(entry.order(k), rngs[k]) for k in range(size)]
    component = [masker.component(generator(0, "masking", k)) for k in range(64)]
    packed = [[masker(s, rng, c) for s, rng in zip(samples, rngs, strict=True)] for c in component]

    def read(step: int) -> None:
        for row in range(size):
            source.sample(entry.order(step * size + row), rngs[row])

    def budgets(step: int) -> None:
        for sample, rng in zip(samples, rngs, strict=True):
            masker.budgets(sample, rng, component[step % 64])

    def mask(step: int) -> None:
        for sample, rng in zip(samples, rngs, strict=True):
            masker(sample, rng, component[step % 64])

    def draw(step: int) -> None:
        for row in range(size):
            generator(0, "row", step, row)

    return {
        "all": batches,
        "read": read,
        "generators": draw,
        "budgets": budgets,
        "budgets, select, pack": mask,
        "collate": lambda step: collate(packed[step % 64], layout),
    }


def scenes_as_tokens(folder: Path, modalities: ModalitySet, count: int) -> Path:
    """A tokenized dataset of rendered scenes, four crops of each."""
    write(folder / "scenes", count, seed=0, size=64, workers=os.cpu_count() or 1)
    make = partial(_same, modalities)
    tokenize_dataset(folder / "scenes", make, folder / "tokens", crops=Crops(count=4, flip=True))
    return folder / "tokens"


def _same(modalities: ModalitySet) -> ModalitySet:
    return modalities
