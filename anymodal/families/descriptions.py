"""What a saved file says of its own values: in a text chunk of a PNG, or after a .npy array.

Files that say nothing, and those of another modality, mean what the reader's settings say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.config.structure import structure
from anymodal.config.validators import at_most, finite
from anymodal.errors import ConfigError, PluginError, ValueProblem
from anymodal.files import parse_json, read_array_and_note, write_array
from anymodal.modality import Modality

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

KEYWORD = "anymodal"  # of the text chunk, and the key of `info` of a picture
FORMAT = 1
LARGEST = 64 * 1024  # bytes of a description
_STATED: ContextVar[Mapping[str, str]] = ContextVar("anymodal_stated", default=MappingProxyType({}))


def _is_range(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    for number in value:
        finite(instance, attribute, number)
    if not value[0] < value[1]:
        raise ConfigError(f"range is two numbers, the lower first, got {list(value)}")


@attrs.frozen(kw_only=True)
class Description:
    """What a file says of its values.

    modality: the name of the modality that wrote it.
    format: the version of this description.
    unit: of the numbers, such as "m".
    range: what the lowest and the highest integer of a picture file stand for, in that unit.
    classes: the names of the ids that occur in a map, by id.
    settings: of the modality that wrote it.
    scheme: the scheme that generated it, where it is not what its tokens decode to.
    """

    modality: str = attrs.field(validator=attrs.validators.max_len(200))
    format: int = attrs.field(default=FORMAT, validator=at_most(FORMAT))
    unit: str = attrs.field(default="", validator=attrs.validators.max_len(1000))
    range: tuple[float, float] | None = attrs.field(default=None, validator=_is_range)
    classes: dict[str, str] = attrs.field(factory=dict)
    settings: dict[str, Any] = attrs.field(factory=dict)
    scheme: str = attrs.field(default="", validator=attrs.validators.max_len(40))

    def text(self) -> str:
        """The description as files hold it: JSON in ASCII."""
        filled = attrs.asdict(self, filter=lambda field, value: field.name == "format" or value not in (None, "", {}))
        return json.dumps(filled)


def describe(modality: Modality, **more: Any) -> Description:
    """The description of values that a modality writes now; `more` are further fields."""
    return Description(
        modality=modality.name,
        unit=modality.unit or _STATED.get().get("unit", ""),
        settings=modality.config(),
        scheme=_STATED.get().get("scheme", ""),
        **more,
    )


@contextmanager
def stating(*, scheme: str = "", unit: str = "") -> Iterator[None]:
    """Files that are written in the body say that a scheme made them, and their unit where the modality knows none."""
    token = _STATED.set({"scheme": scheme, "unit": unit})
    try:
        yield
    finally:
        _STATED.reset(token)


def parse_description(text: str | bytes) -> Description:
    """The description in a file. Raises ValueProblem for one that is too long, or not as `Description` says."""
    if len(text) > LARGEST:
        raise ValueProblem(f"its description has {len(text)} bytes, more than the limit of {LARGEST}; save it anew")
    try:
        raw = parse_json(text if isinstance(text, str) else text.decode("ascii"), "its description")
        if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
            raise ValueProblem(f"its description has the format {raw['format']:.0f}; update anymodal to read it")
        return structure(raw, Description, "its description")
    except UnicodeDecodeError:
        raise ValueProblem("its description is not ASCII; save it anew") from None
    except ConfigError as error:
        raise ValueProblem(f"{error}; save it anew, or remove the text") from None


def description_of(picture: Image, modality: Modality) -> Description | None:
    """What the file of a picture said of values of the modality, if it said anything. Raises ValueProblem."""
    text = picture.info.get(KEYWORD)
    return _of(modality, parse_description(str(text))) if text is not None else None


def read_described(path: Path, modality: Modality) -> tuple[np.ndarray, Description | None]:
    """The array in a .npy file, and what the file says of values of the modality. Raises ValueProblem."""
    array, note = read_array_and_note(path, KEYWORD, LARGEST)
    return array, _of(modality, parse_description(note)) if note is not None else None


def write_described(array: np.ndarray, path: Path, description: Description) -> None:
    """Write a .npy file with a description, whole or not at all."""
    write_array(array, path, f"{KEYWORD} {description.text()}".encode("ascii"))


def save_options(path: Path, description: Description) -> dict[str, Any]:
    """What Pillow's `save` takes to put a description into a file; nothing for formats that have no place for it."""
    if path.suffix.lower() == ".png":
        from PIL.PngImagePlugin import PngInfo

        chunks = PngInfo()
        chunks.add_text(KEYWORD, description.text())
        return {"pnginfo": chunks}
    return {}


def as_described(modality: Modality, description: Description | None) -> Modality:
    """The modality with the settings of a file, as far as it has such. Raises ValueProblem for impossible ones."""
    if description is None:
        return modality
    settings: Mapping[str, Any] = {k: v for k, v in description.settings.items() if k in modality.settings}
    try:
        return type(modality)(**settings) if settings != modality.config() else modality
    except (ConfigError, PluginError) as error:
        raise ValueProblem(f"its description has settings that cannot be: {error}") from None


def _of(modality: Modality, description: Description) -> Description | None:
    return description if description.modality == modality.name else None
