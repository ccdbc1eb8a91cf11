"""What the tables of a model cost a step of training: dense AdamW against AdamW for the rows that a step looks up.

python benchmarks/tables.py                       # time and memory of a step, 21 streams of 8192 ids
python benchmarks/tables.py --loss DATA           # the loss of both ways on tokens such as out/tiny/tokens
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from anymodal.model import ModelConfig, Transformer
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import Layout, Packed, Packer, collate
from anymodal.training.optim import AdamWConfig
from anymodal.training.sparse_adamw import clip_gradients

FLOAT = 4  # bytes
ADAMW = 7  # numbers that AdamW moves for a weight: reads it, its gradient and two moments, writes all but the gradient
SEEN = 4  # and others of a dense gradient: zeros, length, and clipping, which reads and writes


def layout(streams: int, ids: int) -> Layout:
    return Layout([Stream(f"s{k}", f"s{k}", TokenSpace.grid(ids, 14, 14)) for k in range(streams)])


def batch(layout: Layout, samples: int, tokens: int, targets: int, seed: int) -> Packed:
    """Random ids; `tokens` of all streams as inputs, and `targets` streams with as many together to predict."""
    rng = np.random.default_rng(seed)
    packed = []
    for _ in range(samples):
        packer = Packer(layout)
        wanted = [layout.streams[k] for k in rng.permutation(len(layout.streams))[:targets]]
        for add, streams in ((packer.add_input, layout.streams), (packer.add_grid_target, wanted)):
            for stream in streams:
                count = max(1, tokens // len(streams))
                add(stream.name, rng.integers(0, stream.space.size, count), rng.permutation(196)[:count])
        packed.append(packer.pack())
    return collate(packed, layout)


def measure(tables: str, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of processor time of the parts of a step, the least of several, and megabytes at the most."""
    plan = layout(options.streams, options.ids)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(dim=options.dim, encoder_depth=1, decoder_depth=1, heads=4), plan)
    optimizers = AdamWConfig(tables=tables).build(model, 1e-3)
    parts: dict[str, list[float]] = {"forward": [], "backward": [], "clip": [], "update": [], "all": []}
    touched = 0
    for step in range(options.steps):
        packed = batch(plan, options.samples, options.tokens, options.targets, step)
        touched = len(packed.inputs.ids.unique())
        clock = [time.process_time()]
        loss = torch.stack(list(model(packed).values())).mean()
        clock.append(time.process_time())
        loss.backward()
        clock.append(time.process_time())
        clip_gradients(model.parameters(), 1.0)
        clock.append(time.process_time())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        clock.append(time.process_time())
        spans = [*np.diff(clock), clock[-1] - clock[0]]
        for name, span in zip(parts, spans, strict=True):
            parts[name].append(1e3 * span)
    rows = len(model.input_table)
    moved = (ADAMW * touched if tables == "rows" else (ADAMW + SEEN) * rows) * options.dim * FLOAT
    return {
        **{name: round(min(spans[1:]), 1) for name, spans in parts.items()},
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "rows": rows,
        "touched": touched,
        "floor_mb": round(moved / 1e6, 1),
    }


def loss(tables: str, options: argparse.Namespace) -> dict[str, Any]:
    """Losses of the same small model on the same batches, in training (the mean of each tenth) and on later ones."""
    from anymodal.config import load_config
    from anymodal.data.order import Share
    from anymodal.training.multimodal.config import TrainConfig, build_set
    from anymodal.training.multimodal.data import open_batches
    from anymodal.training.multimodal.loss import MaskedLoss
    from anymodal.training.schedules import TrapezoidSchedule

    root = Path(__file__).parent.parent
    overrides = [f"data={options.loss}", f"tokenizers={options.tokenizers}", f"training.batch_size={options.samples}"]
    overrides.append(f"training.seed={options.seed}")
    config = load_config(root / "recipes/tiny/model.yaml", TrainConfig, overrides)
    modalities = build_set(config.modalities, config.tokenizers)
    make = open_batches(config, modalities, Share(0, 1, 1))
    torch.manual_seed(options.seed)
    size = ModelConfig(dim=options.dim, encoder_depth=2, decoder_depth=2, heads=4)
    model, objective = Transformer(size, modalities.layout), MaskedLoss(modalities.layout)
    optimizers = AdamWConfig(tables=tables).build(model, options.lr)

    def of(number: int) -> torch.Tensor:
        packed = make(number)
        return objective(model, packed, objective.totals([packed]))["loss"]

    schedule = TrapezoidSchedule(warmup_steps=options.steps // 10)
    found = []
    for step in range(options.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = options.lr * schedule.share(step, options.steps)
        value = of(step)
        value.backward()
        clip_gradients(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        found.append(value.item())
    with torch.no_grad():
        later = [of(10**6 + number).item() for number in range(32)]
    tenths = [round(float(np.mean(part)), 4) for part in np.array_split(found, 10)]
    return {"training": tenths, "later": round(float(np.mean(later)), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss", type=Path, help="a folder of tokens: compare losses instead of times")
    parser.add_argument("--tokenizers", type=Path, default=Path("out/tiny/tokenizers"))
    parser.add_argument("--tables", choices=("dense", "rows"), help="measure one way, in this process")
    for name, default in (("streams", 21), ("ids", 8192), ("dim", 256), ("samples", 16), ("tokens", 126)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--targets", type=int, default=21, help="streams with targets in a sample")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.tables:
        print(json.dumps((loss if options.loss else measure)(options.tables, options)))
        return
    for tables in ("dense", "rows"):
        done = subprocess.run(
            [sys.executable, *sys.argv, "--tables", tables], check=True, stdout=subprocess.PIPE, text=True
        )
        print(tables, done.stdout, end="", flush=True)


if __name__ == "__main__":
    main()
