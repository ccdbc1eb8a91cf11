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
import numpy as np
from anymodal_scenes import write

import anymodal as am
from anymodal.config import load_config
from anymodal.data import Crops, DataConfig, MaskedBatches, tokenize_dataset
from anymodal.masking import Component
from anymodal.tokens import ModalitySet, collate
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.multimodal.data import open_batches
from benchmarks.harness.base import BENCHMARKS, Case, Timed, Work
from benchmarks.harness.revisions import ROOT

BATCHES = 4
ANYTHING = Component({"*": 0.2}, {"*": 0.2})
PARTS = ("all", "read", "generators", "budgets", "budgets, select, pack", "collate")


@BENCHMARKS.register("data")
@attrs.frozen
class Data(Timed):
    """Samples that one core prepares for training at the size of recipes/tiny/model.yaml: all, and each part alone."""

    target: ClassVar[str] = "6 times the original"
    data: str = ""  # a dataset such as out/tiny/tokens; by default scenes are rendered and tokenized

    def cases(self, quick: bool) -> list[Case]:
        if quick:
            return [{"part": "all", "scenes": 8, "modalities": 7}]
        return [
            *({"part": name, "scenes": 64, "modalities": 7} for name in PARTS),
            {"part": "all", "scenes": 64, "modalities": 21},
        ]

    def prepare(self, case: Case) -> Work:
        config = load_config(ROOT / "recipes/tiny/model.yaml", TrainConfig)
        names = list(config.modalities) if case["modalities"] == len(config.modalities) else None
        modalities = am.load("tiny", modalities=names).modalities
        folder = tempfile.TemporaryDirectory()
        data = self.data or str(scenes_as_tokens(Path(folder.name), modalities, case["scenes"]))
        masking = config.masking if names else attrs.evolve(config.masking, components=[ANYTHING])
        batches = open_batches(attrs.evolve(config, data=DataConfig(path=data), masking=masking), modalities)
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
    rngs = [np.random.default_rng(k) for k in range(size)]
    samples = [source.sample(entry.order(k), rngs[k]) for k in range(size)]
    component = [masker.component(np.random.default_rng(k)) for k in range(64)]
    packed = [[masker(s, rng, c) for s, rng in zip(samples, rngs, strict=True)] for c in component]

    def read(step: int) -> None:
        for row in range(size):
            source.sample(entry.order(step * size + row), rngs[row])

    def budgets(step: int) -> None:
        for sample, rng in zip(samples, rngs, strict=True):
            masker.budgets(sample, *masker.concentrations(component[step % 64], rng), component[step % 64], rng)

    def mask(step: int) -> None:
        for sample, rng in zip(samples, rngs, strict=True):
            masker(sample, rng, component[step % 64])

    def draw(step: int) -> None:
        from anymodal.data.order import Generators  # earlier revisions lack it, and run the other parts

        numbers = Generators(0, "row")
        for row in range(size):
            numbers(step, row)

    return {
        "all": batches,
        "read": read,
        "generators": draw,
        "budgets": budgets,
        "budgets, select, pack": mask,
        "collate": lambda step: collate(packed[step % 64], layout),
    }


def scenes_as_tokens(folder: Path, modalities: ModalitySet, count: int, seed: int = 0) -> Path:
    """A tokenized dataset of rendered scenes, four crops of each."""
    write(folder / "scenes", count, seed=seed, size=modalities["rgb"].size, workers=os.cpu_count() or 1)
    make = partial(_same, modalities)
    tokenize_dataset(folder / "scenes", make, folder / "tokens", crops=Crops(count=4, flip=True))
    return folder / "tokens"


def _same(modalities: ModalitySet) -> ModalitySet:
    return modalities
