"""The model card: README.md of a checkpoint, with the facts that the Hub reads in front."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from anymodal.families.in_place import made_of
from anymodal.files import write_text
from anymodal.spaces import DenseSpace, Stream

if TYPE_CHECKING:
    from anymodal.checkpoints.record import Bundle


def write_card(bundle: Bundle, name: str, folder: Path) -> None:
    """Write README.md; `name` is what `anymodal.load` is called with."""
    write_text(model_card(bundle, name), folder / "README.md")


def model_card(bundle: Bundle, name: str) -> str:
    """The card of a model: front matter, modalities with their sizes, usage that works, data and license."""
    about, config = bundle.about, bundle.transformer.config
    front: dict[str, Any] = {
        "library_name": "anymodal",
        "pipeline_tag": "any-to-any",
        "tags": ["any-to-any", "multimodal", *bundle.modalities.modalities],
    }
    if about.license:
        front = {"license": about.license, **front}
    rows = [_row(stream) for stream in bundle.modalities.layout.streams]
    count = sum(p.numel() for p in bundle.transformer.parameters())
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {name.rpartition('/')[2]}",
        about.description.strip() or "An any-to-any model: it generates each of its modalities from any others.",
        "## Use it\n\nInstall `anymodal` and the plugins of the modalities you want: "
        + f"`{' '.join(['pip install anymodal', *_packages(bundle)])}`.\n\n```python\n{usage(bundle, name)}```",
        "## Modalities\n\n"
        + "\n".join(["| stream | holds | positions | used as |", "| --- | --- | --- | --- |", *rows])
        + _in_place(bundle),
        f"## Size\n\n{count / 1e6:.1f} million parameters; width {config.dim}, {config.encoder_depth} encoder and "
        f"{config.decoder_depth} decoder blocks, {config.heads} heads. `modalities=[...]` loads a part of it.",
        f"## Training data\n\n{about.training_data.strip() or 'Not stated.'}",
        f"## License\n\n{about.license or 'Not stated.'}",
    ]
    return "\n\n".join(parts) + "\n"


def usage(bundle: Bundle, name: str) -> str:
    """Python that loads the model and generates something with it; it reads photo.jpg if the model needs a picture."""
    modalities = bundle.modalities
    readable = [m for m in modalities if any(s.input for s in modalities.streams(m.name))]
    picture = next((m.name for m in readable if m.photographic), None)
    text = next((m.name for m in readable if m.is_text), None)
    given = picture or text
    value = {picture: "photo.jpg", text: "a red car on a road"}.get(given)
    inputs = f'{{"{given}": "{value}"}}' if given else "{}"
    targets = sorted((t for t in modalities.targets if t != given), key=lambda t: modalities.layout[t].is_sequence)
    lines = ["import anymodal as am\n", f'model = am.load("{name}")']
    if targets:
        lines += [f'out = model.generate({inputs}, targets=["{targets[0]}"], seed=0)', 'out.save("out")']
    return "\n".join(lines) + "\n"


def _packages(bundle: Bundle) -> list[str]:
    from anymodal.plugins.registry import registry

    origins = [registry().origin(type(modality)) for modality in bundle.modalities]
    return list(dict.fromkeys(origin.distribution for origin in origins if origin))


def _in_place(bundle: Bundle) -> str:
    """What the modalities are that no package provides, a line each, with their settings."""
    lines = []
    for modality in bundle.modalities:
        for each in (modality, *modality.members.values()):
            kind, settings = made_of(type(each)), ", ".join(f"{k} {v}" for k, v in each.config().items() if v != ())
            if kind is not None:
                lines.append(f"- `{each.name}`: {kind.described()} Settings: {settings}.")
    return "\n\n" + "\n".join(["These were made in place and need no package:\n", *lines]) if lines else ""


def _row(stream: Stream) -> str:
    space = stream.space
    holds = f"rows of {space.width} numbers" if isinstance(space, DenseSpace) else f"{space.size} ids"
    positions = f"{space.shape[0]} x {space.shape[1]}" if space.shape else f"up to {space.length}"
    used = " and ".join(way for way in ("input", "target") if getattr(stream, way))
    return f"| `{stream.name}` | {holds} | {positions} | {used} |"
