"""Low-rank adapters: all that a run trains of a model, merged into its weights in the end.

OUT/adapters holds the adapters of a run alone: config.json, with the model they belong to, and model.safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor, nn

from anymodal.anymodel import AnyModel
from anymodal.checkpoints.atomic import replacing_folder, whole_folder
from anymodal.checkpoints.swap import WEIGHT_FILES
from anymodal.checkpoints.weights import WEIGHTS, WeightFile, fill, save_weights
from anymodal.config import structure
from anymodal.errors import CheckpointError, ConfigError, nearest
from anymodal.files import read_object, write_json
from anymodal.model import Transformer
from anymodal.training.multimodal.patterns import matching
from anymodal.training.multimodal.start import LoraConfig


def add_adapters(model: Transformer, config: LoraConfig) -> None:
    """Put adapters into a model, in place, and let them and what is trained beside them be all that learns.

    Works on the meta device too. Raises ConfigError for names that the model does not have, and without peft.
    """
    model.requires_grad_(False)
    _inject(model, config)
    for _, parameter in matching(model, config.also, "start.lora.also"):
        parameter.requires_grad_(True)


def _inject(model: nn.Module, config: LoraConfig) -> None:
    try:
        from peft import LoraConfig as Adapters
        from peft import inject_adapter_in_model
    except ImportError:
        raise ConfigError("adapters need peft; pip install 'anymodal[lora]'") from None
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    known = {name.rpartition(".")[2] for name in linear if name.startswith(("encoder.", "decoder."))}
    if not config.targets:
        raise ConfigError(f"targets of adapters names layers, of {', '.join(sorted(known))}, and got none")
    for target in config.targets:
        if target not in known:
            raise ConfigError(
                f"targets of adapters names {target!r}{nearest(target, known)}; layers: {', '.join(sorted(known))}"
            )
    adapters = Adapters(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
    )
    inject_adapter_in_model(adapters, model)


def _adapted(model: nn.Module) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def merge_adapters(model: Transformer) -> Transformer:
    """The model as one without adapters, which are merged into its weights."""
    for name, layer in _adapted(model):
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.get_base_layer())
    return model


def save_adapters(model: nn.Module, weights: Mapping[str, Tensor], config: LoraConfig, base: str, folder: Path) -> None:
    """Write what a run with adapters trained of its weights; `with_adapters` reads it.

    Args:
        model: with its adapters in place.
        weights: all of its weights, by name.
        config: of the adapters.
        base: the model that the run started from.
        folder: to write to.
    """
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    with replacing_folder(folder, lambda root: WEIGHT_FILES) as staging:
        save_weights([(name, weights[name]) for name in trained], staging)
        write_json({"base": base, "lora": attrs.asdict(config)}, staging / "config.json")


def with_adapters(model: AnyModel, folder: str | Path) -> AnyModel:
    """The model that a run with adapters started from, changed in place by the adapters in a folder.

    Args:
        model: as the run started from it; the folder's config.json names it.
        folder: OUT/adapters of the run.

    Returns:
        The model, adapters merged.

    Raises:
        CheckpointError: the folder is damaged, or holds adapters of another model.
    """
    folder = whole_folder(Path(folder))
    try:
        config = structure(read_object(folder / "config.json").get("lora"), LoraConfig, str(folder / "config.json"))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    add_adapters(model.transformer, config)
    trained = {name: p.data for name, p in model.transformer.named_parameters() if p.requires_grad}
    with WeightFile.single(folder / WEIGHTS) as file:
        fill(trained.items(), file.rows, str(folder))
    merge_adapters(model.transformer).requires_grad_(False)
    return model
