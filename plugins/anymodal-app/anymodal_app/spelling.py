"""A request as others would write it: in Python, and as a command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal import AnyModel, Modality
from anymodal.files import write_array
from anymodal_app.requests import Request

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

INPUTS, AGAIN = "inputs", "again"


def write_inputs(model: AnyModel, request: Request, folder: Path) -> dict[str, str]:
    """Write what a request is made from, exactly, below a folder; the words that stand for each input there."""
    words = {}
    for name, value in request.inputs.items():
        modality = model.modalities[name]
        words[name] = value if modality.is_text else f"{INPUTS}/{_write(modality, value, folder / INPUTS)}"
    for name, kept in request.keep.items():
        if not isinstance(kept, (bool, list)):
            _mask(kept).save(folder / INPUTS / f"{name}-keep.png")
    return words


def texts_for_command(model: AnyModel, words: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Write the texts that a command would take for a file below a folder; the words that stand for them."""
    texts = {name: text for name, text in words.items() if model.modalities[name].is_text}
    return {
        name: f"{INPUTS}/{_write(model.modalities[name], text, folder / INPUTS)}"
        for name, text in texts.items()
        if text.startswith(("-", "@")) or Path(text).suffix.lower() in model.modalities[name].suffixes
    }


def _write(modality: Modality, value: Any, folder: Path) -> str:
    """Write a value without loss, where its files allow that; the name of the file."""
    path = folder / f"{modality.name}{modality.suffixes[0]}"
    modality.write(value, path)
    if isinstance(value, np.ndarray) and ".npy" in modality.suffixes:
        back = modality.read(path)
        if not np.array_equal(back, value):
            path.unlink()
            path = path.with_suffix(".npy")
            write_array(value, path)
    return path.name


def _mask(kept: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray((kept * 255).astype(np.uint8))


def kept_words(request: Request) -> dict[str, Any]:
    """What is kept, as `generate` takes it where the inputs were written."""
    return {
        name: part if isinstance(part, (bool, list)) else f"{INPUTS}/{name}-keep.png"
        for name, part in request.keep.items()
    }


def as_python(name: str, load: Mapping[str, Any], request: Request, words: Mapping[str, str]) -> str:
    """Lines of Python that generate the same."""
    options = {target: own for target, own in request.options.items() if own}
    asked = {"weights": request.weights, "options": options, "keep": kept_words(request)}
    given = {key: value for key, value in asked.items() if value}
    loaded = "".join(f", {key}={_literal(value)}" for key, value in load.items())
    lines = ["import anymodal as am", "", f"model = am.load({_literal(name)}{loaded})"]
    lines += [
        f"{key} = {_lines(value)}" for key, value in {"inputs": words, "targets": request.targets, **given}.items()
    ]
    how = "".join(f", {key}={key}" for key in given) + ("" if request.chain is None else f", chain={request.chain}")
    if len(request.seeds) == 1:
        lines += [f"out = model.generate(inputs, targets, seed={request.seeds[0]}{how})", f'out.save("{AGAIN}")']
    else:
        lines += [
            f"for seed in {request.seeds}:",
            f"    out = model.generate(inputs, targets, seed=seed{how})",
            f'    out.save(f"{AGAIN}/seed-{{seed}}")',
        ]
    return "\n".join(lines) + "\n"


def _lines(value: Any) -> str:
    """A literal, with a line for each entry where it is a dict of several."""
    if not isinstance(value, Mapping) or len(value) < 2:
        return _literal(value)
    return "{\n" + "".join(f"    {_literal(key)}: {_literal(each)},\n" for key, each in value.items()) + "}"


def _literal(value: Any) -> str:
    """A value of JSON as Python writes it, with the quotes that most prefer."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)


def as_command(name: str, load: Mapping[str, Any], request: Request, words: Mapping[str, str]) -> str:
    """A line of a shell that generates the same."""
    parts = ["anymodal", "generate", *(f"{key}={value}" for key, value in words.items())]
    parts += ["--to", ",".join(request.targets), "--model", name]
    for key, value in load.items():
        parts += [f"--{key}", ",".join(value) if isinstance(value, (list, tuple)) else str(value)]
    if request.chain is not None:
        parts.append("--chain" if request.chain else "--no-chain")
    if request.weights:
        parts += ["--weights", ",".join(f"{key}={value!r}" for key, value in request.weights.items())]
    for target, options in request.options.items():
        for key, value in options.items():
            parts += ["--set", f"{target}.{key}={value}"]
    for key, part in kept_words(request).items():
        told = "" if part is True else f"={','.join(map(str, part)) if isinstance(part, list) else part}"
        parts += ["--keep", f"{key}{told}"]
    line = shlex.join(parts)
    if len(request.seeds) == 1:
        return f"{line} --seed {request.seeds[0]} --out {AGAIN}"
    seeds = " ".join(map(str, request.seeds))
    return f"for seed in {seeds}; do {line} --seed $seed --out {AGAIN}/seed-$seed; done"
