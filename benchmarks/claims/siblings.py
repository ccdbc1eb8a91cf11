"""Small siblings of the embedded model, trained to be compared: specialists, more modalities, and sizes.

They share its tokenizers and learn from the scenes of a world by the engine of all training; what was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch

import anymodal as am
from anymodal.data.batches import Batch
from anymodal.data.order import EpochOrder, step_batches
from anymodal.masking import Component, Masker, MaskingConfig
from anymodal.model import ModelConfig
from anymodal.nn.distributed import alone
from anymodal.tokens import collate
from anymodal.training.checkpoint import claimed
from anymodal.training.engine import Engine, Runtime
from anymodal.training.multimodal.loss import MaskedLoss
from anymodal.training.settings import SavingConfig, TrainingSettings
from benchmarks.claims.base import CLAIMS, HELD_OUT_SEED, TRAIN_SEED, Claim, Piece, Verdict, better, interval, lower
from benchmarks.claims.scores import headline
from benchmarks.claims.transfers import WORK
from benchmarks.claims.worlds import model, values

TOLD = ("depth", "normal", "semseg", "det", "sam_instance", "human_poses", "caption")
BATCH, HEADS = 16, 4


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
    """The sibling, trained."""
    names = ("rgb", *sibling.targets)
    like = model(sibling.like, names).modalities
    sets = am.ModalitySet([like[name] for name in names], like.vocabulary)
    torch.manual_seed(sibling.seed)
    config = ModelConfig(
        dim=sibling.dim, encoder_depth=sibling.blocks, decoder_depth=max(sibling.blocks // 2, 1), heads=HEADS
    )
    small = am.AnyModel(sets, config)
    samples = tokens_of(small, values(sibling.like, TRAIN_SEED, 0, sibling.scenes, names))
    masker = from_pictures(small, sibling.targets)
    order = EpochOrder(len(samples), BATCH, sibling.seed)

    def batch(step: int) -> Batch:
        rng = np.random.default_rng([sibling.seed, step])
        component = masker.component(rng)
        return Batch(collate([masker(samples[k], rng, component) for k in order(step)], sets.layout))

    settings = TrainingSettings(sibling.steps, BATCH, 2e-3, precision="float32", save_every=200, seed=sibling.seed)
    out = WORK / "siblings" / sibling.name
    runtime = Runtime(device="cpu", saving=SavingConfig(keep=1))
    with claimed(out, alone("cpu"), resume=True):
        engine = Engine(small.transformer, settings, out, runtime)
        engine.run(step_batches(batch, sibling.steps), MaskedLoss(sets.layout), resume=True)
    if not engine.finished:  # a run that was told to stop has no result
        raise KeyboardInterrupt
    small.transformer.eval()
    return small


def tokens_of(small: am.AnyModel, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
    """The tokens of samples that have all modalities of a model."""
    names = list(small.modalities.modalities)
    return [small.tokenize({name: s[name] for name in names}) for s in samples if all(name in s for name in names)]


def from_pictures(small: am.AnyModel, targets: Sequence[str]) -> Masker:
    """Pixels to all targets, so many tokens of each that a sample has about 40 of every one."""
    component = Component({"rgb.pixels": 1.0}, dict.fromkeys(targets, 1.0))
    config = MaskingConfig(input_tokens=64, target_tokens=40 * len(targets), components=[component])
    return Masker(small.modalities.layout, config)


@torch.no_grad()
def held_out_loss(small: am.AnyModel, like: str, targets: Sequence[str], first: int, count: int) -> dict[str, float]:
    """Cross-entropies in nats a token on held-out scenes, by target."""
    samples = tokens_of(small, values(like, HELD_OUT_SEED, first, count, tuple(small.modalities.modalities)))
    masker, sums = from_pictures(small, targets), dict[str, list[float]]()
    for start in range(0, len(samples), BATCH):
        rng = np.random.default_rng([7, start])
        component = masker.component(rng)
        part = [masker(tokens, rng, component) for tokens in samples[start : start + BATCH]]
        for name, loss in small.transformer(collate(part, small.modalities.layout)).items():
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
        small = made(self._sibling(targets, seed))
        samples = values(self.model, HELD_OUT_SEED, 0, self.held_out, ("rgb", *TOLD))
        outs = small.generate_batch([{"rgb": s["rgb"]} for s in samples], list(targets), seed=seed * 1000, chain=False)
        sets = small.modalities
        return {n: headline(sets[n], [out[n] for out in outs], [s[n] for s in samples]) for n in targets}

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        texts, near, ahead = [], [], []
        for name in TOLD:
            rows = self._rows(found, "one", name)
            if rows is None:
                continue
            score = rows[0][0][name][0]
            one, own = ([each[name][1] for each in row] for row in rows)
            a, b = float(np.mean(one)), float(np.mean(own))
            texts.append(f"{name} {score} {interval(one)} (specialist {interval(own)})")
            near.append(len(one) == self.seeds and (a <= 1.1 * b if lower(score) else a >= 0.9 * b))
            ahead.append(better(score, a, b))
        met = all(near) and sum(ahead) >= 2 if len(near) == len(TOLD) else None
        return Verdict("; ".join(texts) or "nothing yet", met, self._size())


@CLAIMS.register("many")
@attrs.frozen(kw_only=True)
class Many(Sized):
    """All targets of the model against seven, each with as many samples: steps grow with the targets."""

    claim = "more modalities do not hurt: 21 modalities against 7, on the seven that they share"
    bar = "within 5 % of the loss at equal samples of each"

    def pieces(self) -> Iterator[Piece]:
        for seed in range(self.seeds):
            for way in ("7", "all"):
                yield f"{way}/{seed}", lambda way=way, seed=seed: self._losses(way, seed)

    def _losses(self, way: str, seed: int) -> dict[str, float]:
        targets = [name for name in model(self.model).modalities.targets if name != "rgb"] if way == "all" else TOLD
        small = made(self._sibling(targets, seed))
        return held_out_loss(small, self.model, TOLD, 0, self.held_out)

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows = self._rows(found, "7", "all")
        if rows is None:
            return Verdict("nothing yet", None, self._size())
        seven, every = ([float(np.mean(list(each.values()))) for each in row] for row in rows)
        met = float(np.mean(every)) <= 1.05 * float(np.mean(seven))
        text = f"nats a token: 7 {interval(seven)}, all {interval(every)}"
        return Verdict(text, self._met(rows, met), self._size())


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
        return held_out_loss(small, self.model, TOLD, 0, self.held_out)

    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        rows = self._rows(found, *map(str, self.dims))
        if rows is None:
            return Verdict("nothing yet", None, self._size("three widths"))
        losses = [[float(np.mean(list(each.values()))) for each in row] for row in rows]
        means = [float(np.mean(each)) for each in losses]
        shown = ", ".join(f"width {dim} {interval(each)}" for dim, each in zip(self.dims, losses, strict=True))
        met = self._met(rows, means == sorted(means, reverse=True))
        return Verdict(f"nats a token: {shown}", met, self._size("three widths"))
