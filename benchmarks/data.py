"""How many samples a second one core prepares for training: read, pick a crop, mask, pack; and what each part costs.

python benchmarks/data.py                                  # random tokens of the size of recipes/tiny/model.yaml
python benchmarks/data.py --data out/tiny/tokens --config recipes/tiny/model.yaml
python benchmarks/data.py --profile                        # the functions that take the time
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import attrs
import torch
from anymodal_scenes import write

import anymodal as am
from anymodal.config import load_config
from anymodal.data import Crops, DataConfig, MaskedBatches, tokenize_dataset
from anymodal.data.order import generator
from anymodal.tokens import ModalitySet, collate
from anymodal.training.multimodal.config import TrainConfig, build_set
from anymodal.training.multimodal.data import open_batches

ROOT = Path(__file__).parent.parent


def rate(work: Callable[[int], object], samples: int, seconds: float) -> float:
    """Samples a second of processor time of `work(k)`, each call of which handles `samples`."""
    work(0)
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        done += 1
        work(done)
    return done * samples / (time.process_time() - start)


def parts(batches: MaskedBatches, seconds: float) -> dict[str, float]:
    """Samples a second of the whole line, and of its parts alone."""
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
        "all": rate(batches, size, seconds),
        "read": rate(read, size, seconds),
        "generators": rate(draw, size, seconds),
        "budgets": rate(budgets, size, seconds),
        "budgets, select, pack": rate(mask, size, seconds),
        "collate": rate(lambda step: collate(packed[step % 64], layout), size, seconds),
    }


def scenes_as_tokens(folder: Path, modalities: ModalitySet, count: int) -> Path:
    """A tokenized dataset of rendered scenes, four crops of each."""
    write(folder / "scenes", count, seed=0, size=64, workers=os.cpu_count() or 1)
    make = partial(_same, modalities)
    tokenize_dataset(folder / "scenes", make, folder / "tokens", crops=Crops(count=4, flip=True))
    return folder / "tokens"


def _same(modalities: ModalitySet) -> ModalitySet:
    return modalities


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "recipes/tiny/model.yaml")
    parser.add_argument("--data", help="a dataset of any kind; by default, scenes are rendered and tokenized")
    parser.add_argument("--count", type=int, default=256, help="how many scenes")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each part")
    parser.add_argument("--profile", action="store_true", help="show which functions take the time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(args.config, TrainConfig)
    trained = config.tokenizers.is_dir()
    modalities = build_set(config.modalities, config.tokenizers) if trained else am.load("tiny").modalities
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or str(scenes_as_tokens(Path(folder), modalities, args.count))
        batches = open_batches(attrs.evolve(config, data=DataConfig(path=data)), modalities)
        if args.profile:
            with cProfile.Profile() as profile:
                for step in range(40):
                    batches(step)
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)
            return
        rates = parts(batches, args.seconds)
    if args.json:
        print(json.dumps({"samples_per_second_per_core": rates}))
        return
    for name, value in rates.items():
        print(f"{name:24} {value:9.0f} samples/s   {1e6 / value:7.0f} us a sample")


if __name__ == "__main__":
    main()
