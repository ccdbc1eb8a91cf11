"""The families of modalities: a page for each, with what the author of a plugin gets and who uses it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import anymodal as am
from anymodal import families
from generated.tables import flat, table

CAPABILITIES = {
    "is_picture": "its tensors are pictures",
    "aligned": "values cover the picture, and are cut and flipped with it",
    "photographic": "values show the scene itself",
    "has_tokenizer": "a tokenizer is trained for it",
    "reads_tensors": "gradients flow through its tokens into tensors",
    "spelled": "its tokens are words of the shared vocabulary",
    "is_text": "values are text",
    "averages": "several draws make one value",
    "draws": "values are spelled in an order that is drawn",
}
REFERRING = "As the base says"


def family_classes() -> list[type[am.Modality]]:
    """The public families in the order of their names."""
    named = [getattr(families, name) for name in families.__all__]
    return [cls for cls in named if inspect.isclass(cls) and issubclass(cls, am.Modality)]


def nearest_family(classes: Iterable[type]) -> type[am.Modality]:
    """The first of the classes that is a public family, or `Modality`, on which all of them stand."""
    return next(cls for cls in classes if cls is am.Modality or cls in family_classes())


def link(cls: type[am.Modality]) -> str:
    """Where a family is explained, as seen from a page of the families or of the gallery."""
    return "../reference/api.md#anymodal.Modality" if cls is am.Modality else f"../families/{cls.__name__}.md"


def overview() -> str:
    """All families in a table."""
    rows = [
        [f"[{cls.__name__}]({cls.__name__}.md)", _first(cls), ", ".join(_links(cls)) or "–"] for cls in family_classes()
    ]
    return table(["family", "values", "modalities that are installed"], rows)


def write_families(folder: Path) -> None:
    """Write the page of every family into a folder."""
    for cls in family_classes():
        (folder / f"{cls.__name__}.md").write_text(page(cls))


def page(cls: type[am.Modality]) -> str:
    """The page of a family as Markdown."""
    public = f"anymodal.{cls.__name__}"
    base = nearest_family(cls.__mro__[1:])
    above = f"[{base.__name__}]({link(base)})"
    facts = [
        ["stands on", above],
        ["modalities of it", ", ".join(_links(cls)) or "–"],
        ["settings of a checkpoint", ", ".join(f"`{key} = {getattr(cls, key)!r}`" for key in cls.settings) or "–"],
        ["files", " ".join(f"`{suffix}`" for suffix in cls.suffixes) or "those that the plugin names"],
        ["score", flat(_inherited(cls, "score"))],
    ]
    able = [[f"`{name}`", meaning] for name, meaning in CAPABILITIES.items() if getattr(cls, name)]
    sections = {
        "Example": _example(cls),
        "What the library knows of it": table(["attribute", "meaning"], able) if able else "",
        "What comes with it": table(["method", "what it does"], list(_methods(cls))),
        "Left to the plugin": ", ".join(f"`{name}`" for name in _left(cls)),
        "Python": f"::: {public}",
    }
    parts = [f"# {cls.__name__}", _first(cls), table(["", ""], facts)]
    return "\n\n".join([*parts, *(f"## {title}\n\n{text}" for title, text in sections.items() if text)]) + "\n"


def _first(documented: Any) -> str:
    """The first paragraph of a docstring."""
    return flat((inspect.getdoc(documented) or "").partition("\n\n")[0])


def _links(cls: type[am.Modality]) -> Iterator[str]:
    """Links to the installed modalities of which a family is the nearest one."""
    for name in am.modalities():
        if nearest_family(am.registry().modality(name).__mro__) is cls:
            yield f"[{name}](../gallery/{name}.md)"


def _example(cls: type[am.Modality]) -> str:
    """The class in one line, as the function that makes it in place shows it."""
    for name in families.__all__:
        function = getattr(families, name)
        if inspect.isfunction(function) and get_args(get_type_hints(function)["return"]) == (cls,):
            (code,) = re.findall(r"``(am\.[^`]+)``", inspect.getdoc(function) or "")
            lines = ["import anymodal as am", "", f"Example = {code}", "print(Example().streams())"]
            return "<!-- run -->\n```python\n" + "\n".join(lines) + "\n```"
    return ""


def _public_methods(cls: type[am.Modality]) -> Iterator[tuple[str, Any]]:
    for name, _ in inspect.getmembers(cls, inspect.isfunction):
        if not name.startswith("_"):
            yield name, inspect.getattr_static(cls, name)


def _is_left(method: Any) -> bool:
    return "raise NotImplementedError" in inspect.getsource(method)


def _methods(cls: type[am.Modality]) -> Iterator[list[str]]:
    """The methods that a family defines or inherits from another one, each with what it is for."""
    for name, found in _public_methods(cls):
        if found is not inspect.getattr_static(am.Modality, name, None) and not _is_left(found):
            yield [f"`{name}`", _purpose(cls, name)]


def _purpose(cls: type[am.Modality], name: str) -> str:
    """The first paragraph of a docstring, after that of the class above where it speaks of it."""
    texts = [_first(vars(base)[name]) for base in cls.__mro__ if name in vars(base) and vars(base)[name].__doc__]
    own, above = texts[0], next((text for text in texts if not text.startswith(REFERRING)), "")
    return f"{above.rstrip('.')}{own.removeprefix(REFERRING)}" if own.startswith(REFERRING) else own


def _left(cls: type[am.Modality]) -> list[str]:
    """The methods that raise NotImplementedError unless a plugin has them."""
    return [name for name, found in _public_methods(cls) if _is_left(found)]


def _inherited(cls: type[am.Modality], name: str) -> str:
    return inspect.getdoc(getattr(cls, name)) or ""
