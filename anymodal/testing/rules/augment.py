"""AM4xx: crops and flips."""

from __future__ import annotations

import numpy as np

from anymodal.modality import Crop
from anymodal.testing.rule import expect, rule
from anymodal.testing.subject import Subject


@rule("AM402", "Flipping twice is nothing", fix="make mirror its own inverse", applies=lambda s: s.is_grid)
def flips(subject: Subject) -> None:
    flip = Crop(flip=True)
    for example in subject.examples:
        back = subject.modality.crop(subject.modality.crop(example.value, flip), flip)
        expect(np.array_equal(back, example.value), f"{example} flipped twice is another value")


@rule(
    "AM404",
    "Resizing keeps classes",
    fix="set nearest = True",
    applies=lambda s: s.cls.family == "label map",
)
def classes(subject: Subject) -> None:
    for example in subject.examples:
        seen = set(np.unique(subject.modality.crop(example.value, Crop(0.1, 0.1, 0.7, 0.7))).tolist())
        expect(seen <= set(np.unique(example.value).tolist()), f"a crop of {example} has classes that it does not have")
