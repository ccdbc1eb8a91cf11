"""From values in memory to a model in one call, for notebooks; runs that matter have a configuration and a dataset."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from anymodal.anymodel import AnyModel
from anymodal.config.arguments import DICTS, FUNCTION, WHOLE, instance, takes
from anymodal.data.batches import Batch
from anymodal.data.order import EpochOrder, step_batches
from anymodal.errors import ConfigError, counted
from anymodal.masking import Component, Masker, MaskingConfig
from anymodal.modality import Modality
from anymodal.model import ModelConfig
from anymodal.text import Vocabulary
from anymodal.tokenizers.config import plain_config
from anymodal.tokenizers.diffusion import build
from anymodal.tokens import ModalitySet, collate
from anymodal.training.engine import Engine
from anymodal.training.history import History, HistoryTracker, TrainingStep
from anymodal.training.multimodal.loss import MaskedLoss
from anymodal.training.runtime import Runtime
from anymodal.training.schedules import CosineSchedule
from anymodal.training.settings import TrainingSettings
from anymodal.training.tokenizers.run import fit_tokenizer

UPDATES, PASSES = 50, 20  # with fewer of either, what was trained says little of its samples
log = logging.getLogger("anymodal")


@takes(
    modalities=instance("a ModalitySet", ModalitySet),
    samples=DICTS,
    progress=FUNCTION,
    **dict.fromkeys(("steps", "tokenizer_steps", "dim", "batch_size", "seed"), WHOLE),
)
def fit(
    modalities: ModalitySet,
    samples: Sequence[Mapping[str, Any]],
    *,
    steps: int = 300,
    tokenizer_steps: int = 200,
    dim: int = 96,
    batch_size: int = 16,
    seed: int = 0,
    progress: Callable[[TrainingStep], None] | None = None,
) -> AnyModel:
    """A model that generates each modality of the set from the others, trained on samples that have all of them.

    Tokenizers and the vocabulary that the modalities lack are trained first. The same `seed` gives the same model.
    Less than 50 updates, or than 20 passes over the samples, are too little: the log warns and says what would do.

    Args:
        modalities: of the model, in the order in which it generates them.
        samples: plain values by modality, as `AnyModel.generate` takes them.
        steps: updates of the model. tokenizer_steps: of each tokenizer.
        dim: width of the model and of its tokenizers.
        batch_size: samples an update. seed: of weights, masks and the order of samples.
        progress: is called with a `TrainingStep` now and then.

    Returns:
        The model, ready to generate; `model.history` has the losses, and `model.history.plot()` draws them.

    Raises:
        ConfigError: there are no samples, or one lacks a modality.
        ValueProblem: a sample has a value that its modality cannot read.
    """
    _check_samples(modalities, samples)
    torch.manual_seed(seed)
    config = ModelConfig(dim=dim, encoder_depth=2, decoder_depth=2, heads=4)
    values = [modalities.accept(sample) for sample in samples]
    settings, history = _settings(steps, batch_size), History()
    for modality in modalities:
        if modality.tokenizer is None and modality.has_tokenizer:
            plan = _settings(tokenizer_steps, batch_size)
            _warn_of_little(f"the tokenizer of {modality.name}", "tokenizer_steps", plan, len(values))
            told = Runtime(trackers=(HistoryTracker(history, modality.name, plan.steps, progress),))
            _fit_tokenizer(modality, [value[modality.name] for value in values], dim, plan, seed, told)
    vocabulary = modalities.vocabulary or _fit_vocabulary(modalities, values)
    together = ModalitySet(modalities, vocabulary)
    model = AnyModel(together, config)
    tokens = [model.tokenize(value) for value in values]
    masker, order = Masker(together.layout, _every_way(model)), EpochOrder(len(tokens), batch_size, seed)
    _warn_of_little("the model", "steps", settings, len(samples))

    def batch(step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        component = masker.component(rng)
        return Batch(collate([masker(tokens[index], rng, component) for index in order(step)], together.layout))

    told = Runtime(trackers=(HistoryTracker(history, "model", steps, progress),))
    engine = Engine(model.transformer, settings, runtime=told)
    engine.run(step_batches(batch, steps), MaskedLoss(together.layout))
    model.transformer.eval()
    model.history = history
    return model


def _check_samples(modalities: ModalitySet, samples: Sequence[Mapping[str, Any]]) -> None:
    """Raise ConfigError where there are no samples, or one lacks a modality."""
    if not samples:
        raise ConfigError("fit needs at least one sample")
    for number, sample in enumerate(samples):
        if missing := [modality.name for modality in modalities if modality.name not in sample]:
            raise ConfigError(f"sample {number} has no {' and no '.join(missing)}; fit needs all modalities of each")


def _warn_of_little(what: str, argument: str, plan: TrainingSettings, samples: int) -> None:
    """Say in the log that a training is too short, and how long it should be."""
    needed = max(UPDATES, -(-PASSES * samples // plan.batch_size))
    if plan.steps < needed:
        passes = f"{plan.steps * plan.batch_size / samples:.3g} passes over {counted(samples, 'sample')}"
        seen = f"{counted(plan.steps, 'update')}, {passes}"
        log.warning("%s learns little from %s; give %s=%d or more", what, seen, argument, needed)


def _settings(steps: int, batch_size: int) -> TrainingSettings:
    schedule = CosineSchedule(warmup_steps=steps // 10)
    often = max(1, steps // 50)  # for the history
    return TrainingSettings(steps, batch_size, 2e-3, schedule=schedule, log_every=often)


def _fit_tokenizer(
    modality: Any, values: list[Any], dim: int, settings: TrainingSettings, seed: int, told: Runtime
) -> None:
    tensors = [part for value in values for part in modality.parts(value)] or [modality.preprocess(values[0])]
    inputs = torch.from_numpy(np.stack(tensors))
    order = EpochOrder(len(inputs), settings.batch_size, seed)
    batches = step_batches(lambda step: inputs[order(step)], settings.steps)
    tokenizer = build(plain_config(modality, dim, heads=4))
    modality.tokenizer = fit_tokenizer(tokenizer, batches, modality.loss, settings, runtime=told)


def _fit_vocabulary(modalities: ModalitySet, values: list[dict[str, Any]]) -> Vocabulary | None:
    spelled = [m for m in modalities if m.spelled]
    if not spelled:
        return None
    return Vocabulary.train([m.spell(value[m.name]) for m in spelled for value in values], 8000, sentinels=16)


def _every_way(model: AnyModel) -> MaskingConfig:
    """Each modality that can be generated, from all the others.

    A text that is generated is among its inputs too, hidden: the encoder reads one [S_1] for it, as in generation.
    """

    def ways_in(modality: Modality) -> list[str]:
        streams = [s for s in model.modalities.streams(modality.name) if s.input]
        return [s.name for s in [s for s in streams if s.is_dense] or streams]

    components = []
    for target in model.modalities.targets:
        sources = [name for m in model.modalities if m.name != target for name in ways_in(m)]
        keep = {name: "all" for name in sources if model.modalities.layout[name].is_sequence}
        if model.modalities.layout[target].is_sequence and model.modalities.layout[target].input:
            sources, keep = [*sources, target], {**keep, target: "none"}
        components.append(Component(dict.fromkeys(sources, 1.0), {target: 1.0}, keep=keep))
    return MaskingConfig(input_tokens=256, target_tokens=64, components=components)
