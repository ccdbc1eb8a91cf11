"""Small siblings of the embedded model, trained to be compared: specialists, more modalities, and sizes.

They share its tokenizers and learn from the scenes of a world by the engine of all training; what was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

import attrs
import numpy as np
import torch

import anymodal as am
from anymodal.data.batches import Batch
from anymodal.data.order import EpochOrder, step_batches
from anymodal.masking import Chosen, packed_batch, select_stream
from anymodal.model import ModelConfig
from anymodal.nn.distributed import alone
from anymodal.spaces import Stream
from anymodal.training.checkpoint import claimed
from anymodal.training.engine import Engine
from anymodal.training.multimodal.loss import MaskedLoss
from anymodal.training.runtime import Runtime
from anymodal.training.schedules import CosineSchedule
from anymodal.training.settings import SavingConfig, TrainingSettings
from benchmarks.claims.base import CLAIMS, HELD_OUT_SEED, TRAIN_SEED, Claim, Piece, Verdict, better, interval, lower
from benchmarks.claims.scores import headline
from benchmarks.claims.worlds import Tokens, kept, model, tokens, values

TOLD = ("depth", "normal", "semseg", "det", "sam_instance", "human_poses", "caption")
BATCH, HEADS, RATE = 8, 4, 8e-3
SEEN, ASKED = 64, 16  # pixels of a picture that are read, and tokens of a grid that are learned of a sample


@attrs.frozen(kw_only=True)
class Sibling:
    """A model of `targets` from a picture: its width and blocks, and from how many scenes and steps it learns."""

    targets: tuple[str, ...]
    dim: int
    blocks: int
    scenes: int
    steps: int
    seed: int
    like: str = "tiny"

    @property
    def name(self) -> str:
        what = self.targets[0] if len(self.targets) == 1 else f"{len(self.targets)}-targets"
        return f"{what}-{self.dim}x{self.blocks}-{self.scenes}-scenes-{self.steps}-steps-{self.seed}"


def made(sibling: Sibling) -> am.AnyModel:
    """The sibling, trained; one that is there already is read."""
    names = ("rgb", *sibling.targets)
    like = model(sibling.like, names).modalities
    sets = am.ModalitySet([like[name] for name in names], like.vocabulary)
    torch.manual_seed(sibling.seed)
    config = ModelConfig(
        dim=sibling.dim, encoder_depth=sibling.blocks, decoder_depth=max(sibling.blocks // 2, 1), heads=HEADS
    )
    small = am.AnyModel(sets, config)
    samples = tokens(sibling.like, TRAIN_SEED, sibling.scenes)
    order = EpochOrder(len(samples), BATCH, sibling.seed)

    def batch(step: int) -> Batch:
        return packed(small, sibling.targets, [samples[k] for k in order(step)], (sibling.seed, step))

    warmup = CosineSchedule(warmup_steps=sibling.steps // 20)
    settings = TrainingSettings(
        sibling.steps, BATCH, RATE, schedule=warmup, precision="float32", save_every=100, seed=sibling.seed
    )
    out = kept(sibling.like) / "siblings" / sibling.name
    runtime = Runtime(device="cpu", saving=SavingConfig(keep=1))
    with claimed(out, alone("cpu"), resume=True):
        engine = Engine(small.transformer, settings, out, runtime)
        engine.run(step_batches(batch, sibling.steps), MaskedLoss(sets.layout), resume=True)
    if not engine.finished:  # a run that was told to stop has no result
        raise KeyboardInterrupt
    small.transformer.eval()
    return small


def packed(small: am.AnyModel, targets: Sequence[str], samples: Sequence[Tokens], drawn: tuple[int, ...]) -> Batch:
    """All pixels to the same part of each target, whatever other targets there are: equal samples of each."""
    layout = small.modalities.layout
    chosen = [
        [
            select_stream(layout["rgb.pixels"], tokens["rgb.pixels"], SEEN, 0, "all", 1, np.random.default_rng(0)),
            *(part_of(layout[name], tokens[name], (*drawn, number, crc32(name.encode()))) for name in targets),
        ]
        for number, tokens in enumerate(samples)
    ]
    return Batch(packed_batch(layout, chosen))


def part_of(stream: Stream, value: np.ndarray, drawn: tuple[int, ...]) -> Chosen:
    """The tokens of a target that are learned of a sample: some positions of a grid, the whole of a sequence."""
    asked = len(value) + 2 if stream.is_sequence else ASKED
    return select_stream(stream, value, 0, asked, "none", 1, np.random.default_rng(drawn))


@torch.no_grad()
def held_out_loss(small: am.AnyModel, like: str, targets: Sequence[str], count: int) -> dict[str, float]:
    """Cross-entropies in nats a token on held-out scenes, by target."""
    samples, sums = tokens(like, HELD_OUT_SEED, count), dict[str, list[float]]()
    for start in range(0, len(samples), BATCH):
        batch = packed(small, targets, samples[start : start + BATCH], (HELD_OUT_SEED, start))
        for name, loss in small.transformer(batch.packed).items():
            sums.setdefault(name, []).append(float(loss))
    return {name: float(np.mean(each)) for name, each in sums.items()}


@attrs.frozen(kw_only=True)
class Sized(Claim):
    """The sizes of siblings."""

    model: str = "tiny"
    dim: int = 64
    blocks: int = 4
    scenes: int = 1000
    steps: int = 600
    seeds: int = 3
    held_out: int = 60

    def _sibling(self, targets: Sequence[str], seed: int, **changed: Any) -> Sibling:
        own = {"dim": self.dim, "blocks": self.blocks, "scenes": self.scenes, "steps": self.steps} | changed
        return Sibling(targets=tuple(targets), seed=seed, like=self.model, **own)

    def _size(self, width: str = "") -> str:
        wide = width or f"width {self.dim}"
        return (
            f"siblings of {self.model}, {wide}, {self.blocks} blocks; {self.scenes} scenes,"
            f" {self.steps} steps of {BATCH}; {self.held_out} held-out scenes, {self.seeds} seeds"
        )

    def _rows(self, found: Mapping[str, Any], *ways: str) -> list[list[dict[str, Any]]] | None:
        """What was found of ways, for the seeds that have all of them; None where there is no such seed."""
        done = [k for k in range(self.seeds) if all(f"{way}/{k}" in found for way in ways)]
        return [[found[f"{way}/{k}"] for k in done] for way in ways] if done else None

    def _met(self, rows: Sequence[Sequence[Any]], met: bool) -> bool | None:
        """Whether a bar is met, once all seeds are done."""
        return met if len(rows[0]) == self.seeds else None


@CLAIMS.register("specialists")
@attrs.frozen(kw_only=True)
class Specialists(Sized):
    """One model of seven targets against one for each, of equal size and as many samples."""

    claim = "out of the box: one model, rgb to depth, normal, semseg, det, sam_instance, human_poses and caption"
    bar = "within 10 % of a specialist of equal size and samples, better on two"

    def pieces(self) -> Iterator[Piece]:
        for seed in range(self.seeds):
            for targets in (TOLD, *((name,) for name in TOLD)):
                way = "one" if targets == TOLD else targets[0]
                yield f"{way}/{seed}", lambda targets=targets, seed=seed: self._scores(targets, seed)

    def _scores(self, targets: Sequence[str], seed: int) -> dict[str, Any]:
        """By target its score with its name, and its loss."""
        small = made(self._sibling(targets, seed))
        samples = values(self.model, HELD_OUT_SEED, 0, self.held_out, ("rgb", *TOLD))
        outs = small.generate_batch([{"rgb": s["rgb"]} for s in samples], list(targets), seed=seed * 1000, chain=False)
        sets, losses = small.modalities, held_out_loss(small, self.model, targets, self.held_out)
        return {n: [*headline(sets[n], [o[n] for o in outs], [s[n] for s in samples]), losses[n]] for n in targets}

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        texts, near, ahead = [], [], []
        for name in TOLD:
            rows = self._rows(found, "one", name)
            if rows is None:
                continue
            score = rows[0][0][name][0]
            one, own = ([each[name][1] for each in row] for row in rows)
            nats = " and ".join(interval([each[name][2] for each in row]) for row in rows)
            a, b = float(np.mean(one)), float(np.mean(own))
            near.append(len(one) == self.seeds and (a <= 1.1 * b if lower(score) else a >= 0.9 * b))
            ahead.append(better(score, a, b))
            texts.append(f"{name} {score} {interval(one)} (specialist {interval(own)}; nats a token {nats})")
        met = all(near) and sum(ahead) >= 2 if len(near) == len(TOLD) else None
        counted = f"{sum(near)} of {len(near)} within 10 %, {sum(ahead)} better: " if near else ""
        return Verdict(counted + ("; ".join(texts) or "nothing yet"), met, self._size())


@CLAIMS.register("many")
@attrs.frozen(kw_only=True)
class Many(Sized):
    """All targets of the model against seven, each with as many samples: steps grow with the targets."""

    claim = "more modalities do not hurt: 21 modalities against 7, on the seven that they share"
    bar = "within 5 % of the loss of each at equal samples"

    def pieces(self) -> Iterator[Piece]:
        for seed in range(self.seeds):
            for way in ("7", "all"):
                yield f"{way}/{seed}", lambda way=way, seed=seed: self._losses(way, seed)

    def _losses(self, way: str, seed: int) -> dict[str, float]:
        targets = [name for name in model(self.model).modalities.targets if name != "rgb"] if way == "all" else TOLD
        small = made(self._sibling(targets, seed))
        return held_out_loss(small, self.model, TOLD, self.held_out)

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows = self._rows(found, "7", "all")
        if rows is None:
            return Verdict("nothing yet", None, self._size())
        seven, every = ([float(np.mean(list(each.values()))) for each in row] for row in rows)
        ratios = {
            name: float(np.mean([a[name] for a in rows[1]]) / np.mean([s[name] for s in rows[0]])) for name in TOLD
        }
        shown = ", ".join(f"{name} {100 * (ratio - 1):+.1f} %" for name, ratio in ratios.items())
        text = f"nats a token: 7 {interval(seven)}, all {interval(every)}; loss of each: {shown}"
        return Verdict(text, self._met(rows, max(ratios.values()) <= 1.05), self._size())


@CLAIMS.register("scale")
@attrs.frozen(kw_only=True)
class Scale(Sized):
    """Widths at equal samples."""

    claim = "scale: three sizes at equal samples"
    bar = "they improve in order"
    dims: tuple[int, ...] = (32, 64, 128)

    def pieces(self) -> Iterator[Piece]:
        for seed in range(self.seeds):
            for dim in self.dims:
                yield f"{dim}/{seed}", lambda dim=dim, seed=seed: self._losses(dim, seed)

    def _losses(self, dim: int, seed: int) -> dict[str, float]:
        small = made(self._sibling(TOLD, seed, dim=dim))
        return held_out_loss(small, self.model, TOLD, self.held_out)

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows = self._rows(found, *map(str, self.dims))
        if rows is None:
            return Verdict("nothing yet", None, self._size("three widths"))
        losses = [[float(np.mean(list(each.values()))) for each in row] for row in rows]
        means = [float(np.mean(each)) for each in losses]
        shown = ", ".join(f"width {dim} {interval(each)}" for dim, each in zip(self.dims, losses, strict=True))
        met = self._met(rows, means == sorted(means, reverse=True))
        return Verdict(f"nats a token: {shown}", met, self._size("three widths"))
