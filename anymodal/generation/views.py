"""Views of what is given of a picture: mirrored, and moved by parts of a patch of the target.

What a model says of a picture depends a little on where the borders of its patches lie, and on left and right. The mean
of what it says of several views, each put back, errs less, and has no borders where all of them do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anymodal.crops import Crop
from anymodal.families.grids import CroppedGrid
from anymodal.families.shared import SharedModality
from anymodal.generation.state import SampleState
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.spaces import Stream
from anymodal.tokens import ModalitySet


def has_place(modality: Modality) -> bool:
    """Whether a part of a value is that of a part of the picture; of several in one stream all have to be."""
    if isinstance(modality, SharedModality):
        return all(map(has_place, modality.members.values()))
    return modality.aligned or type(modality).crop is not Modality.crop


def view_crops(grid: CroppedGrid, side: int, count: int, mirrored: bool = True) -> list[Crop]:
    """The views beside the picture itself, of `count` with it, for a grid of `side` squares a side.

    Every second one is `mirrored`, or none. They are moved along the diagonal, at most half a square to either side, by
    whole numbers: of one number a square there is no view but the mirrored one.
    """
    square = grid.cells_at(grid.patch * side) // side
    moves = [(k * square // count + square // 2) % square - square // 2 for k in range(count)]
    share = 1 / (square * side)
    crops = [Crop(move * share, move * share, flip=mirrored and k % 2 == 1) for k, move in enumerate(moves)]
    return [crop for crop in dict.fromkeys(crops) if crop != Crop()]


class Views:
    """The views of accepted values of one sample, one of them a grid at least; each is made when it is asked for."""

    def __init__(self, modalities: ModalitySet, values: Mapping[str, Any]) -> None:
        self._modalities, self._values = modalities, values
        self._states: dict[Crop, SampleState] = {}

    def placed(self, stream: Stream) -> bool:
        """Whether values of a stream lie in the picture."""
        return has_place(self._modalities.owner(stream.name))

    def of(self, stream: Stream, count: int) -> dict[Crop, SampleState]:
        """What is known of each view for a target, by how it lies in the picture, without the picture itself.

        A grid has views that are mirrored, and moved by parts of its own squares. A text may speak of left and right,
        so its views are moved alone, by parts of the squares of the first grid that is given. Boxes and the like lie
        between squares: of them there is the mirrored view alone.

        Raises PluginError where a modality fails.
        """
        modality, crops = self._modalities.owner(stream.name), [Crop(flip=True)]
        if isinstance(modality, CroppedGrid) and stream.space.shape is not None:
            crops = view_crops(modality, stream.space.shape[0], count)
        elif not has_place(modality):
            grid = next(each for each in map(self._modalities.owner, self._values) if isinstance(each, CroppedGrid))
            crops = view_crops(grid, grid.side, count, mirrored=False)
        return {crop: self._state(crop) for crop in crops}

    def _state(self, crop: Crop) -> SampleState:
        if crop not in self._states:
            seen = {}
            for name, value in self._values.items():
                with blame(self._modalities[name], "crop", value):
                    seen[name] = self._modalities[name].crop(value, crop)
            self._states[crop] = SampleState(self._modalities.layout, self._modalities.condition(seen))
        return self._states[crop]
