"""Training an any-to-any model on a tokenised dataset: the configuration, and what a step computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.anymodel import AnyModel
from anymodal.checkpoint import ModalityRecord, load_modality
from anymodal.data.steps import EpochOrder, step_batches
from anymodal.data.tokenized import TokenStore
from anymodal.errors import ConfigError, DataError
from anymodal.masking import Masker, MaskingConfig
from anymodal.model import ModelConfig, Transformer
from anymodal.remote import Folder
from anymodal.text import Vocabulary
from anymodal.tokens import ModalitySet, Packed, collate
from anymodal.training.engine import Engine, TrainingSettings


@attrs.frozen(kw_only=True)
class TrainConfig:
    """A training run.

    `modalities` maps names to numbers, in the order in which the model will generate them. `tokenizers` is a folder
    with modalities/NAME and vocabulary.json as `anymodal train-tokenizer` writes them; the numbers of a tokenizer found
    there hold where none are given. `data` is a tokenised dataset. `stream_weights` scales single streams in the loss,
    which is otherwise the mean over the streams present in a batch. `sampling` holds sampling options by modality that
    the checkpoint will use by default, for 'grounded' and 'free' generation.
    """

    modalities: dict[str, dict[str, Any]]
    tokenizers: Path
    data: Path
    model: ModelConfig
    masking: MaskingConfig
    training: TrainingSettings
    stream_weights: dict[str, float] = attrs.field(factory=dict)
    sampling: dict[str, dict[str, dict[str, Any]]] = attrs.field(factory=dict)
    workers: int = 0


def build_set(
    modalities: dict[str, dict[str, Any]],
    tokenizers: Path,
    sampling: dict[str, dict[str, dict[str, Any]]] | None = None,
) -> ModalitySet:
    """The modalities with the tokenizers and the vocabulary of a folder."""
    from anymodal.files import read_json

    path = tokenizers / "vocabulary.json"
    vocabulary = Vocabulary.load(path) if path.exists() else None
    members = []
    for name, numbers in modalities.items():
        config = tokenizers / "modalities" / name / "config.json"
        known = read_json(config)["numbers"] if config.exists() else {}
        members.append(
            load_modality(
                name,
                ModalityRecord(numbers={**known, **(numbers or {})}, sampling=(sampling or {}).get(name, {})),
                Folder(tokenizers),
            )
        )
    return ModalitySet(members, vocabulary)


class MaskedBatches:
    """Packed batches of a tokenised dataset; batch `step` is a pure function of the seed and the step.

    All samples of a batch share the component of the mixture, so that they are of similar length.
    """

    def __init__(self, store: TokenStore, masker: Masker, batch_size: int, seed: int) -> None:
        self.store, self.masker, self.seed = store, masker, seed
        self.order = EpochOrder(len(store), batch_size, seed)

    def __call__(self, step: int) -> Packed:
        component = self.masker.component(np.random.default_rng([self.seed, step]))
        packed = [
            self.masker(self.store.sample(index), np.random.default_rng([self.seed, step, row]), component)
            for row, index in enumerate(self.order(step))
        ]
        return collate(packed, self.masker.layout)


def masked_loss(model: torch.nn.Module, batch: Packed, weights: dict[str, float]) -> dict[str, Tensor]:
    """The mean over streams of their cross-entropies, and each of them as "loss.STREAM"."""
    losses = model(batch)
    scale = {name: weights.get(name, 1.0) for name in losses}
    total = sum(losses[n] * scale[n] for n in losses) / max(sum(scale.values()), 1e-9)
    return {"loss": torch.as_tensor(total), **{f"loss.{name}": value for name, value in losses.items()}}


def train(config: TrainConfig, out: Path, *, resume: bool = False, verbose: bool = False) -> AnyModel:
    """Train, and write the result to out/model. Interrupted runs are taken up with `resume`."""
    modalities = build_set(config.modalities, config.tokenizers, config.sampling)
    store = TokenStore(config.data)
    for stream in modalities.layout.streams:
        stored = store.streams.get(stream.name)
        if stored is None:
            raise DataError(f"{config.data} has no stream {stream.name!r}; tokenise it with the same modalities")
        if stored["space"]["length"] < stream.space.length and not stream.is_sequence:
            raise DataError(f"{config.data} has another size of {stream.name!r}: tokenise it with these tokenizers")
    for name in config.stream_weights:
        if name not in modalities.layout:
            raise ConfigError(f"stream_weights names {name!r}, which is not in the set")
    torch.manual_seed(config.training.seed)
    transformer = Transformer(config.model, modalities.layout)
    settings = config.training
    make = MaskedBatches(store, Masker(modalities.layout, config.masking), settings.batch_size, settings.seed)
    engine = Engine(transformer, settings, out, verbose=verbose)
    batches = step_batches(make, settings.steps * settings.accumulate, config.workers)
    engine.run(batches, lambda model, batch: masked_loss(model, batch, config.stream_weights), resume=resume)
    trained = engine.ema_model() if settings.ema else engine.model
    assert isinstance(trained, Transformer)
    model = AnyModel(modalities, trained)
    if engine.finished:
        model.save_pretrained(out / "model")
    return model
