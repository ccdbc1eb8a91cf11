"""Features of pictures for the distance of generated ones from true ones: the table of what computes them.

Another distribution adds its own with ``@EXTRACTORS.add`` above a frozen attrs class, or by an entry point in the group
"anymodal.feature_extractors".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.tables import SettingsTable
from anymodal.config.validators import as_tuple, count, each, finite
from anymodal.errors import ConfigError, DataError, PluginError, one_line

if TYPE_CHECKING:
    import numpy as np

    from anymodal.evaluation.scores.frechet import Extractor
else:
    from anymodal.lazy import np

TOGETHER = 64  # pictures of one pass


@attrs.frozen
class FeatureExtractor(ABC):
    """What computes features. A class derived from it states its `name`, and `description`, one line for people."""

    name: str = attrs.field(init=False)
    description: ClassVar[str] = ""

    @abstractmethod
    def build(self) -> Extractor:
        """What turns pictures (H, W, 3) uint8 into features (pictures, channels). Raises AnymodalError."""

    def state(self) -> object:
        """What tells that it computes other features now, such as by another file of its name, as JSON can hold it."""
        return None


EXTRACTORS = SettingsTable(FeatureExtractor, "feature extractor")  # type: ignore[type-abstract]


def as_extractor(value: Any) -> FeatureExtractor:
    """Settings of an extractor, from themselves, a name, or a block with a name and fields. Raises ConfigError."""
    return EXTRACTORS(value)


@EXTRACTORS.add
@attrs.frozen
class ModelFeatures(FeatureExtractor):
    """The mean over the tokens of the encoder of a model that reads photographs, by its name or folder."""

    name: str = attrs.field(init=False, default="model")
    model: str = "tiny"
    description: ClassVar[str] = "the encoder of a model of anymodal, the mean over its tokens"

    def build(self) -> Extractor:
        from anymodal.anymodel import load

        model = load(self.model)
        names = [m.name for m in model.modalities if m.photographic and model.modalities.input_streams(m.name)]
        if not names:
            raise ConfigError(f"{self.model} reads no photographs, so it cannot compute features of pictures")

        def features(pictures: Sequence[np.ndarray]) -> np.ndarray:
            parts = [pictures[start : start + TOGETHER] for start in range(0, len(pictures), TOGETHER)]
            found = [model.features([{names[0]: p} for p in part], pool="mean").states.cpu().numpy() for part in parts]
            return np.concatenate(found)

        return features

    def state(self) -> object:
        from anymodal.data.jobs.model_source import ModelSource

        return ModelSource(self.model).describe()


@EXTRACTORS.add
@attrs.frozen
class OnnxFeatures(FeatureExtractor):
    """The first output of an ONNX file, such as an Inception network's that you exported, flattened.

    path: the file; its input is float32 (pictures, 3, size, size). size: of the pictures, bicubic with antialiasing.
    mean, std: of each color in 0..1, which pixels are standardized by.
    """

    name: str = attrs.field(init=False, default="onnx")
    path: str = ""
    size: int = attrs.field(default=299, validator=count(4096))
    mean: tuple[float, ...] = attrs.field(default=(0.5, 0.5, 0.5), converter=as_tuple, validator=each(finite, length=3))
    std: tuple[float, ...] = attrs.field(default=(0.5, 0.5, 0.5), converter=as_tuple, validator=each(finite, length=3))
    description: ClassVar[str] = "the first output of an ONNX file"

    def build(self) -> Extractor:
        if find_spec("onnxruntime") is None:
            raise PluginError("ONNX files are run by onnxruntime; pip install 'anymodal[label]'")
        from onnxruntime import InferenceSession

        if not Path(self.path).is_file():
            raise ConfigError(f"the extractor onnx needs the path of a file, got {self.path!r:.200}")
        try:
            session: Any = InferenceSession(self.path, providers=["CPUExecutionProvider"])
            given = session.get_inputs()[0].name
        except Exception as error:  # its errors have no class in common
            raise DataError(f"{self.path} is no network that onnxruntime opens: {one_line(error, 200)}") from None

        def features(pictures: Sequence[np.ndarray]) -> np.ndarray:
            found = []
            for start in range(0, len(pictures), TOGETHER):
                batch = np.stack([self._prepared(p) for p in pictures[start : start + TOGETHER]])
                output = np.asarray(session.run(None, {given: batch})[0])
                found.append(output.reshape(len(batch), -1))
            return np.concatenate(found)

        return features

    def state(self) -> object:
        from anymodal.data.jobs.receipts import checksum

        return attrs.asdict(checksum([Path(self.path)]))

    def _prepared(self, picture: np.ndarray) -> np.ndarray:
        from PIL import Image

        resized = Image.fromarray(picture).resize((self.size, self.size), Image.Resampling.BICUBIC)
        mean, std = (np.array(each, np.float32) for each in (self.mean, self.std))
        values = (np.asarray(resized, np.float32) / 255 - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1), np.float32)
