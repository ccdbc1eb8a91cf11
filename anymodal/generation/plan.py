"""From what a user asks for to a plan: which targets, how each is sampled, and what guides them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from anymodal.errors import ConfigError, GenerationError, UnknownModality, nearest
from anymodal.generation.sampler import Target
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.sampling import Sampling
from anymodal.tokens import ModalitySet

OPTIONS = tuple(field.name for field in attrs.fields(Sampling))
FINER = Sampling(scheme="maskgit", steps=8, schedule="cosine", temperature=1.0, guidance=2.0)  # 4M, arXiv 2312.06647


def modality_of(modalities: ModalitySet, name: str) -> Modality:
    """The modality of a name, which may be that of one of its streams. Raises UnknownModality."""
    layout = modalities.layout
    return modalities[layout[name].modality if name in layout else name]


def entrances(modalities: ModalitySet, name: str) -> list[str]:
    """The streams through which a modality's values enter the encoder: the dense ones if there are any.

    Of several sizes it is the smallest: what is made of a value at a larger size may not be more than it.
    """
    streams = [s for s in modalities.streams(name) if s.input]
    chosen = [s for s in streams if s.is_dense] or streams
    least = min((s.space.length for s in chosen), default=0)
    return [s.name for s in chosen if s.space.shape is None or s.space.length == least]


def chosen_targets(modalities: ModalitySet, asked: str | Sequence[str] | None, given: Collection[str]) -> list[str]:
    """The names of the targets: those asked for, by default all that are not given. Raises GenerationError."""
    possible, layout = modalities.targets, modalities.layout
    if asked is None or asked == "all":
        return [name for name in possible if name not in given]
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        modality = modality_of(modalities, name)
        if name not in possible and not (name in layout and layout[name].target):
            raise GenerationError(
                f"{modality.name!r} is input-only and cannot be generated; targets: {', '.join(possible)}"
            )
        if name in given:
            raise GenerationError(f"{name!r} is both an input and a target; leave out one")
        if names.count(name) > 1:
            raise GenerationError(f"the target {name!r} is named twice")
    return names


def make_plan(
    modalities: ModalitySet,
    names: Sequence[str],
    given: Collection[str],
    weights: Mapping[str, float] | None,
    options: Mapping[str, Mapping[str, Any]] | None,
    common: Mapping[str, Any],
    default: Sampling | None = None,
) -> list[Target]:
    """A target for each of `names`, after what is `given`.

    Sampling starts from `default`, or from what the plugin and the checkpoint say; `common` options change it for every
    target and `options` for single ones. `weights` are those of inputs that guide. Raises ConfigError,
    UnknownModality or GenerationError.
    """
    grounded = any(modality_of(modalities, name).photographic for name in given)
    for name in options or {}:
        if name not in names:
            raise UnknownModality(f"options name {name!r}, which is not a target{nearest(name, names)}")
    by_stream = _weights_by_stream(modalities, weights, given) if weights else None
    plan = []
    for name in names:
        modality = modality_of(modalities, name)
        with blame(modality, "sampling"):
            start = default or (modality.tuned_sampling(grounded) if name == modality.name else FINER)
        plan.append(Target(name, _changed(start, modality, name, common, (options or {}).get(name, {})), by_stream))
    return plan


def _weights_by_stream(
    modalities: ModalitySet, weights: Mapping[str, float], given: Collection[str]
) -> dict[str, float]:
    result: dict[str, float] = {}
    for name, weight in weights.items():
        if name not in given:
            raise GenerationError(f"weights name {name!r}, which is not an input{nearest(name, given)}")
        result |= dict.fromkeys(entrances(modalities, name), float(weight))
    return result


def _changed(
    start: Sampling, modality: Modality, name: str, common: Mapping[str, Any], own: Mapping[str, Any]
) -> Sampling:
    """Sampling with a user's changes; common ones that do not fit the target are left out."""
    for key in [*common, *own]:
        if key not in OPTIONS:
            raise ConfigError(
                f"there is no sampling option {key!r}{nearest(key, OPTIONS)}; options: {', '.join(OPTIONS)}"
            )
    fitting = dict(common)
    if "scheme" in common and (start.scheme == "autoregressive") != (common["scheme"] == "autoregressive"):
        del fitting["scheme"]
    if type(modality).merge is Modality.merge:
        fitting.pop("samples", None)
        if own.get("samples", 1) != 1:
            raise GenerationError(f"{name!r} cannot merge several samples: leave 'samples' at 1")
    return attrs.evolve(start, **(fitting | dict(own)))
