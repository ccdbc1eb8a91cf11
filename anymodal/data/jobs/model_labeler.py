"""Any model of ours as a labeler of pictures: MODEL:MODALITY, such as tiny:depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anymodal.data.jobs.model_source import ModelSource
from anymodal.errors import GenerationError
from anymodal.labeler import Labeler
from anymodal.modality import NAME

PICTURE = "rgb"


def named_model(name: str) -> tuple[str, str] | None:
    """The model and the modality of MODEL:MODALITY; None for what is not of that form."""
    model, colon, modality = name.rpartition(":")
    return (model, modality) if colon and model and NAME.fullmatch(modality) else None


def model_labeler(model: str, modality: str, device: str | None) -> Labeler:
    """A labeler that generates a modality from pictures. Raises as `anymodal.load` and `ModelLabeler.load`."""
    made = type("ModelLabeler", (ModelLabeler,), {"modality": modality, "checkpoint": model})
    return made(device=device)


class ModelLabeler(Labeler):
    """What the model named by `checkpoint` generates from a picture, with the same seed for every one.

    Models read squares. A picture is pressed into one, and a value with a grid is stretched to the picture's shape.
    """

    checkpoint = ""

    def load(self) -> None:
        """Load the model. Raises GenerationError if it does not generate the modality from pictures."""
        self.model = ModelSource(str(self.checkpoint)).load(self._device)
        known = self.model.modalities
        if self.modality not in known.targets or not (PICTURE in known and known.input_streams(PICTURE)):
            makes = ", ".join(name for name in known.targets if name != PICTURE)
            raise GenerationError(f"{self.checkpoint} does not make {self.modality!r} from pictures; it makes: {makes}")

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        pictures = [np.asarray(value) for value in self.values(samples, PICTURE)]
        outputs = self.model.generate_batch(
            [{PICTURE: pressed(picture)} for picture in pictures], self.modality, seed=[0] * len(pictures)
        )
        modality = self.model.modalities[self.modality]
        return [
            stretched(each[self.modality], modality.extent(each[self.modality]), picture.shape[:2])
            for each, picture in zip(outputs, pictures, strict=True)
        ]


def pressed(picture: np.ndarray) -> np.ndarray:
    """A picture uint8 (H, W, 3) as a square with its shorter side."""
    from PIL import Image

    side = min(picture.shape[:2])
    if picture.shape[:2] == (side, side):
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def stretched(value: Any, extent: tuple[float, float] | None, shape: tuple[int, ...]) -> Any:
    """A value of a square in the proportions of a picture (H, W): of its longer side no less, of the other fewer rows.

    Only arrays whose first axes are the rows and columns of `extent` (width, height) change; the nearest is taken.
    """
    if extent is None or not isinstance(value, np.ndarray) or value.shape[:2] != (extent[1], extent[0]):
        return value
    longest = max(shape)
    rows, columns = (
        np.floor((np.arange(kept := max(1, round(side * part / longest))) + 0.5) * side / kept).astype(int)
        for side, part in zip(value.shape[:2], shape, strict=True)
    )
    return np.ascontiguousarray(value[rows][:, columns])
