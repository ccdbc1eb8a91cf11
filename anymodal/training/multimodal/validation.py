"""Evaluation while a model trains: its loss by stream and component of the mixture, and pictures of what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from anymodal.anymodel import AnyModel
from anymodal.data.batches import MaskedBatches
from anymodal.data.order import Share
from anymodal.errors import AnymodalError, ConfigError, DataError, counted
from anymodal.files import replacing
from anymodal.model import Transformer
from anymodal.nn.distributed import World
from anymodal.outputs import stacked
from anymodal.tokens import ModalitySet
from anymodal.training.device import to_device
from anymodal.training.engine import Engine
from anymodal.training.log import PICTURES
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.multimodal.data import open_batches
from anymodal.training.multimodal.loss import MaskedLoss
from anymodal.training.multimodal.warm_start import rebuilt


class Evaluation:
    """Measures a model on held-out data, the same samples with the same masks every time.

    Metrics: "loss", the mean over components by their weights; "component.K", that of component K, the mean over its
    streams; "loss.STREAM" and "component.K.STREAM", mean cross-entropies in nats a token. A component is measured by
    the samples that have something to read and to predict for it; one that no sample has that for is left out. Datasets
    with a masking of their own are "component.own", which counts as much as they do in the data.
    """

    def __init__(self, config: TrainConfig, modalities: ModalitySet, out: Path, world: World) -> None:
        assert config.evaluation is not None
        self.plan, self.config, self.modalities = config.evaluation, config, modalities
        self.out, self.world = out, world
        held_out = attrs.evolve(config, data=self.plan.data)
        self.batches: MaskedBatches = open_batches(held_out, modalities, Share(world.rank, world.size), complete=False)
        if self.plan.pictures > (known := len(self.batches.entries[0].source)):
            raise ConfigError(
                f"evaluation.pictures is {self.plan.pictures}, but {self.plan.data[0].path} has"
                f" {counted(known, 'sample')}; ask for fewer"
            )
        self.objective = MaskedLoss(modalities.layout, config.stream_weights)
        self.weights = [component.weight for component in config.masking.components]
        data = self.plan.data
        self.own = sum(each.weight for each in data if each.masking) / sum(each.weight for each in data)
        self.components: list[int | None] = [*range(len(self.weights)), *([None] if self.own else [])]
        if self.plan.given is not None and self.plan.given not in modalities.targets:
            raise ConfigError(f"evaluation.given names {self.plan.given!r}, of which no value can be shown")

    def __call__(self, engine: Engine[Transformer]) -> dict[str, float]:
        losses, counts = self._measure(engine)
        if self.plan.pictures:
            self._draw(engine)
        return self._summary(losses, counts)

    @torch.no_grad()
    def _measure(self, engine: Engine[Transformer]) -> tuple[np.ndarray, np.ndarray]:
        """Summed cross-entropies and predictions (components, streams) over all processes."""
        shape = (len(self.components), len(self.modalities.layout.streams))
        losses, counts = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
        index = self.modalities.layout.index
        for row, component in enumerate(self.components):
            for number in range(-(-self.plan.samples // self.batches.batch_size)):
                batch = to_device(self.batches.measured(number, component), engine.device)
                with engine.autocast():
                    means = engine.called(batch.packed)
                here = self.objective.totals([batch]).cpu()
                counts[row] += here
                for name, mean in means.items():
                    losses[row, index[name]] += float(mean) * here[index[name]]
        together = self.world.sum(torch.stack([losses, counts])).cpu().numpy()
        return together[0], together[1]

    def _summary(self, losses: np.ndarray, counts: np.ndarray) -> dict[str, float]:
        names = [stream.name for stream in self.modalities.layout.streams]
        metrics: dict[str, Any] = {}
        by_component = dict[int | None, float]()
        for component, loss, count in zip(self.components, losses, counts, strict=True):
            if not count.any():
                continue
            k = "own" if component is None else component
            means = {names[i]: loss[i] / count[i] for i in np.flatnonzero(count)}
            scale = {name: self.objective.weights[name] for name in means}
            total = sum(means[n] * scale[n] for n in means) / max(sum(scale.values()), 1e-9)
            by_component[component] = total
            metrics[f"component.{k}"] = total
            metrics |= {f"component.{k}.{name}": mean for name, mean in means.items()}
        pooled, predictions = losses.sum(0), counts.sum(0)
        metrics |= {f"loss.{names[i]}": pooled[i] / predictions[i] for i in np.flatnonzero(predictions)}
        return {"loss": self._loss(by_component), **{k: float(v) for k, v in metrics.items()}}

    def _loss(self, by_component: Mapping[int | None, float]) -> float:
        """The mean over the components that were measured, of which None is that of datasets with their own.

        Raises DataError where none was.
        """
        mixed = {k: loss for k, loss in by_component.items() if k is not None and self.weights[k]}
        parts = [(by_component[None], self.own)] if None in by_component else []
        if mixed:
            weights = [self.weights[k] for k in mixed]
            parts.append((float(np.average(list(mixed.values()), weights=weights)), 1 - self.own))
        if not parts:
            raise DataError(f"no sample of {self.plan.data[0].path} has anything to predict; name other held-out data")
        values, shares = zip(*parts, strict=True)
        return float(np.average(values, weights=shares))

    def _draw(self, engine: Engine[Transformer]) -> None:
        """Write out/samples/step-NNNNNNNN.png: a row for what was generated of each sample, and one for the truth."""
        weights = engine.weights()
        if not self.world.is_first:
            return
        model = rebuilt(self.config, self.modalities, weights)
        sheets = [self._sheet(model, index) for index in range(self.plan.pictures)]
        picture = stacked([sheet for sheet in sheets if sheet is not None])
        with replacing(self.out / PICTURES / f"step-{engine.step:08d}.png") as path:
            picture.save(path)
        for tracker in engine.runtime.trackers:
            tracker.picture(engine.step, "samples", picture)

    def _sheet(self, model: AnyModel, index: int) -> Any:
        """What is made of a sample beside the truth; None of one that cannot be used."""
        try:
            tokens = self.batches.sample(index)
        except AnymodalError:
            return None
        truth: Mapping[str, Any] = model.detokenize(
            {name: ids for name, ids in tokens.items() if name in self.modalities.targets}
        )
        photographs = [name for name in truth if self.modalities[name].photographic]
        given = self.plan.given or next(iter(photographs or truth), "")
        if given not in truth:
            return None
        alone = set(self.modalities.targets) <= {given}  # then nothing would be left to make
        return model.generate({} if alone else {given: truth[given]}, seed=index).show(truth, tile=128)
