"""The part of a picture that a value is cut to, in fractions of its size."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Crop:
    """A rectangle of the picture in fractions of its width and height, and whether it is mirrored left to right."""

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0
    flip: bool = False

    @property
    def back(self) -> Crop:
        """The crop of a part, as if it were a picture of its own, that shows the whole picture again."""
        left = (self.left + self.width - 1) / self.width if self.flip else -self.left / self.width
        return Crop(left, -self.top / self.height, 1 / self.width, 1 / self.height, self.flip)

    @classmethod
    def center(cls, width: float, height: float) -> Crop:
        """The largest centered square of a picture of that size in pixels."""
        side = min(width, height)
        return cls((1 - side / width) / 2, (1 - side / height) / 2, side / width, side / height)


def center_crops(extents: Mapping[str, tuple[float, float] | None]) -> dict[str, Crop]:
    """The centered square for each value of one sample by the extents of the values, (width, height) or None.

    A value that does not know the picture's shape, such as boxes, is cut like the first one that does.
    """
    common = next((extent for extent in extents.values() if extent), None)
    return {name: Crop.center(*known) if (known := extent or common) else Crop() for name, extent in extents.items()}
