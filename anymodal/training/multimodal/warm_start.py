"""Starting from a model that exists: whose weights a run takes over, and which of them it changes.

Weights are taken over by stream: those of streams that the model does not have stay new, so that a set can grow (4M-7
to 4M-21). Of a vocabulary with other words, the rows of equal words are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from anymodal.anymodel import AnyModel, load
from anymodal.checkpoints.load import model_config
from anymodal.checkpoints.state import parts
from anymodal.errors import CheckpointError, ConfigError, system_errors
from anymodal.model import ModelConfig, Transformer
from anymodal.nn.distributed import first_object
from anymodal.outputs.fingerprint import hash_of
from anymodal.text import Vocabulary
from anymodal.tokens import Layout, ModalitySet
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.multimodal.growth import MAY_GROW, check_growth, grown
from anymodal.training.multimodal.lora import add_adapters, merge_adapters
from anymodal.training.multimodal.patterns import matching
from anymodal.training.multimodal.shape import GivenShape
from anymodal.training.multimodal.start import StartConfig

TABLES = ("inputs", "queries", "outputs")
SHAPES = ("dim", "heads", "encoder_depth", "decoder_depth", "hidden", "gated", "activation", "qk_norm", "registers")
BIASES = ("qkv_bias", "proj_bias", "mlp_bias", "norm_bias")


@attrs.frozen
class StartReport:
    """Which weights were taken from `source`: whole, in part (rows taken, rows in all), or not at all."""

    source: str
    taken: tuple[str, ...]
    partly: dict[str, tuple[int, int]]
    new: tuple[str, ...]

    def __str__(self) -> str:
        partly = [f"{name} {rows} of {count} rows" for name, (rows, count) in self.partly.items()]
        lines = [f"{len(self.taken)} weights from {self.source}"]
        lines += [f"in part: {', '.join(partly)}"] if partly else []
        lines += [f"new: {', '.join(self.new)}"] if self.new else []
        return "; ".join(lines)


def completed(config: TrainConfig) -> TrainConfig:
    """The run with all numbers of its Transformer: those that it does not give are of the model it starts from.

    Nothing is read of that one but its config, and not even that where width, depths and heads are given.

    Raises:
        CheckpointError: its config cannot be read, or what is given of the shape differs.
        ConfigError: what is given and the rest of its shape make no model.
    """
    given, start = config.model or GivenShape(), config.start
    if start is None or given.sized:
        return attrs.evolve(config, model=config.shape)
    with system_errors(CheckpointError, f"{start.model} cannot be read"):
        theirs = model_config(start.model)
    if start.grow and given.dim is not None and given.heads is None:
        given = attrs.evolve(given, heads=max(given.dim * theirs.heads // theirs.dim, 1))
    try:
        shape = given.over(theirs)
    except ConfigError as error:
        raise ConfigError(f"model does not fit {start.model}, which the run starts from: {error}") from None
    _check_blocks(theirs, shape, start)
    return attrs.evolve(config, model=shape)


def prepare(model: Transformer, config: StartConfig, vocabulary: Vocabulary | None = None) -> StartReport:
    """Fill a new model with the weights of another one, and freeze what is to stay.

    Args:
        model: the new one, changed in place.
        config: which one to start from, and what stays.
        vocabulary: the new model's.

    Returns:
        Which weights were taken.

    Raises:
        CheckpointError: the two do not have the same blocks.
        ConfigError: patterns of names fit no weight, nothing is left to train, or a model does not grow so.
    """
    source = load(config.model, device="cpu")
    theirs = source.transformer
    _check_blocks(theirs.config, model.config, config)
    if config.grow:
        theirs = grown(theirs, model.config)
    report = take_over(model, vocabulary, theirs, source.modalities.vocabulary, config.model)
    set_trainable(model, config)
    return report


def set_trainable(model: Transformer, config: StartConfig) -> None:
    """Put adapters in place and mark what never changes; works on the meta device too.

    Raises ConfigError for patterns that fit no weight, and where nothing is left to train.
    """
    if config.lora is not None:
        add_adapters(model, config.lora)
    frozen = list(matching(model, config.freeze, "start.freeze"))
    if config.freeze_steps is None:
        for _, parameter in frozen:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(f"start.freeze {', '.join(config.freeze)} leaves nothing to train; leave some of it out")


def frozen_names(model: nn.Module) -> set[str]:
    """Names of the weights that never change."""
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def frozen_hash(model: nn.Module) -> str | None:
    """Which weights never change, as the first process has them; no checkpoint does. None where all may change."""
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    if not frozen:
        return None
    return first_object(None if any(p.is_meta for p in frozen.values()) else hash_of(frozen))  # type: ignore[no-any-return]


def unused_parameters(model: Transformer, config: StartConfig | None) -> Callable[[int], Iterable[nn.Parameter]]:
    """A function that says which weights a step (from 0) leaves alone, although they are trained later."""
    if config is None or config.freeze_steps is None:
        return lambda step: ()
    names = [name for name, _ in matching(model, config.freeze, "start.freeze")]
    until = config.freeze_steps
    # Looked up anew: processes that split the weights put others in their place.
    return lambda step: [model.get_parameter(name) for name in names] if step < until else ()


def _check_blocks(theirs: ModelConfig, ours: ModelConfig, start: StartConfig) -> None:
    if start.grow:
        check_growth(theirs, ours, start.model)
    for name in (*SHAPES, *BIASES):
        have, want = getattr(theirs, name), getattr(ours, name)
        if have != want and not (start.grow and name in MAY_GROW):
            key = "mlp_ratio" if name == "hidden" else name
            grow = ", or start.grow to true" if name in MAY_GROW else ""
            raise CheckpointError(
                f"a run cannot start from {start.model}: its {name} is {have}, this model's is {want};"
                f" set model.{key} to that of the model it starts from, or model to null to take its shape{grow}"
            )


# Weights by stream.


def take_over(
    model: Transformer, vocabulary: Vocabulary | None, source: Transformer, known: Vocabulary | None, name: str
) -> StartReport:
    """Copy what a model has of another one's weights; see the module's docstring.

    Args:
        model: filled in place.
        vocabulary: its vocabulary.
        source: the model that weights are taken from.
        known: the vocabulary of that one.
        name: of the source, for the report.

    Returns:
        Which weights were taken.
    """
    theirs = {part.name: part.tensor for part in parts(source)}
    words = _equal_words(vocabulary, known)
    taken: list[str] = []
    partly: dict[str, tuple[int, int]] = {}
    new: list[str] = []
    for part, view in parts(model):
        table, _, key = part.partition(".")
        if table in TABLES:
            part_of_text, found = _their_block(model.layout, source.layout, table, key)
            rows = _equal_rows(view, theirs.get(found), words if part_of_text else None)
            other = theirs.get(found)
        else:
            other = theirs.get(part, theirs.get(part.replace("target_streams", "input_streams")))
            rows = None if other is None or other.shape != view.shape else slice(None)
        if other is None or rows is None:
            new.append(part)
        elif isinstance(rows, slice):
            view.copy_(other)
            taken.append(part)
        else:
            view[rows[0]] = other[rows[1]].to(view.dtype)
            partly[part] = (len(rows[0]), len(view))
    return StartReport(name, tuple(taken), partly, tuple(new))


def _their_block(ours: Layout, theirs: Layout, table: str, key: str) -> tuple[bool, str]:
    """Whether a block of our table holds words, and the name of the block that the same streams have in theirs."""
    streams = [name for name, block in getattr(ours, table).items() if block.key == key]
    blocks = getattr(theirs, table)
    keys = [block.key for block in blocks.values()]
    shared = [blocks[name].key for name in streams if name in blocks]
    found = key if key in keys else next(iter(shared), "")
    return ours[streams[0]].is_sequence, f"{table}.{found}"


def _equal_rows(view: Tensor, other: Tensor | None, words: Any) -> Any:
    """Which rows of ours are which of theirs: all of them (a slice), pairs of indices, or None."""
    if other is None or other.shape[1:] != view.shape[1:]:
        return None
    if words is not None:
        return words
    return slice(None) if other.shape == view.shape else None


def _equal_words(ours: Vocabulary | None, theirs: Vocabulary | None) -> tuple[Tensor, Tensor] | None:
    """Ids of equal words in both vocabularies; None if they are the same, or one is not there to compare."""
    if ours is None or theirs is None:
        return None
    mine, other = ours.words(), theirs.words()
    if mine == other:
        return None
    pairs = [(mine[word], other[word]) for word in mine if word in other]
    columns = torch.tensor(sorted(pairs), dtype=torch.long).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def rebuilt(config: TrainConfig, modalities: ModalitySet, weights: Mapping[str, Tensor]) -> AnyModel:
    """The model of a run from its weights, adapters merged.

    Args:
        config: of the run.
        modalities: of the model.
        weights: by name, as `Engine.weights` gives them.
    """
    transformer, start = Transformer(config.shape, modalities.layout), config.start
    if start is not None:
        set_trainable(transformer, start)
    transformer.load_state_dict(weights)
    if start is not None and start.lora is not None:
        merge_adapters(transformer)
    model = AnyModel(modalities, transformer.requires_grad_(True))
    model.bundle = attrs.evolve(model.bundle, chain=config.chain)
    return model
