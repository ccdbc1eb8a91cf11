"""What a modality is for a page: how a value of it is drawn, written or read there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anymodal import AnyModel, Modality
from anymodal import modalities as installed
from anymodal.sampling import SCHEMES, Sampling


def kind_of(model: AnyModel, modality: Modality) -> str:
    """'text', 'boxes', 'picture', 'map' (other values that cover the picture), or 'file' for all that is only read."""
    layout = model.modalities.layout
    covers = modality.aligned and any(layout[s.name].space.shape for s in model.modalities.streams(modality.name))
    if modality.is_text:
        return "text"
    if getattr(modality, "has_boxes", False):
        return "boxes"
    if modality.photographic:
        return "picture"
    return "map" if covers else "file"


def has_parts(modality: Modality) -> bool:
    """Whether a part of a value can be kept while the rest is made anew."""
    return type(modality).partial is not Modality.partial


def described(model: AnyModel, modality: Modality) -> dict[str, Any]:
    """What a page needs to know of a modality."""
    name = modality.name
    target = name in model.modalities.targets
    facts = {
        "name": name,
        "kind": kind_of(model, modality),
        "input": bool(model.modalities.input_streams(name)),
        "target": target,
        "photographic": modality.photographic,
        "description": _summary(modality),
        "unit": modality.unit,
        "suffixes": list(modality.suffixes),
        "keep": target and has_parts(modality),
        "averages": modality.averages,
    }
    if not target:
        return facts
    sequences = model.modalities.layout[name].is_sequence
    defaults = {word: _options(modality.tuned_sampling(word == "grounded"), sequences) for word in ("grounded", "free")}
    schemes = [scheme for scheme in SCHEMES if SCHEMES[scheme].sequences == sequences]
    return {**facts, "defaults": defaults, "schemes": schemes}


def _options(sampling: Sampling, sequences: bool) -> dict[str, Any]:
    """Options as a page shows them; None for what does not apply, or is more than a number."""
    scale = getattr(sampling.guidance, "scale", None)
    plain = type(sampling.guidance).__name__ == "Constant"
    return {
        "scheme": sampling.scheme.name,
        "steps": None if sequences else sampling.steps,
        "temperature": sampling.temperature,
        "guidance": scale if plain else None,
        "top_p": sampling.top_p,
    }


def _summary(modality: Modality) -> str:
    known = installed().get(modality.name)
    said = known.summary if known else ""
    return said or (type(modality).__doc__ or "").strip().partition("\n")[0]


def rows_of(value: Any) -> list[list[str]] | None:
    """The numbers of a dict of them as words; None of other values."""
    if not isinstance(value, Mapping) or not all(isinstance(each, (int, float)) for each in value.values()):
        return None
    return [[str(name).replace("_", " "), f"{number:.4g}"] for name, number in value.items()]
