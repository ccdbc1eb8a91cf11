"""Training an any-to-any model: what a run is made of, and what a step computes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from anymodal.anymodel import AnyModel
from anymodal.data.steps import step_batches
from anymodal.errors import ConfigError
from anymodal.model import Transformer
from anymodal.tokens import Packed
from anymodal.training.batches import Share, build_batches
from anymodal.training.config import TrainConfig, build_set
from anymodal.training.engine import Engine


def masked_loss(model: torch.nn.Module, batch: Packed, weights: dict[str, float]) -> dict[str, Tensor]:
    """The mean over streams of their cross-entropies, and each of them as "loss.STREAM"."""
    losses = model(batch)
    scale = {name: weights.get(name, 1.0) for name in losses}
    total = sum(losses[n] * scale[n] for n in losses) / max(sum(scale.values()), 1e-9)
    return {"loss": torch.as_tensor(total), **{f"loss.{name}": value for name, value in losses.items()}}


def train(config: TrainConfig, out: Path, *, resume: bool = False, verbose: bool = False) -> AnyModel:
    """Train, and write the result to out/model. Interrupted runs are taken up with `resume`."""
    modalities = build_set(config.modalities, config.tokenizers, config.sampling)
    for name in config.stream_weights:
        if name not in modalities.layout:
            raise ConfigError(f"stream_weights names {name!r}, which is not in the set")
    torch.manual_seed(config.training.seed)
    transformer = Transformer(config.model, modalities.layout)
    settings = config.training
    make = build_batches(config, modalities, Share(parts=settings.accumulate))
    engine = Engine(transformer, settings, out, verbose=verbose)
    batches = step_batches(make, settings.steps * settings.accumulate, config.workers)
    engine.run(batches, lambda model, batch: masked_loss(model, batch.packed, config.stream_weights), resume=resume)
    trained = engine.ema_model() if settings.ema else engine.model
    assert isinstance(trained, Transformer)
    model = AnyModel(modalities, trained)
    if engine.finished:
        model.save_pretrained(out / "model")
    return model
