"""Training runs of tokenizers from a configuration: a ViT or MLP tokenizer of one modality, or the text vocabulary."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from anymodal.checkpoints.tokenizer import AnyTokenizer, load_tokenizer, save_tokenizer, tokenizer_record
from anymodal.config import plain_config
from anymodal.config.arguments import PLACE, read_by_load, takes
from anymodal.data.order import Share, step_batches
from anymodal.errors import CheckpointError, ConfigError, DataError, nearest, system_errors
from anymodal.files import check_folder
from anymodal.modality import Modality
from anymodal.nn.distributed import World, world
from anymodal.plugins.registry import registry
from anymodal.tokenizers.config import (
    MLPConfig,
    OverlapConfig,
    TokenizerConfig,
    UNetConfig,
    UViTConfig,
    ViTConfig,
)
from anymodal.tokenizers.diffusion import build
from anymodal.tokenizers.quantizers.config import QUANTIZERS
from anymodal.tokenizers.tokenizer import VQTokenizer
from anymodal.training.checkpoint import claimed
from anymodal.training.runtime import Runtime
from anymodal.training.tokenizers.batches import MEMORY, PreparedBatches, Values, source_of
from anymodal.training.tokenizers.config import AdversarialConfig, TokenizerRun
from anymodal.training.tokenizers.expected import ExpectedCodes, expected_codes
from anymodal.training.tokenizers.perceptual import PerceptualLoss
from anymodal.training.tokenizers.run import fit_tokenizer
from anymodal.training.tokenizers.vocabulary import train_vocabulary


@takes(config=read_by_load(TokenizerRun), out=PLACE)
@system_errors(DataError)
def train_tokenizer(
    config: TokenizerRun, out: str | Path, *, resume: bool = False, verbose: bool = False
) -> Path | None:
    """Train and write out/modalities/NAME or out/vocabulary.json; progress lies in out/runs/NAME.

    Run by `torchrun`, all its processes train a tokenizer together; the first one writes.

    Args:
        config: of the run.
        out: folder that collects tokenizers.
        resume: take up the newest checkpoint of the run, if there is one.
        verbose: print a line now and then where there is no terminal for a progress bar.

    Returns:
        The path of what was written; None for a run that ended early, to be taken up with `resume`.

    Raises:
        ConfigError: the configuration does not fit the modality, or the run that is to be resumed.
        DataError: the data have nothing to learn from, or too much of them is unusable.
        CheckpointError: a tokenizer to start from, or a checkpoint, cannot be read or written.
        TrainingDiverged: the loss was not finite, or exploded, for many steps in a row.
    """
    out = Path(out)
    modality = registry().modality(config.modality)(**_settings(config))
    if config.vocabulary is not None:
        return train_vocabulary(config.vocabulary, source_of(config.data, modality), modality, out)
    check_folder(out / "modalities" / modality.name)
    with world() as processes, claimed(out / "runs" / modality.name, processes, resume):
        return _train(config, modality, out, processes, resume, verbose)


def _train(
    config: TokenizerRun, modality: Modality, out: Path, world: World, resume: bool, verbose: bool
) -> Path | None:
    settings = config.training
    if settings is None:
        raise ConfigError("training a tokenizer needs training (or vocabulary, for text)")
    torch.manual_seed(settings.seed)
    modality.tokenizer = _untrained(config, modality)
    share = Share(world.rank, world.size, settings.accumulate)
    expected = None if config.expected is None else expected_codes(config.expected, modality, config.sizes)
    values = _values(config, modality, expected)
    make = PreparedBatches(values, settings.batch_size, settings.seed, config.flip, share, expected)
    modality.tokenizer = fit_tokenizer(
        modality.tokenizer,
        step_batches(make, settings.steps * settings.accumulate, config.workers),
        config.loss or modality.loss,  # type: ignore[attr-defined]
        settings,
        out / "runs" / modality.name,
        runtime=Runtime(world=world, verbose=verbose and world.is_first),
        perceptual=_perceptual(config, modality),
        adversarial=_adversarial(config, modality),
        resume=resume,
        fingerprint={
            "modality": modality.name,
            "settings": modality.config(),
            "tokenizer": attrs.asdict(modality.tokenizer.config),
            **_what_is_learned(config, expected),
        },
    )
    if modality.tokenizer is None:
        return None
    part = out / "modalities" / modality.name
    if world.is_first:
        save_tokenizer(modality, part)
    world.wait()
    return part


def _what_is_learned(config: TokenizerRun, expected: ExpectedCodes | None) -> dict[str, Any]:
    """What else a run that is resumed has to have as it was begun with, as JSON has it."""
    stated = plain_config(config)
    names = ("codes", "code_noise", "expected", "loss", "perceptual", "adversarial", "sizes", "crop", "flip")
    return {**{name: stated[name] for name in names}, "expecting": expected and expected.identity()}


def _settings(config: TokenizerRun) -> dict[str, Any]:
    """The settings of the modality: those of the tokenizer to start from, and the run's own."""
    if config.codes is not None:
        _record(config.codes, "codes", config.modality)
    if config.start is None:
        return config.settings
    if not config.start.is_dir():
        raise CheckpointError(f"start names {config.start}, which is not a folder of a trained tokenizer")
    return {**_record(config.start, "start", config.modality).get("settings", {}), **config.settings}


def _record(folder: Path, key: str, modality: str) -> Mapping[str, Any]:
    """What a trained tokenizer says of itself. Raises ConfigError for one of another modality."""
    known = tokenizer_record(folder / "config.json")
    if (other := known.get("modality", modality)) != modality:
        raise ConfigError(f"{key} names a tokenizer of {other!r}, not of {modality!r}; choose another folder")
    return known


def _untrained(config: TokenizerRun, modality: Modality) -> AnyTokenizer:
    """The tokenizer that a run trains, as it is before the first step."""
    _check_trainable(modality)
    if config.start is not None:
        return _started(config, config.start, modality)
    denoiser = _one_decoder(config)
    if config.codes is None:
        return _noised(build(described(config, modality)), config)
    trained = load_tokenizer(config.codes)
    _check_settings(trained.config, modality, config.codes)
    if given := [name for name in ("encoder", "quantizer") if getattr(config, name)]:
        raise ConfigError(f"codes takes the encoder and the quantizer of {config.codes}; leave out {', '.join(given)}")
    if denoiser is not None:
        plan = attrs.evolve(trained.config, decoder=denoiser, noise=config.noise, refine=False, overlap=None)
    else:
        decoder = described(attrs.evolve(config, encoder=config.decoder), modality).decoder
        plan = attrs.evolve(trained.config, decoder=decoder, noise=None, overlap=config.overlap)
    tokenizer = build(plan)
    tokenizer.adopt(trained)
    return _noised(tokenizer, config)


def _noised(tokenizer: AnyTokenizer, config: TokenizerRun) -> AnyTokenizer:
    """The tokenizer with the noise on codes that a run asks for. Raises ConfigError where its decoder takes none."""
    if config.code_noise and not isinstance(tokenizer, VQTokenizer):
        raise ConfigError("code_noise belongs to a feed-forward decoder; one that denoises starts from noise anyway")
    if isinstance(tokenizer, VQTokenizer):
        tokenizer.code_noise = config.code_noise
    return tokenizer


def described(config: TokenizerRun, modality: Modality) -> TokenizerConfig:
    """What the configuration says that a tokenizer is made of. Raises ConfigError where that is not all of it."""
    _check_trainable(modality)
    denoiser = _one_decoder(config)
    if config.encoder is None:
        raise ConfigError("training a tokenizer needs encoder, or codes, the folder of a trained tokenizer")
    make_config = modality.tokenizer_config  # type: ignore[attr-defined]
    try:
        plan: TokenizerConfig = make_config(config.encoder, config.decoder or config.encoder, **config.options)
    except TypeError as error:  # of keys that a part does not have
        raise ConfigError(f"encoder, decoder or options of {modality.name!r} {_unfit_keys(error)}") from None
    if config.quantizer is not None:
        plan = _with_quantizer(plan, config.quantizer, modality)
    if denoiser is not None:
        plan = attrs.evolve(plan, decoder=denoiser, noise=config.noise)
    return plan if config.overlap is None else attrs.evolve(plan, overlap=config.overlap)


def _unfit_keys(error: TypeError) -> str:
    """What the keys of a part are said to lack or to have, from the error of its class."""
    if twice := re.search(r"got multiple values for (?:keyword )?argument '(\w+)'", str(error)):
        return f"name {twice[1]!r}, which the modality and its settings say; leave it out"
    parts = {part.__name__: part for part in (ViTConfig, MLPConfig, TokenizerConfig)}
    found = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if found is None or found[1] not in parts:
        return f"cannot be used: {error}"
    known = [field.name for field in attrs.fields(parts[found[1]])]
    return f"have the unknown key {found[2]!r}{nearest(found[2], known)}; {found[1]} has {', '.join(known)}"


def _check_trainable(modality: Modality) -> None:
    if not modality.has_tokenizer:
        raise ConfigError(f"{modality.name!r} has no tokenizer to train; give vocabulary to learn word pieces from it")


def _one_decoder(config: TokenizerRun) -> UNetConfig | UViTConfig | None:
    """The decoder that denoises, if that is the one that is given. Raises ConfigError for none and for several."""
    if (config.decoder is not None) + (config.unet is not None) + (config.uvit is not None) != 1:
        raise ConfigError("training a tokenizer needs one decoder: decoder, unet or uvit")
    return config.unet or config.uvit


def _with_quantizer(plan: TokenizerConfig, block: Mapping[str, Any], modality: Modality) -> TokenizerConfig:
    """The plan with another quantizer; where that leaves no choice of a latent, the modality takes it over."""
    own = plan.quantizer
    sizes = {"size": own.size, "codebooks": own.codebooks}
    if attrs.fields_dict(QUANTIZERS[QUANTIZERS.name_of(block)])["latent"].default is attrs.NOTHING:
        sizes["latent"] = own.latent
    quantizer = QUANTIZERS({**sizes, **block})
    if "latent" in modality.settings:
        modality.latent = quantizer.latent  # type: ignore[attr-defined]
    return attrs.evolve(plan, quantizer=quantizer)


def _started(config: TokenizerRun, start: Path, modality: Modality) -> AnyTokenizer:
    """The trained tokenizer in `start`, ready to go on learning."""
    tokenizer = load_tokenizer(start)
    plan = tokenizer.config
    fixed = ("encoder", "decoder", "unet", "uvit", "quantizer", "options")
    given = [name for name in fixed if getattr(config, name)]
    asked = attrs.evolve(plan, overlap=config.overlap or plan.overlap)
    if given and config.codes is None and described(config, modality) != asked:
        raise ConfigError(
            f"start takes the tokenizer in {start} as it is, and {', '.join(given)} say another one; leave them out"
        )
    _check_settings(plan, modality, start)
    if config.overlap is not None:
        tokenizer = overlapped(tokenizer, config.overlap)
    tokenizer.requires_grad_(True)
    if config.codes is not None:
        tokenizer.adopt(load_tokenizer(config.codes))
    return _noised(tokenizer, config)


def _check_settings(plan: TokenizerConfig, modality: Modality, folder: Path) -> None:
    """Raise ConfigError where the settings of a modality are not those of the tokenizer in a folder."""
    found = {
        "codebook": plan.quantizer.size,
        "codebooks": plan.quantizer.codebooks,
        "latent": plan.quantizer.latent,
        "channels": plan.channels,
        "patch": getattr(plan.encoder, "patch", None),
    }
    for name, value in found.items():
        if name in modality.settings and getattr(modality, name) != value:
            raise ConfigError(
                f"the tokenizer in {folder} has {name} {value}, the settings of {modality.name!r} say"
                f" {getattr(modality, name)}; give settings that fit it."
            )


def overlapped(tokenizer: AnyTokenizer, overlap: OverlapConfig) -> AnyTokenizer:
    """A trained tokenizer with convolutions behind its patches, which change nothing yet; itself if it has them.

    Raises ConfigError where it has others, or no patches.
    """
    if tokenizer.config.overlap == overlap:
        return tokenizer
    if tokenizer.config.overlap is not None:
        held = list(tokenizer.config.overlap.widths)
        raise ConfigError(f"overlap has the widths {list(overlap.widths)}, the tokenizer to start from {held}")
    joined = build(attrs.evolve(tokenizer.config, overlap=overlap))
    joined.load_state_dict({**joined.state_dict(), **tokenizer.state_dict()})
    return joined


def _values(config: TokenizerRun, modality: Modality, expected: ExpectedCodes | None) -> list[Values]:
    """What there is to learn from, at each of the sizes. Raises ConfigError for one that does not fit."""
    modalities = [modality.at_size(modality.sizes[0]) if modality.sizes else modality]
    if config.sizes:
        if not modality.sizes:
            raise ConfigError(f"sizes belong to modalities over the picture; {modality.name!r} has none to choose from")
        plan = modality.tokenizer.config
        multiple = math.lcm(getattr(plan.encoder, "patch", 1), getattr(plan.decoder, "multiple", 1))
        if wrong := [size for size in config.sizes if size < 1 or size % multiple]:
            raise ConfigError(f"sizes names {wrong[0]}; this tokenizer reads multiples of {multiple} pixels")
        modalities = [modality.at_size(size) for size in config.sizes]
    memory = MEMORY // len(modalities) // max(1, config.workers)
    beside = [] if expected is None else expected.modalities
    names = [each.name for each in beside]
    return [Values(source_of(config.data, each, beside), each, memory, config.crop, names) for each in modalities]


def _perceptual(config: TokenizerRun, modality: Modality) -> PerceptualLoss | None:
    """The second loss. Raises ConfigError where the decoder does not put out pictures."""
    if config.perceptual is None:
        return None
    if not modality.is_picture or getattr(modality, "channels", 0) != 3:
        raise ConfigError(f"perceptual compares pictures of three channels, which {modality.name!r} does not have")
    _check_predicts_pictures("perceptual", modality)
    return PerceptualLoss(config.perceptual)


def _adversarial(config: TokenizerRun, modality: Modality) -> AdversarialConfig | None:
    """The critic. Raises ConfigError where it could not read what the decoder puts out, or all its pictures."""
    if config.adversarial is None:
        return None
    plan = modality.tokenizer.config
    if plan.kind != "vit" or plan.labels is not None:
        raise ConfigError(f"adversarial judges channels of pixels, which {modality.name!r} does not have")
    _check_predicts_pictures("adversarial", modality)
    halved = 2 ** len(config.adversarial.widths)
    if small := [size for size in config.sizes or modality.sizes[:1] if size < halved]:
        raise ConfigError(
            f"adversarial.widths halve the sides {len(config.adversarial.widths)} times, too often for pictures of"
            f" {small[0]} pixels; give fewer."
        )
    return config.adversarial


def _check_predicts_pictures(key: str, modality: Modality) -> None:
    """Raise ConfigError where a decoder that denoises predicts something else."""
    noise = modality.tokenizer.config.noise
    if noise is not None and noise.prediction != "sample":
        raise ConfigError(
            f"{key} needs a decoder that predicts pictures; this one predicts {noise.prediction!r}:"
            " set noise.prediction to sample."
        )
