"""AM4xx: crops and flips."""

from __future__ import annotations

import numpy as np

from anymodal.crops import Crop
from anymodal.modality import Modality
from anymodal.outputs.equality import same
from anymodal.testing.definition import rule
from anymodal.testing.outcome import expect
from anymodal.testing.rules.compare import beside_picture, cut_as_pictures, label_maps, over_picture
from anymodal.testing.subject import Subject

PART = Crop(0.125, 0.25, 0.5, 0.625)
FLIP = Crop(flip=True)


def cropped(subject: Subject) -> bool:
    """Modalities whose values move with the picture."""
    return subject.cls.crop is not Modality.crop


@rule(
    "AM401",
    "A crop of the value is the value of the crop",
    fix="cut the rectangle crop.left, crop.top, crop.width, crop.height, which are fractions, not pixels",
    applies=over_picture,
    after=("AM405",),
)
def cuts(subject: Subject) -> None:
    """All modalities of a sample are cut alike; one that is not teaches the model nonsense."""
    m = subject.modality
    for example in subject.examples:
        cells = example.value.shape[0]
        left, top = int(PART.left * cells), int(PART.top * cells)
        width, height = max(1, round(PART.width * cells)), max(1, round(PART.height * cells))
        exact = Crop(left / cells, top / cells, width / cells, height / cells)
        cut = m.crop(example.value, exact)
        by_hand = m.crop(example.value[top : top + height, left : left + width].copy(), Crop())
        middle = (slice(cells // 4, -(cells // 4) or None),) * 2  # where resizing does not look beyond the cut
        span = float(np.ptp(example.value.astype(float))) or 1.0
        gap = float(np.abs(cut[middle].astype(float) - by_hand[middle].astype(float)).mean()) / span
        expect(gap < 0.1, f"a part of {example} is not what cutting by hand gives: {gap:.2f} of its span away")


@rule("AM402", "Flipping twice is nothing", fix="make mirror its own inverse", applies=cropped)
def twice(subject: Subject) -> None:
    """A flip moves things; it must lose nothing."""
    m = subject.modality
    for example in subject.examples:
        back = m.crop(m.crop(example.value, FLIP), FLIP)
        expect(same(back, example.value, 1e-5), f"{example} flipped twice is another value")


@rule(
    "AM403",
    "A flip and a crop may change places",
    fix="mirror coordinates to 1 - x and the x of vectors to -x, after cutting",
    applies=cropped,
    after=("AM402", "AM405"),
)
def commutes(subject: Subject) -> None:
    """Flips act on coordinates and directions, not only on pixels: cutting the left and mirroring is mirroring and
    cutting the right.
    """
    m, mirrored = subject.modality, Crop(1 - PART.left - PART.width, PART.top, PART.width, PART.height)
    moved = 0
    for example in subject.examples:
        cut_flipped = m.crop(example.value, Crop(PART.left, PART.top, PART.width, PART.height, flip=True))
        flipped_cut = m.crop(m.crop(example.value, FLIP), mirrored)
        within = 1e-4
        if subject.is_grid:
            within = 2.0 if example.value.dtype == np.uint8 else 1e-3 * (float(np.abs(example.value).max()) or 1)
        if label_maps(subject):  # of two classes just as near to a cell, mirroring changes which one it takes
            close = float(np.mean(cut_flipped == flipped_cut)) > 0.9
        else:
            close = same(cut_flipped, flipped_cut, within)
        expect(close, f"the left part of {example}, mirrored, is not the right part of the mirrored one")
        moved += not same(m.crop(example.value, FLIP), example.value)
    expect(moved, "no example changes when it is flipped")


@rule(
    "AM404",
    "Resizing keeps classes",
    fix="set nearest = True, so that classes are never averaged",
    applies=label_maps,
)
def classes(subject: Subject) -> None:
    """The mean of class 3 and class 5 is not class 4."""
    for example in [*subject.examples, *subject.odd]:
        seen = set(np.unique(subject.modality.crop(example.value, Crop(0.1, 0.1, 0.7, 0.7))).tolist())
        expect(seen <= set(np.unique(example.value).tolist()), f"a crop of {example} has classes that it does not have")


@rule(
    "AM405",
    "Crops have the model's size, and values say theirs",
    fix="return (width, height) from extent, arrays of cells x cells from crop, and None or bool (H, W) from measured",
    applies=cut_as_pictures,
)
def sized(subject: Subject) -> None:
    """The crop is drawn once for a sample, in fractions of the extent that its values report."""
    m = subject.modality
    expect(m.aligned, "its values cover the picture, and `aligned` is false: they would not be mirrored with it")
    for example in [*subject.odd, *subject.examples]:
        height, width = example.value.shape[:2]
        extent = m.extent(example.value)
        shaped = extent is not None and abs(extent[0] * height - extent[1] * width) < 1e-3 * extent[0] * height
        expect(shaped, f"the extent of {example} is {extent}, not (width, height) in pixels")
        cut = m.crop(example.value, PART)
        cells = subject.cells
        expect(cut.shape[:2] == (cells, cells), f"a crop of {example} has shape {cut.shape}, not {cells} a side")
        expect(cut.dtype == example.value.dtype, f"a crop of {example} has dtype {cut.dtype}")
        known = m.measured(example.value)
        right = known is None or (getattr(known, "shape", None) == (height, width) and known.dtype == bool)
        shape, dtype = getattr(known, "shape", None), getattr(known, "dtype", type(known).__name__)
        expect(right, f"measured of {example} has shape {shape} and dtype {dtype}, not ({height}, {width}) and bool")


@rule(
    "AM406",
    "Values beside the picture have no extent",
    fix="return None from extent, or say `aligned = True` and cut the values in crop",
    applies=beside_picture,
)
def placeless(subject: Subject) -> None:
    """Boxes and points are cut as the first value that knows the picture's shape: one that is no picture must not."""
    for example in subject.examples:
        extent = subject.modality.extent(example.value)
        expect(extent is None, f"the extent of {example} is {extent!r:.40}, and its values do not cover the picture")
        left = subject.modality.measured(example.value)
        expect(left is None, f"measured of {example} is no None, and its values do not cover the picture")
