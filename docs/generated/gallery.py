"""The gallery: a page for each installed modality, with pictures, and thumbnails of them all."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from PIL import Image

import anymodal as am
from anymodal.training.multimodal.estimate import short
from generated.exhibits import PRESET, Exhibit, exhibits, labelers
from generated.families import link, nearest_family
from generated.reference import sampling_words, stream_rows
from generated.tables import flat, table

SIDE = 288  # pixels of a picture
MOST_ROWS = 64  # of a grid of ids
PHOTOGRAPHS = ("coffee",)


def thumbnails() -> str:
    """All modalities, each a picture and a line, that lead to its page."""
    return _grid(
        f"[![{name}]({name}-value.webp)]({name}.md)\n{_caption(f'[{name}]({name}.md): {each.summary}')}"
        for name, each in am.modalities().items()
    )


def write_gallery(folder: Path) -> None:
    """Write the page and the pictures of every modality into a folder."""
    model = am.load(PRESET, device="cpu")
    pictures = {name: am.sample(name) for name in PHOTOGRAPHS}
    for shown in exhibits(model, list(am.modalities()), pictures):
        name = shown.modality.name
        captions = {}
        for part, (caption, picture) in drawn(shown).items():
            picture.convert("RGB").save(folder / f"{name}-{part}.webp", quality=88)
            captions[part] = caption
        (folder / f"{name}.md").write_text(page(shown, captions, model) + "\n")


def drawn(shown: Exhibit) -> dict[str, tuple[str, Image.Image]]:
    """The pictures of a page by the part they show, each with its caption."""
    modality = shown.modality
    parts = {"value": (shown.origin, shown.value, shown.scene)}
    if shown.restored is not None:
        parts["restored"] = (f"decoded from its {len(shown.tokens[modality.name])} tokens", shown.restored, shown.scene)
    if shown.made is not None:
        parts["made"] = (f"what `{PRESET}` makes of {_listed(shown.given)}", shown.made, shown.scene)
    for name, (value, photograph) in shown.photographs.items():
        parts[name] = (f"of the photograph {name}", value, photograph)
    return {
        part: (caption, _fitted(modality.show_over(value, scene, SIDE)))
        for part, (caption, value, scene) in parts.items()
    }


def page(shown: Exhibit, captions: Mapping[str, str], model: am.AnyModel) -> str:
    """The page of a modality as Markdown; `captions` are those of its pictures, by part."""
    name = shown.modality.name
    figures = _grid(
        f"![{name}: {caption.replace(chr(96), '')}]({name}-{part}.webp)\n{_caption(caption)}"
        for part, caption in captions.items()
    )
    sections = {
        "Value": _value(shown),
        "Tokens": _tokens(shown, model),
        "Tokenizer": _tokenizer(shown),
        "Metrics": _metrics(shown),
        "Files": _files(shown.modality),
        "Labelers": _labelers(name),
        "Generation": _generation(shown, model),
        "Install": _install(shown, model),
    }
    parts = [f"# {name}", f"{am.modalities()[name].summary}.", figures, _legend(shown)]
    return "\n\n".join(filter(None, [*parts, *(f"## {title}\n\n{text}" for title, text in sections.items() if text)]))


def _caption(text: str) -> str:
    return f"<figcaption markdown>{text}</figcaption>"


def _grid(figures: Iterator[str]) -> str:
    return "\n\n".join(
        ['<div class="pictures" markdown>', *(f"<figure markdown>\n{each}\n</figure>" for each in figures), "</div>"]
    )


def _fitted(picture: Image.Image) -> Image.Image:
    """No larger than the side of a picture."""
    scale = SIDE / max(picture.size)
    return picture if scale >= 1 else picture.resize([max(1, round(side * scale)) for side in picture.size])


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _legend(shown: Exhibit) -> str:
    """What colors mean."""
    meanings = [(color, words) for color, words in shown.modality.legend(shown.value) if color is not None]
    return " &ensp;\n".join(f'<span style="color: rgb{color}">&#9632;</span> {words}' for color, words in meanings)


def _value(shown: Exhibit) -> str:
    modality = shown.modality
    cls = type(modality)
    rows = [
        ["this one", described(shown.value, modality.unit)],
        ["settings", _settings(am.registry().modality(cls.name)())],
        [f"settings in `{PRESET}`", _settings(modality) if shown.known else "–"],
        ["covers the picture", "yes, and is cut and flipped with it" if cls.aligned else "no"],
        ["computed from", ", ".join(f"[{name}]({name}.md)" for name in cls.derived_from) or "–"],
        ["family", f"[{cls.family}]({link(nearest_family(cls.__mro__))})"],
    ]
    return f"{inspect.getdoc(cls)}\n\n{table(['', ''], rows)}"


def described(value: Any, unit: str = "") -> str:
    """A value in words: its kind, its shape and the range of its numbers."""
    if isinstance(value, np.ndarray):
        ends = " to ".join(f"{end:.4g}" for end in (np.nanmin(value), np.nanmax(value))) if value.size else "empty"
        return f"{value.dtype} array of shape {value.shape}, {ends} {unit}".rstrip()
    if isinstance(value, str):
        return f"a text of {len(value)} characters: {value}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items()) or "an empty dict"
    if isinstance(value, list) and value and attrs.has(type(value[0])):
        fields = ", ".join(field.name for field in attrs.fields(type(value[0])))
        return f"a list of {len(value)} {type(value[0]).__name__} with {fields}"
    return f"a list of {len(value)}" if isinstance(value, list) else type(value).__name__


def _settings(modality: Any) -> str:
    return ", ".join(f"`{key} = {_brief(value)}`" for key, value in modality.config().items())


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{len(value)} values"


def _tokens(shown: Exhibit, model: am.AnyModel) -> str:
    defaults = am.registry().modality(shown.modality.name)()
    columns = ["stream", "holds", "positions", "order", "used as"]
    parts = []
    if shown.known:
        parts += [f"In `{PRESET}`:", table(columns, stream_rows(shown.modality)), _rows_of_the_vocabulary(shown, model)]
    parts += ["With its default settings:" if shown.known else "", table(columns, stream_rows(defaults))]
    for stream, ids in shown.tokens.items():
        space = model.modalities.layout[stream].space
        parts += [f"The tokens `{stream}` of the value above:", f"```text\n{_ids(ids, space, model)}\n```"]
    return "\n\n".join(filter(None, parts))


def _rows_of_the_vocabulary(shown: Exhibit, model: am.AnyModel) -> str:
    """Which rows of the model's one vocabulary belong to the modality."""
    table_ = model.modalities.layout.outputs
    mine = [(name, table_[name]) for name in shown.tokens if name in table_]
    return " ".join(
        f"The {block.size:,} ids of `{name}` are the rows {block.start:,} to {block.start + block.size - 1:,} of the"
        f" {table_.size:,} that `{PRESET}` chooses from"
        + (f", shared with every sequence of the vocabulary `{block.key}`." if block.key != name else ".")
        for name, block in mine
    )


def _ids(ids: np.ndarray, space: Any, model: am.AnyModel) -> str:
    """Ids as they lie: rows of a grid, or words of a sequence."""
    if space.is_sequence and model.modalities.vocabulary is not None:
        words = {number: word for word, number in model.modalities.vocabulary.words().items()}
        named = "  ".join(f"{words.get(int(each), '?')}:{int(each)}" for each in ids)
        return textwrap.fill(named, 76, break_long_words=False, break_on_hyphens=False)
    columns = space.shape[1] if space.shape else min(len(ids), 8)
    lines = [ids[start : start + columns] for start in range(0, min(len(ids), MOST_ROWS * columns), columns)]
    return "\n".join(" ".join(f"{int(each):4d}" for each in line) for line in lines)


def _tokenizer(shown: Exhibit) -> str:
    modality = shown.modality
    if not modality.has_tokenizer:
        return "None: its tokens are words of the vocabulary." if modality.spelled else ""
    rows = []
    if shown.known and modality.tokenizer is not None:
        config = modality.tokenizer.config
        quantizer = config.quantizer
        rows = [
            [f"encoder in `{PRESET}`", _network(config.encoder, modality.tokenizer.encoder)],
            ["decoder", _network(config.decoder, modality.tokenizer.decoder)],
            ["quantizer", f"{quantizer.kind}: {_fields(quantizer)}"],
        ]
    if modality.repository:
        rows.append(["published", f"[{modality.repository}](https://huggingface.co/{modality.repository})"])
    return table(["", ""], rows)


def _network(config: Any, network: Any) -> str:
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{type(config).__name__.removesuffix('Config')} of {short(count)} parameters: {_fields(config)}"


def _fields(config: Any) -> str:
    values = attrs.asdict(config, recurse=False)
    return ", ".join(f"{name} {value}" for name, value in values.items() if type(value) in (int, tuple))


def _metrics(shown: Exhibit) -> str:
    text = inspect.getdoc(type(shown.modality).score) or ""
    if not shown.score:
        return text
    rows = [[name, f"{value:.4g}"] for name, value in shown.score.items()]
    count = len(shown.truths)
    column = f"`{PRESET}`'s own tokens, of {count} held-out scene{'s' * (count > 1)}"
    return "\n\n".join([text, table(["metric", column], rows)])


def _files(modality: Any) -> str:
    suffixes = [f"`{suffix}`" for suffix in modality.suffixes]
    folders = _listed([f"`{name}`" for name in (modality.name, *modality.folders)])
    rows = (
        [["read", " ".join(suffixes)], ["written", suffixes[0]], ["folder of a dataset", folders]] if suffixes else []
    )
    return table(["", ""], rows) if rows else ""


def _labelers(name: str) -> str:
    items = []
    for each, cls in labelers(name).items():
        checkpoint = cls.checkpoint or "none"
        weights = "in the package" if Path(checkpoint).is_dir() else checkpoint
        package = am.registry().labelers()[each].distribution
        about = flat(inspect.getdoc(cls))
        items.append(f"- `{each}` of `{package}`, from {_listed(cls.sources)}; weights: {weights}. {about}".rstrip())
    return "\n".join(items)


def _generation(shown: Exhibit, model: am.AnyModel) -> str:
    modality = shown.modality
    if not any(stream.target for stream in modality.streams()):
        return "Only ever an input."
    rows = [["by default", sampling_words(modality)]]
    tuned = modality.tuned.items() if shown.known else ()
    rows += [
        [f"tuned in `{PRESET}`, {when}", ", ".join(f"{k}={v}" for k, v in options.items())] for when, options in tuned
    ]
    several = "averaged" if modality.averages else "the one is taken that agrees best with the others"
    return table(["", ""], [*rows, ["several draws", several]])


def _install(shown: Exhibit, model: am.AnyModel) -> str:
    name = shown.modality.name
    command = f"```bash\npip install {am.modalities()[name].distribution}\n```"
    others = [modality for modality in model.modalities if modality.name != name]
    source = next((each for each in sorted(others, key=lambda m: m.is_text) if each.photographic or each.is_text), None)
    if not shown.known or name not in model.modalities.targets or source is None:
        return command
    given = f'am.sample("{PHOTOGRAPHS[0]}")' if source.photographic else '"a red couch in a room"'
    code = [
        "import anymodal as am",
        "",
        f'model = am.load("{PRESET}", modalities=["{source.name}", "{name}"])',
        f'out = model.generate({{"{source.name}": {given}}}, ["{name}"], seed=0)',
        f'print(out["{name}"])',
    ]
    return "\n".join([command, "", "<!-- run -->", "```python", *code, "```"])
