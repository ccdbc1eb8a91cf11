"""Whether the parts of a sample show the same picture, by the ratio of their sides."""

from __future__ import annotations

from collections.abc import Mapping

from anymodal.modality import Modality

Extent = tuple[float, float]


def shape_of_picture(extents: Mapping[str, Extent | None], modalities: Mapping[str, Modality]) -> Extent | None:
    """(width, height) of the photograph among the parts of a sample, else of the first part that has one."""
    known = _photograph_first(extents, modalities)
    return known[0][1] if known else None


def misaligned(extents: Mapping[str, Extent | None], modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
    """The first part whose shape is not that of the photograph, and what is wrong with it; None if all fit.

    `extents` are (width, height) by part, None for what has none; without a photograph, the first part decides. Parts
    may have another resolution. Of the ratios of sides, only what rounding to whole pixels of the smaller one does not
    explain is a difference.
    """
    known = _photograph_first(extents, modalities)
    for name, extent in known[1:]:
        first, (width, height) = known[0][0], known[0][1]
        if not same_ratio((width, height), extent):
            turned = ", which fits if it is turned by 90 degrees" if same_ratio((height, width), extent) else ""
            words = f"{extent[0]:g} x {extent[1]:g} beside {width:g} x {height:g} of {first!r}{turned}"
            return name, f"{name!r} is {words}: they do not show the same picture"
    return None


def _photograph_first(
    extents: Mapping[str, Extent | None], modalities: Mapping[str, Modality]
) -> list[tuple[str, Extent]]:
    """The parts that have an extent, with it."""
    known = [(name, extent) for name, extent in extents.items() if extent]
    return sorted(known, key=lambda each: not modalities[each[0]].photographic)


def same_ratio(one: Extent, other: Extent) -> bool:
    """Whether two (width, height) are of one shape, but for rounding to whole pixels."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)
