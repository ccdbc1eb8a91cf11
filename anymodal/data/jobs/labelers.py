"""Which labelers make what is asked for, from what, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from anymodal.checkpoints.presets import resolve
from anymodal.data.jobs.model_labeler import PICTURE, model_labeler, named_model
from anymodal.errors import ConfigError, PluginError, nearest
from anymodal.labeler import DerivedLabeler, Labeler
from anymodal.plugins.registry import registry


@attrs.frozen
class Chosen:
    """A labeler by name, its checkpoint if another than its own, and what it makes from what."""

    name: str
    checkpoint: str | None
    modality: str
    sources: tuple[str, ...]


def find_labeler(name: str, checkpoint: str | None = None) -> Chosen:
    """The labeler of that name, the one that makes that modality, or for MODEL:MODALITY a model of ours.

    Raises ConfigError, for a model CheckpointError or UnknownModality.
    """
    known = registry().labelers()
    if name not in known and (found := named_model(name)):
        model, modality = found
        if checkpoint is not None:
            raise ConfigError(f"{name}={checkpoint} names two models; write CHECKPOINT:{modality}")
        registry().modality(modality)  # there is one
        resolve(model)
        return Chosen(name, None, modality, (PICTURE,))
    if name not in known:
        makers = [each for each in known if _usable(each) and registry().labeler(each).modality == name]
        if len(makers) > 1:
            raise ConfigError(f"{' and '.join(makers)} all make {name!r}; choose one of them with --with")
        if not makers and name in registry().modalities() and registry().modality(name).derived_from:
            return Chosen(name, checkpoint, name, registry().modality(name).derived_from)
        if not makers:
            raise ConfigError(f"nothing makes {name!r}{nearest(name, known)}; there are: {', '.join(known)}")
        name = makers[0]
    cls = registry().labeler(name)
    return Chosen(name, checkpoint, cls.modality, tuple(cls.sources))


def _usable(name: str) -> bool:
    try:
        registry().labeler(name)
    except PluginError:
        return False
    return True


def load_labeler(chosen: Chosen, device: str | None) -> Labeler:
    """The labeler with its model. Raises PluginError or CheckpointError."""
    if found := named_model(chosen.name):
        return model_labeler(*found, device)
    if chosen.name in registry().labelers():
        return registry().labeler(chosen.name)(chosen.checkpoint, device=device)
    exact = type("ExactLabeler", (DerivedLabeler,), {"derives": registry().modality(chosen.modality)})
    return exact(chosen.checkpoint, device=device)


def ordered(chosen: Sequence[Chosen]) -> list[Chosen]:
    """The labelers, each after those that make its sources. Raises ConfigError where that cannot be."""
    by_modality: dict[str, Chosen] = {}
    for each in chosen:
        if each.modality in by_modality:
            both = f"{by_modality[each.modality].name} and {each.name}"
            raise ConfigError(f"{both} both make {each.modality!r}; choose one of them with --with")
        by_modality[each.modality] = each
    done: dict[str, Chosen] = {}

    def visit(each: Chosen, above: tuple[str, ...]) -> None:
        if each.modality in above:
            raise ConfigError(f"labelers need each other in a circle: {' from '.join([*above, each.modality])}")
        for source in each.sources:
            if source in by_modality and source not in done:
                visit(by_modality[source], (*above, each.modality))
        done.setdefault(each.modality, each)

    for each in by_modality.values():
        visit(each, ())
    return list(done.values())
