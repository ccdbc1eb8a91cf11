"""Training runs of tokenizers from a configuration: a ViT or MLP tokenizer of one modality, or the text vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from anymodal.data.folder import AlignedFolder
from anymodal.data.steps import EpochOrder, step_batches
from anymodal.errors import ConfigError
from anymodal.modality import Crop, Modality
from anymodal.plugins import registry
from anymodal.text import Vocabulary
from anymodal.tokenizer_files import load_any, save_tokenizer
from anymodal.tokenizers.config import NoiseConfig, UNetConfig, UViTConfig
from anymodal.tokenizers.diffusion import DiffusionTokenizer, build
from anymodal.tokenizers.tokenizer import Tokenizer
from anymodal.tokenizers.train import train_tokenizer
from anymodal.training.settings import TrainingSettings


@attrs.frozen(kw_only=True)
class VocabularyConfig:
    """Size of a vocabulary: all ids, value tokens of each of v0..v3, sentinels; and words that stay whole."""

    size: int = 30_000
    bins: int = 1000
    sentinels: int = 200
    words: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class TokenizerRun:
    """Trains the tokenizer of `modality` on the aligned folder `data`, or the vocabulary on its texts.

    `numbers` are the modality's; `encoder` and `decoder` give width (dim), depth and heads; `options` go to the
    tokenizer's config. Pictures are mirrored half of the time with `flip`. `loss` defaults to the modality's own.

    A decoder that denoises takes `unet` or `uvit`, and `noise`, in place of `decoder`. It learns together with the
    encoder, or, with `codes`, for a trained tokenizer, whose encoder and codebook stay as they are.
    """

    modality: str
    data: Path
    numbers: dict[str, Any] = attrs.field(factory=dict)
    encoder: dict[str, Any] | None = None
    decoder: dict[str, Any] | None = None
    unet: UNetConfig | None = None
    uvit: UViTConfig | None = None
    noise: NoiseConfig = attrs.field(factory=NoiseConfig)
    codes: Path | None = None
    options: dict[str, Any] = attrs.field(factory=dict)
    training: TrainingSettings | None = None
    loss: str | None = None
    flip: bool = True
    workers: int = 0
    vocabulary: VocabularyConfig | None = None


class PreparedBatches:
    """Tokenizer inputs of an aligned folder; batch `step` is a pure function of the seed and the step."""

    def __init__(self, folder: AlignedFolder, modality: Modality, batch_size: int, seed: int, flip: bool) -> None:
        self.folder, self.modality, self.flip = folder, modality, flip
        self.order = EpochOrder(len(folder), batch_size, seed)
        self.seed = seed

    def __call__(self, step: int) -> torch.Tensor:
        rng = np.random.default_rng([self.seed, step])
        arrays = []
        for index in self.order(step):
            value = self.folder.read(self.folder.names[index])[self.modality.name]
            if self.flip and self.modality.aligned and rng.random() < 0.5:
                value = self.modality.crop(value, Crop(flip=True))
            arrays.append(self.modality.preprocess(value))
        return torch.from_numpy(np.stack(arrays))


def run(config: TokenizerRun, out: Path, *, resume: bool = False, verbose: bool = False) -> Path:
    """Train and write out/modalities/NAME or out/vocabulary.json; returns that path. Progress lies in out/runs/NAME."""
    modality = registry().modality(config.modality)(**config.numbers)
    sources = [registry().modality(name)(**_shared(config.numbers, name)) for name in modality.derived_from]
    folder = AlignedFolder(config.data, [*sources, modality])
    if config.vocabulary is not None:
        return _train_vocabulary(config.vocabulary, folder, modality, out)
    if config.training is None:
        raise ConfigError("training a tokenizer needs training (or vocabulary, for text)")
    settings = config.training
    torch.manual_seed(settings.seed)
    modality.tokenizer = _untrained(config, modality)
    make = PreparedBatches(folder, modality, settings.batch_size, settings.seed, config.flip)
    batches = step_batches(make, settings.steps * settings.accumulate, config.workers)
    loss = config.loss or modality.loss  # type: ignore[attr-defined]
    modality.tokenizer = train_tokenizer(
        modality.tokenizer, batches, loss, settings, out / "runs" / modality.name, resume=resume, verbose=verbose
    )
    part = out / "modalities" / modality.name
    save_tokenizer(modality, part)
    return part


def _untrained(config: TokenizerRun, modality: Modality) -> Tokenizer:
    make_config = getattr(modality, "tokenizer_config", None)
    if make_config is None:
        raise ConfigError(f"{modality.name!r} has no tokenizer to train; give vocabulary to learn word pieces from it")
    denoiser = config.unet or config.uvit
    if (config.decoder is not None) + (config.unet is not None) + (config.uvit is not None) != 1:
        raise ConfigError("training a tokenizer needs one decoder: decoder, unet or uvit")
    if config.codes is not None:
        if denoiser is None:
            raise ConfigError("codes belong to a decoder that denoises; give unet or uvit in place of decoder")
        trained = load_any(config.codes)
        plan = attrs.evolve(trained.config, decoder=denoiser, noise=config.noise, refine=False)
        tokenizer = DiffusionTokenizer(plan)
        tokenizer.adopt(trained)
        return tokenizer
    if config.encoder is None:
        raise ConfigError("training a tokenizer needs encoder, or codes, the folder of a trained tokenizer")
    plan = make_config(config.encoder, config.decoder or config.encoder, **config.options)
    return build(plan if denoiser is None else attrs.evolve(plan, decoder=denoiser, noise=config.noise))


def _shared(numbers: dict[str, Any], name: str) -> dict[str, Any]:
    """The numbers that a source has in common with what is derived from it: the size of the picture."""
    known = registry().modality(name).numbers
    return {k: v for k, v in numbers.items() if k in known and k in ("size", "patch")}


def _train_vocabulary(config: VocabularyConfig, folder: AlignedFolder, modality: Modality, out: Path) -> Path:
    texts = (modality.spell(folder.read(name)[modality.name]) for name in folder.names)  # type: ignore[attr-defined]
    vocabulary = Vocabulary.train(texts, config.size, bins=config.bins, sentinels=config.sentinels, words=config.words)
    path = out / "vocabulary.json"
    vocabulary.save(path)
    return path
