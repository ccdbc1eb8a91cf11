"""What the server says of itself: the model, what it can do, what is allowed, and examples to begin with."""

from __future__ import annotations

import io
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anymodal import AnyModel, sample
from anymodal_app.kinds import described, kind_of
from anymodal_app.settings import Settings

FOLDER = Path(__file__).parent / "examples"
PHOTOGRAPHS = ("coffee", "chelsea")
SIDE = 512  # pixels of a photograph
TARGETS = 3  # that are chosen at first
WORDS = {"a car": "a red car on a road", "fill the blank": "a ___ person ___"}
SEARCH = 1  # the number of the endpoint


def about(model: AnyModel, name: str, settings: Settings) -> dict[str, Any]:
    """All that a page asks for before anything else."""
    limits = settings.limits
    return {
        "model": name,
        "version": version("anymodal"),
        "description": model.about.description,
        "modalities": [described(model, modality) for modality in model.modalities],
        "can": {
            "stream": True,
            "keep": True,
            "weights": True,
            "variants": limits.variants > 1,
            "uncertainty": True,
            "search": settings.index is not None,
        },
        "limits": {
            "upload_mb": limits.upload_mb,
            "side": limits.side,
            "variants": limits.variants,
            "seconds": limits.seconds,
            "text": limits.text,
            "steps": limits.steps,
            "queue": limits.queue,
        },
        "fn": {"generate": 0, "search": SEARCH if settings.index is not None else None},
        "targets": first_targets(model),
        "examples": examples(model),
    }


def first_targets(model: AnyModel) -> list[str]:
    """A few targets of different kinds: two values that cover the picture, and a text."""
    kinds = {name: kind_of(model, model.modalities[name]) for name in model.modalities.targets}
    maps = [name for name in kinds if kinds[name] == "map"]
    texts = [name for name in kinds if kinds[name] == "text"]
    shown = sorted(maps, key=lambda name: not model.modalities[name].legible and not model.modalities[name].unit)
    return [*shown[: TARGETS - 1], *texts[:1]] or list(kinds)[:TARGETS]


def examples(model: AnyModel) -> list[dict[str, Any]]:
    """Inputs to begin with, as far as the model reads them."""
    pictures = [m.name for m in model.modalities if m.photographic and model.modalities.input_streams(m.name)]
    texts = [m.name for m in model.modalities if m.is_text and m.name in model.modalities.targets]
    found: list[dict[str, Any]] = []
    scene: dict[str, Any] = {}
    if pictures:
        files = [path.name for path in sorted(FOLDER.glob("*.png"))] + [f"{each}.jpg" for each in PHOTOGRAPHS]
        for file in files:
            given = {pictures[0]: {"url": f"examples/{file}", "name": file}}
            found.append({"name": file.rpartition(".")[0].replace("-", " "), "inputs": given})
            scene = scene or given
    painted = [m.name for m in model.modalities if m.photographic and m.name in model.modalities.targets]
    if texts:
        (first, words), (blank, holes) = WORDS.items()
        if painted:
            found.append({"name": first, "inputs": {texts[0]: words}, "targets": painted[:1]})
        found.append({"name": blank, "inputs": {**scene, texts[0]: holes}, "targets": texts[:1]})
    return found


@cache
def example_file(name: str) -> bytes | None:
    """The content of a picture among the examples; None where there is none."""
    stem, _, suffix = name.rpartition(".")
    if suffix == "png":
        known = {path.name: path for path in FOLDER.glob("*.png")}
        return known[name].read_bytes() if name in known else None
    if stem not in PHOTOGRAPHS:
        return None
    picture, buffer = sample(stem), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))
    picture.convert("RGB").save(buffer, "jpeg", quality=90)
    return buffer.getvalue()
