"""Classes of modalities made in place, from facts instead of code, so that a checkpoint can store and remake them.

    Planet = am.image("planet", channels=6, low=0, high=1e4, about="Surface reflectance, 0 to 1e4.")

A `Kind` holds the facts of one family; `KINDS` is the table of all of them, to which other distributions add theirs by
an entry point in the group `anymodal.families`. A checkpoint names one of the table, and its facts are checked as those
of any configuration are, so that it never brings code.
"""

from __future__ import annotations

import math
import uuid
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
from attrs import field

from anymodal.config import structure
from anymodal.config.tables import SettingsTable, init_fields
from anymodal.config.validators import as_tuple, count, each, finite, one_of, unfit
from anymodal.errors import ConfigError, PluginError
from anymodal.families.edges import EdgeModality
from anymodal.families.embeddings import EmbeddingModality
from anymodal.families.features import FeatureMapModality
from anymodal.families.image import ImageModality
from anymodal.families.labels import NONE, LabelMapModality
from anymodal.families.pixels import PixelModality
from anymodal.families.signals import SignalModality
from anymodal.families.structured import Number, NumbersModality
from anymodal.families.text import KEEPS, TextModality
from anymodal.families.vectors import VectorModality
from anymodal.modality import NAME, Modality

MOST_CHANNELS, MOST_NUMBERS, LONGEST_NAME, LONGEST_TEXT = 65_536, 4096, 64, 1000
CHANNELS = count(MOST_CHANNELS)
_CLASSES: weakref.WeakValueDictionary[str, type[Modality]] = weakref.WeakValueDictionary()


def short_text(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """The value is a text of at most LONGEST_TEXT printable characters."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        raise unfit(instance, attribute, value, f"one line of text of at most {LONGEST_TEXT} characters")


def _below(instance: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    """The value `high` is above the field `low`."""
    finite(instance, attribute, value)
    if not instance.low < value:
        raise unfit(instance, attribute, value, f"above low, which is {instance.low:g}")


@attrs.frozen(kw_only=True)
class Kind:
    """The facts of a modality of one family beside its settings: class attributes of the same names.

    A class derived from it states its `name`, the `family` of the table, and the `base` whose subclass is made.
    `about` says in one line what the values are, with their unit; it becomes the docstring.
    """

    base: ClassVar[type[Modality]] = Modality
    family: str = field(init=False)
    about: str = field(default="", validator=short_text)

    def attributes(self) -> dict[str, Any]:
        """The class attributes that are made of the facts."""
        return {name: getattr(self, name) for name in init_fields(type(self)) if name != "about"}

    def described(self) -> str:
        """The facts in words, for a docstring and a model card."""
        facts = ", ".join(
            f"{name} {_short(value)}" for name, value in self.attributes().items() if value not in ((), "")
        )
        return " ".join(filter(None, (self.about, f"{self.family.capitalize()}{f': {facts}' if facts else ''}.")))

    def make(self, name: str, **settings: Any) -> type[Modality]:
        """The class of that name, with those settings as defaults.

        Raises:
            PluginError: The name is none, or there is no such setting.
            ConfigError: A setting has a value that cannot be.
        """
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            raise PluginError(
                f"the name {name!r:.80} of a modality must match [a-z][a-z0-9_]*, of at most {LONGEST_NAME} characters"
            )
        title = "".join(part.capitalize() for part in name.split("_"))
        own = {"__doc__": self.described(), "__module__": __name__, "__reduce_ex__": _reduced, "name": name}
        cls = type(title, (self.base,), {**self.attributes(), **own, "made_of": self, "made_as": uuid.uuid4().hex})
        instance = cls(**settings)
        for key in settings:
            setattr(cls, key, getattr(instance, key))
        _CLASSES[cls.made_as] = cls  # type: ignore[attr-defined]
        return cls


def _short(value: Any) -> str:
    """A fact in words; of many, how many there are."""
    if isinstance(value, (tuple, Mapping)):
        shown = [str(each) for each in value][:8]
        return f"{len(value)} ({', '.join(shown)}{', ...' if len(value) > 8 else ''})"
    return f"{value:g}" if isinstance(value, float) else str(value)


KINDS: SettingsTable[Kind] = SettingsTable(Kind, "family", tag="family")  # type: ignore[type-abstract]


def made_of(cls: type[Modality]) -> Kind | None:
    """The facts that a class was made of in place; None for one with code of its own, a subclass of such a one too."""
    found: Kind | None = vars(cls).get("made_of")
    return found


def stored(kind: Kind) -> dict[str, Any]:
    """The facts as JSON holds them; `remade` takes them back."""
    return dict(attrs.asdict(kind, filter=lambda _, value: value != math.inf))  # the default where it may stand


def facts_of(modality: Modality) -> dict[str, dict[str, Any]]:
    """The stored facts, by name, of those among a modality and its members that were made in place."""
    found = {each.name: made_of(type(each)) for each in (modality, *modality.members.values())}
    return {name: stored(kind) for name, kind in found.items() if kind is not None}


def remade(facts: Any, name: str, source: str) -> type[Modality]:
    """The class of that name from stored facts. Raises ConfigError, PluginError where a family cannot be used."""
    return structure(facts, Kind, source).make(name)


def _reduced(self: Modality, protocol: int) -> Any:
    """How an instance is pickled: its class, which no module has, is made again from its facts, or found."""
    kind = made_of(type(self))
    if kind is None:
        return object.__reduce_ex__(self, protocol)
    return _revived, (type(self).made_as, kind, self.name), {**self.config(), **vars(self)}  # type: ignore[attr-defined]


def _revived(key: str, kind: Kind, name: str) -> Modality:
    cls = _CLASSES.get(key)
    if cls is None:
        _CLASSES[key] = cls = kind.make(name)
        cls.made_as = key  # type: ignore[attr-defined]
    return cls.__new__(cls)


@KINDS.add
@attrs.frozen(kw_only=True)
class ImageKind(Kind):
    """Arrays over the picture, `channels` numbers from `low` to `high` a pixel; see `ImageModality`."""

    base = ImageModality
    family: str = field(init=False, default="image")
    channels: int = field(default=3, validator=CHANNELS)
    low: float = field(default=0.0, validator=finite)
    high: float = field(default=1.0, validator=_below)
    dtype: str = field(default="float32", validator=one_of("float32", "uint8"))


@KINDS.add
@attrs.frozen(kw_only=True)
class PixelKind(Kind):
    """Photographs; see `PixelModality`."""

    base = PixelModality
    family: str = field(init=False, default="pixels")

    def attributes(self) -> dict[str, Any]:
        return {"dtype": "uint8", "low": 0.0, "high": 255.0}


@KINDS.add
@attrs.frozen(kw_only=True)
class EdgeKind(Kind):
    """Edge maps; see `EdgeModality`."""

    base = EdgeModality
    family: str = field(init=False, default="edges")


@KINDS.add
@attrs.frozen(kw_only=True)
class LabelMapKind(Kind):
    """Class maps with names of `classes` and, of the first ones, colors (red, green, blue); see `LabelMapModality`."""

    base = LabelMapModality
    family: str = field(init=False, default="label map")
    classes: tuple[str, ...] = field(converter=as_tuple, validator=each(short_text, least=1))
    colors: tuple[tuple[int, int, int], ...] = field(default=(), converter=as_tuple)

    def __attrs_post_init__(self) -> None:
        if len(self.classes) > NONE:
            raise ConfigError(f"{len(self.classes)} classes; 1 to {NONE} have an id in eight bits")
        for color in self.colors:
            if len(color) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in color):
                raise ConfigError(f"a color is (red, green, blue), each 0 to 255, got {color!r:.80}")


@KINDS.add
@attrs.frozen(kw_only=True)
class FeatureMapKind(Kind):
    """Features of a network, a vector for each cell of the picture; see `FeatureMapModality`."""

    base = FeatureMapModality
    family: str = field(init=False, default="feature map")


@KINDS.add
@attrs.frozen(kw_only=True)
class VectorKind(Kind):
    """A vector for the whole sample; see `VectorModality`."""

    base = VectorModality
    family: str = field(init=False, default="vector")


@KINDS.add
@attrs.frozen(kw_only=True)
class EmbeddingKind(Kind):
    """Rows of numbers that are only ever given; see `EmbeddingModality`."""

    base = EmbeddingModality
    family: str = field(init=False, default="embedding")


@KINDS.add
@attrs.frozen(kw_only=True)
class SignalKind(Kind):
    """Numbers in time, of a `unit`, `channels` of them at once; see `SignalModality`."""

    base = SignalModality
    family: str = field(init=False, default="signal")
    channels: int = field(default=1, validator=CHANNELS)
    unit: str = field(default="", validator=short_text)
    silence: float = field(default=0.0, validator=finite)


@KINDS.add
@attrs.frozen(kw_only=True)
class TextKind(Kind):
    """Text; `keep` is advice for recipes, how much of it stays visible in training; see `TextModality`."""

    base = TextModality
    family: str = field(init=False, default="text")
    keep: str = field(default="random", validator=one_of(*KEEPS))


def numbers_of(given: Any) -> dict[str, Number]:
    """Numbers by name. Raises ConfigError for anything else, for a name that is none, and for too many."""
    if not isinstance(given, Mapping) or not 0 < len(given) <= MOST_NUMBERS:
        raise ConfigError(f"fields is 1 to {MOST_NUMBERS} numbers by name, got {given!r:.80}")
    for name in given:
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            raise ConfigError(f"the name {name!r:.80} of a number must match [a-z][a-z0-9_]*")
    return {name: n if isinstance(n, Number) else structure(n, Number, name) for name, n in given.items()}


@KINDS.add
@attrs.frozen(kw_only=True)
class NumbersKind(Kind):
    """Named numbers; see `NumbersModality`."""

    base = NumbersModality
    family: str = field(init=False, default="numbers")
    fields: Mapping[str, Number] = field(converter=numbers_of)

    def attributes(self) -> dict[str, Any]:
        return {"fields": dict(self.fields)}


def image(
    name: str,
    *,
    channels: int = 3,
    low: float = 0.0,
    high: float = 1.0,
    dtype: str = "float32",
    about: str = "",
    **settings: Any,
) -> type[ImageModality]:
    """An `ImageModality` class made in place: ``am.image("planet", channels=6, low=0, high=1e4)``."""
    return _made(ImageKind(channels=channels, low=low, high=high, dtype=dtype, about=about), name, settings)


def photograph(name: str, *, about: str = "", **settings: Any) -> type[PixelModality]:
    """A `PixelModality` class made in place, of photographs with 8 bits a channel: ``am.photograph("left_eye")``."""
    return _made(PixelKind(about=about), name, settings)


def edge_map(name: str, *, about: str = "", **settings: Any) -> type[EdgeModality]:
    """An `EdgeModality` class made in place: ``am.edge_map("outline", size=64, patch=8)``."""
    return _made(EdgeKind(about=about), name, settings)


def label_map(
    name: str,
    *,
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]] = (),
    about: str = "",
    **settings: Any,
) -> type[LabelMapModality]:
    """A `LabelMapModality` class made in place: ``am.label_map("ground", classes=["soil", "water"])``."""
    return _made(LabelMapKind(classes=classes, colors=colors, about=about), name, settings)


def feature_map(name: str, *, about: str = "", **settings: Any) -> type[FeatureMapModality]:
    """A `FeatureMapModality` class made in place: ``am.feature_map("sift", channels=128)``."""
    return _made(FeatureMapKind(about=about), name, settings)


def vector(name: str, *, about: str = "", **settings: Any) -> type[VectorModality]:
    """A `VectorModality` class made in place: ``am.vector("spectrum", channels=64)``."""
    return _made(VectorKind(about=about), name, settings)


def embedding(name: str, *, about: str = "", **settings: Any) -> type[EmbeddingModality]:
    """An `EmbeddingModality` class made in place: ``am.embedding("words", width=512, length=16)``."""
    return _made(EmbeddingKind(about=about), name, settings)


def signal(
    name: str,
    *,
    channels: int = 1,
    unit: str = "",
    silence: float = 0.0,
    about: str = "",
    **settings: Any,
) -> type[SignalModality]:
    """A `SignalModality` class made in place: ``am.signal("sound", shape=(16000,), cell=(160,), rate=16000)``."""
    return _made(SignalKind(channels=channels, unit=unit, silence=silence, about=about), name, settings)


def plain_text(name: str, *, keep: str = "random", about: str = "", **settings: Any) -> type[TextModality]:
    """A `TextModality` class made in place: ``am.plain_text("title", length=32)``."""
    return _made(TextKind(keep=keep, about=about), name, settings)


def numbers(name: str, *, fields: Mapping[str, Number], about: str = "", **settings: Any) -> type[NumbersModality]:
    """A `NumbersModality` class made in place: ``am.numbers("sky", fields={"rain": am.Number(0, 0, 50, bins=51)})``.

    Names are as those of modalities; each number has a code of its own.
    """
    return _made(NumbersKind(fields=fields, about=about), name, settings)


def _made(kind: Kind, name: str, settings: Mapping[str, Any]) -> Any:
    return kind.make(name, **settings)
