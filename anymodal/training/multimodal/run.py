"""Training an any-to-any model: what a run is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import torch

from anymodal.anymodel import AnyModel
from anymodal.checkpoints.state import transformer_on_meta
from anymodal.config.arguments import PLACE, read_by_load, takes
from anymodal.data.digest import digest
from anymodal.data.order import Share, step_batches
from anymodal.errors import DataError, system_errors
from anymodal.files import check_folder, write_json
from anymodal.model import Transformer
from anymodal.nn.distributed import World, world
from anymodal.tokens import ModalitySet
from anymodal.training.checkpoint import claimed
from anymodal.training.engine import Engine
from anymodal.training.multimodal.config import TrainConfig, build_set, check_stream_weights, check_tokenizers
from anymodal.training.multimodal.data import open_batches
from anymodal.training.multimodal.lora import save_adapters
from anymodal.training.multimodal.loss import MaskedLoss
from anymodal.training.multimodal.validation import Evaluation
from anymodal.training.multimodal.warm_start import (
    completed,
    frozen_hash,
    frozen_names,
    prepare,
    rebuilt,
    set_trainable,
    unused_parameters,
)
from anymodal.training.parallel import splits
from anymodal.training.runtime import Runtime, WeightFacts
from anymodal.training.trackers import TrackingConfig, trackers


@takes(config=read_by_load(TrainConfig), out=PLACE)
@system_errors(DataError)
def train(config: TrainConfig, out: str | Path, *, resume: bool = False, verbose: bool = False) -> AnyModel | None:
    """Train, and write the result to out/model.

    Run by `torchrun`, all its processes train together; the first one writes and has the result.

    Args:
        config: of the run.
        out: folder for the model, checkpoints and logs.
        resume: take up the newest checkpoint in `out`, if there is one.
        verbose: print a line now and then where there is no terminal for a progress bar.

    Returns:
        The model; None in all processes but the first, and for a run that ended early.

    Raises:
        ConfigError: the configuration does not fit its modalities, or the run that is to be resumed.
        DataError: the data lack what the modalities need, too much of them is unusable, or `out` is in use.
        CheckpointError: tokenizers, the model to start from, or a checkpoint cannot be read or written.
        TrainingDiverged: the loss was not finite, or exploded, for many steps in a row.
    """
    out = Path(out)
    for part in ("model", "adapters"):
        check_folder(out / part)
    with world() as processes, claimed(out, processes, resume):
        return _train(config, out, processes, resume, verbose)


def _train(config: TrainConfig, out: Path, world: World, resume: bool, verbose: bool) -> AnyModel | None:
    config = completed(config)
    settings = config.training
    check_tokenizers(config.tokenizers)
    modalities = build_set(config.modalities, config.tokenizers, config.sampling)
    check_stream_weights(config, modalities.layout)
    make = open_batches(config, modalities, Share(world.rank, world.size, settings.accumulate))
    evaluation = Evaluation(config, modalities, out, world) if config.evaluation else None
    transformer = _new_model(config, modalities, world, out)
    facts = WeightFacts(
        frozen=frozen_names(transformer),
        unused=unused_parameters(transformer, config.start),
        fingerprint={**fingerprint(config, modalities), "frozen_weights": frozen_hash(transformer)},
    )
    tracking = config.tracking if world.is_first else TrackingConfig()
    with trackers(tracking, out, attrs.asdict(config)) as followers:
        runtime = Runtime(
            world=world,
            parallel=config.parallel,
            saving=config.checkpoints,
            trackers=followers,
            verbose=verbose and world.is_first,
        )
        engine = Engine(transformer, settings, out, runtime, facts)
        engine.run(
            step_batches(make, settings.steps * settings.accumulate, config.workers),
            MaskedLoss(modalities.layout, config.stream_weights),
            evaluate=evaluation,
            evaluate_every=config.evaluation.every if config.evaluation else 0,
            resume=resume,
        )
    if not engine.finished:
        return None
    if config.checkpoints.result == "best":
        engine.take_best()
    model = _written(config, modalities, engine, out)
    world.wait()
    return model


def _written(config: TrainConfig, modalities: ModalitySet, engine: Engine[Transformer], out: Path) -> AnyModel | None:
    """The result, written to out/model by the first process; None in the others."""
    weights = engine.weights()
    if not engine.world.is_first:
        return None
    model = rebuilt(config, modalities, weights)
    model.save_pretrained(out / "model")
    if config.start is not None and (lora := config.start.lora) is not None and lora.keep:
        save_adapters(engine.model, weights, lora, config.start.model, out / "adapters")
    return model


def _new_model(config: TrainConfig, modalities: ModalitySet, world: World, out: Path) -> Transformer:
    """The model that a run begins with; only an outline of it where the weights come from the first process."""
    if splits(config.parallel, world) and not world.is_first:
        outline = transformer_on_meta(config.shape, modalities.layout)
        if config.start is not None:
            set_trainable(outline, config.start)
        return outline
    torch.manual_seed(config.training.seed)
    model = Transformer(config.shape, modalities.layout)
    if config.start is not None:
        report = prepare(model, config.start, modalities.vocabulary)
        if world.is_first:
            write_json(attrs.asdict(report), out / "start.json")
    return model


def fingerprint(config: TrainConfig, modalities: ModalitySet) -> dict[str, Any]:
    """What the weights of a run are for, beyond their shapes: how they compute, and what rows of tables stand for."""
    streams, vocabulary = modalities.layout.streams, modalities.vocabulary
    lora = config.start.lora if config.start else None
    return {
        "model": attrs.asdict(config.shape),
        "lora": None if lora is None else attrs.asdict(lora),
        "streams": [stream.name for stream in streams],
        "spaces": {stream.name: attrs.asdict(stream.space) for stream in streams},
        "vocabulary": None if vocabulary is None else digest(vocabulary.to_json()),
        "tokenizers": {m.name: m.tokenizer.fingerprint() for m in modalities if m.tokenizer is not None},
    }
