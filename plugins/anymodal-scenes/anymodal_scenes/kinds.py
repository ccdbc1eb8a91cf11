"""The catalog of things: what a kind is called, where it belongs, which colors it comes in, and who builds it.

A builder returns parts around the origin with the base at y = 0 and the front towards +z. Builders live in
`furniture`, `tabletop`, `street` and `nature`; each registers itself with the decorator `kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from anymodal.errors import ValueProblem, nearest

from . import coco
from .meshes import Mesh
from .rng import Stream

Color = NDArray[np.float64]
Builder = Callable[[Stream, Color], list[Mesh]]

_SRGB = {
    "red": (205, 28, 30), "green": (38, 145, 52), "blue": (32, 78, 205), "yellow": (245, 208, 28),
    "white": (240, 240, 238), "black": (26, 26, 29), "brown": (112, 66, 32), "orange": (245, 122, 14),
    "gray": (128, 129, 132), "pink": (248, 142, 184), "purple": (118, 42, 160),
}  # fmt: skip
COLORS: tuple[str, ...] = tuple(_SRGB)
"""The eleven basic color terms of English (Berlin and Kay, 1969)."""
FURS = ("brown", "black", "white", "gray", "orange")


def linear(red: float, green: float, blue: float) -> Color:
    """Linear light (3,) of display values 0..255, with a gamma of 2."""
    return (np.array([red, green, blue]) / 255.0) ** 2


PAINT: dict[str, Color] = {name: linear(*values) for name, values in _SRGB.items()}
"""Linear reflectance of each named color."""
BLACK, WHITE, BROWN, GRAY = PAINT["black"], PAINT["white"], PAINT["brown"], PAINT["gray"]
METAL, GLASS, DARK = linear(150, 152, 156), linear(96, 130, 158), linear(50, 50, 54)


@attrs.frozen(eq=False)
class Kind:
    """One kind of thing."""

    name: str
    class_id: int
    words: tuple[str, ...]
    """What captions call it, in the singular; the first is the usual one."""
    places: str
    """Where it stands: any of "room", "outdoors", "top" (of a table)."""
    bulk: int
    """Size class: 0 for the hand, 1 knee-high, 2 like a chair, 3 like a car, 4 like a house."""
    colors: tuple[str, ...]
    """Colors it comes in; empty for a kind whose color goes without saying."""
    build: Builder | None
    """None for people, who are built by `body`."""
    holds: bool = False
    """Whether its flat top carries other things."""
    frontal: bool = False
    """Whether it is told by its front, which is then turned to the viewer."""


KINDS: dict[str, Kind] = {}
"""All kinds by name; filled when the package is imported."""


def kind(
    name: str, places: str, bulk: int, words: Sequence[str], colors: Sequence[str] = COLORS, label: str = "",
    holds: bool = False, frontal: bool = False,
) -> Callable[[Builder], Builder]:  # fmt: skip
    """Register a builder under a name; `label` is the COCO category where it differs from the name."""

    def register(build: Builder) -> Builder:
        number = coco.class_id(label or name)
        KINDS[name] = Kind(name, number, tuple(words), places, bulk, tuple(colors), build, holds, frontal)
        return build

    return register


BASIC: tuple[str, ...] = (
    "person", "dog", "chair", "couch", "bed", "dining table", "tv", "potted plant", "vase", "cup", "book", "car", "bus",
    "bench", "stop sign", "traffic light", "house", "umbrella", "tree", "tent", "sports ball",
)  # fmt: skip
"""A smaller world, which a small model learns in an hour."""


def select(names: Iterable[str] | None) -> tuple[Kind, ...]:
    """The kinds of some names, in the catalog's order; all for None. Raises ValueProblem.

    There must be something for a room, for a place outdoors and for a table, and a table.
    """
    if names is None:
        return tuple(KINDS.values())
    wanted = set(names)
    for name in sorted(wanted - KINDS.keys()):
        raise ValueProblem(f"there is no kind of thing {name!r}{nearest(name, KINDS)}; kinds: {', '.join(KINDS)}")
    kinds = tuple(kind for name, kind in KINDS.items() if name in wanted)
    for place in ("room", "outdoors", "top"):
        if not any(place in kind.places and kind.build is not None for kind in kinds):
            listed = ", ".join(sorted(wanted))
            raise ValueProblem(f"none of the kinds {listed} belongs {_PLACES[place]}; add one that does")
    if not any(kind.holds for kind in kinds):
        raise ValueProblem("no kind carries others; add 'dining table' or 'cabinet'")
    return kinds


_PLACES = {"room": "in a room", "outdoors": "outdoors", "top": "on a table"}
KINDS["person"] = Kind("person", coco.class_id("person"), ("person",), "room outdoors", 2, COLORS, None)
