"""The configuration of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from anymodal.config.validators import at_least, weighed, whole
from anymodal.data.config import DataConfig, as_datasets
from anymodal.errors import ConfigError, listed, nearest
from anymodal.masking import MaskingConfig
from anymodal.masking.config import spelled_out
from anymodal.model import ModelConfig
from anymodal.sampling import Sampling
from anymodal.sampling.options import check_situations
from anymodal.text import Vocabulary
from anymodal.tokens import Layout, ModalitySet
from anymodal.training.multimodal.shape import GivenShape, as_given
from anymodal.training.multimodal.start import StartConfig
from anymodal.training.settings import WORKERS, ParallelConfig, SavingConfig, TrainingSettings
from anymodal.training.trackers import TrackingConfig


@attrs.frozen(kw_only=True)
class EvaluationConfig:
    """What is measured while a model trains, every `every` steps: the loss on `samples` of the held-out `data`.

    `pictures`: of how many samples pictures are drawn, from the modality `given` (default: a photograph).
    """

    data: tuple[DataConfig, ...] = attrs.field(converter=as_datasets)
    every: int = attrs.field(default=1000, validator=[whole, at_least(1)])
    samples: int = attrs.field(default=256, validator=[whole, at_least(1)])
    pictures: int = attrs.field(default=0, validator=[whole, at_least(0)])
    given: str | None = None


@attrs.frozen(kw_only=True)
class TrainConfig:
    """A training run.

    `modalities` maps names to settings, in the order in which the model will generate them; `members` among the
    settings names modalities that share one stream, as 4M-21's metadata do. `tokenizers` is a folder with
    modalities/NAME and vocabulary.json as `anymodal train-tokenizer` writes them; the settings of a tokenizer found
    there hold where none are given. `data` is a dataset, or several that are mixed. `model` is a `ModelConfig`; a run
    with a `start` has the shape of that model where `model` leaves out width, depths or heads. `stream_weights` scales
    single streams in the loss, which is otherwise the mean over the streams present in a batch. `sampling` holds
    sampling options by modality that the checkpoint will use by default, for 'grounded' and 'free' generation, and
    `chain` whether targets are made one from another by default there: true unless it says false.
    `workers` processes prepare batches, for each process that trains.
    """

    modalities: dict[str, dict[str, Any]]
    tokenizers: Path
    data: tuple[DataConfig, ...] = attrs.field(converter=as_datasets)
    model: GivenShape | None = attrs.field(default=None, converter=as_given)
    masking: MaskingConfig
    training: TrainingSettings
    stream_weights: dict[str, float] = attrs.field(factory=dict)
    sampling: dict[str, dict[str, dict[str, Any]]] = attrs.field(factory=dict)
    chain: dict[str, bool] = attrs.field(factory=dict)
    workers: int = attrs.field(default=0, validator=WORKERS)
    parallel: ParallelConfig = attrs.field(factory=ParallelConfig)
    checkpoints: SavingConfig = attrs.field(factory=SavingConfig)
    start: StartConfig | None = None
    evaluation: EvaluationConfig | None = None
    tracking: TrackingConfig = attrs.field(factory=TrackingConfig)

    def __attrs_post_init__(self) -> None:
        if self.start is None and self.model is None:
            raise ConfigError("model must be given, for it starts from none (start.model) that has a shape")
        if self.start is None:
            self.shape  # noqa: B018 - raises for numbers of no model
        if self.checkpoints.result == "best" and self.evaluation is None:
            raise ConfigError("checkpoints.result is best, but nothing says what is better; add evaluation")
        for masking in (self.masking, *(data.masking for data in self.data)):
            if masking is not None and masking.target_tokens < 1:
                raise ConfigError(f"masking.target_tokens must be at least 1, got {masking.target_tokens}")
        for name, weight in self.stream_weights.items():
            weighed(weight, f"stream_weights.{name}")
        check_situations("chain", self.chain)
        for name, situations in self.sampling.items():
            if name not in self.modalities:
                raise ConfigError(f"sampling names {name!r}, which is not in the set{nearest(name, self.modalities)}")
            check_situations(f"sampling.{name}", situations)
            for situation, options in situations.items():
                for option in options:
                    if option not in (known := [field.name for field in attrs.fields(Sampling)]):
                        raise ConfigError(
                            f"sampling.{name}.{situation} has no option {option!r}{nearest(option, known)}; known:"
                            f" {', '.join(known)}"
                        )

    @property
    def shape(self) -> ModelConfig:
        """That of the Transformer. Raises ConfigError where it is not said: `completed` takes it from `start`."""
        given = self.model or GivenShape()
        if self.start is not None and not given.sized:
            raise ConfigError(f"model leaves its shape to {self.start.model}; complete the configuration first")
        return given.over(ModelConfig())


def check_tokenizers(folder: Path) -> None:
    """Raise ConfigError if there is no such folder of tokenizers."""
    if not folder.is_dir():
        raise ConfigError(f"tokenizers names {folder}, which is no folder; anymodal train-tokenizer writes one")


def check_stream_weights(config: TrainConfig, layout: Layout) -> None:
    """Raise ConfigError for weights of streams that there are not, and where no stream that is predicted has one."""
    for name in config.stream_weights:
        if name not in layout:
            raise ConfigError(f"stream_weights names {name!r}, which is not in the set{nearest(name, layout.index)}")
    maskings = [data.masking or config.masking for data in config.data]
    components = [each for masking in maskings for each in spelled_out(masking, layout).components if each.weight]
    predicted = [s.name for s in layout.targets if any(each.targets.get(s.name) for each in components)]
    if predicted and not any(config.stream_weights.get(name, 1) for name in predicted):
        raise ConfigError(
            f"stream_weights is 0 for all that is predicted, {listed(predicted)}, so nothing would be learned; give one"
            " of them more"
        )


def build_set(
    modalities: dict[str, dict[str, Any]],
    tokenizers: Path,
    sampling: dict[str, dict[str, dict[str, Any]]] | None = None,
) -> ModalitySet:
    """The modalities with the tokenizers and the vocabulary of a folder, as far as it has them."""
    from anymodal.checkpoints.formats.native.read import load_modality
    from anymodal.checkpoints.record import ModalityRecord
    from anymodal.checkpoints.repository import Folder
    from anymodal.checkpoints.tokenizer import tokenizer_record

    path = tokenizers / "vocabulary.json"
    vocabulary = Vocabulary.load(path) if path.exists() else None
    members = []
    for name, given in modalities.items():
        settings = dict(given or {})
        shared = tuple(settings.pop("members", ()))
        config = tokenizers / "modalities" / name / "config.json"
        known = tokenizer_record(config) if config.exists() else {}
        record = ModalityRecord(
            settings={**known.get("settings", {}), **settings},
            sampling=(sampling or {}).get(name, {}),
            members=shared,
            made=known.get("made", {}),
        )
        members.append(load_modality(name, record, Folder(tokenizers)))
    return ModalitySet(members, vocabulary)
