"""Tasks of generated pictures: how far they are from true ones, and whether they show what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.validators import as_tuple, names
from anymodal.evaluation.extractors import FeatureExtractor, ModelFeatures, as_extractor
from anymodal.evaluation.tasks.base import TASKS, Task
from anymodal.evaluation.tasks.coco import LICENSE

if TYPE_CHECKING:
    import numpy as np

    from anymodal.anymodel import AnyModel
    from anymodal.evaluation.layouts.base import Sample, Samples
    from anymodal.evaluation.metrics import Metric
    from anymodal.modality import Modality
    from anymodal.tokens import ModalitySet
else:
    from anymodal.lazy import np

SEEN = "clip"


@attrs.frozen
class PictureTask(Task):
    """Pictures that are made from other modalities.

    extractor: what the Frechet distance is taken in.
    """

    inputs: tuple[str, ...] = attrs.field(default=("caption",), converter=as_tuple, validator=names)
    extractor: FeatureExtractor = attrs.field(factory=ModelFeatures, converter=as_extractor)
    target: ClassVar[str] = "rgb"
    paired: ClassVar[bool] = False

    def metric(self, modality: Modality) -> Metric:
        from anymodal.evaluation.scores.frechet import PictureQuality

        return PictureQuality(_built(self.extractor))

    def state(self) -> object:
        return self.extractor.state()

    def judged(self, model: AnyModel, samples: Sequence[Sample], made: Sequence[Any]) -> list[Any]:
        """Pictures with the cosine of what the model says CLIP sees, in them and in what was asked for.

        A CLIP score (Hessel et al. 2021, arXiv 2104.08718) without CLIP: both sides are the mean over the grid of the
        features that this model predicts. Pictures alone where it predicts none.
        """
        from anymodal.evaluation.scores.frechet import Judged

        known = model.modalities
        if SEEN not in known.targets or not known.input_streams(self.target):
            return list(made)
        asked = [dict(sample.inputs) for sample in samples]
        seen = [
            [_pooled(outputs[SEEN]) for outputs in model.generate_batch(given, SEEN, seed=0)]
            for given in (asked, [{self.target: picture} for picture in made])
        ]
        return [Judged(each, float(a @ b)) for each, a, b in zip(made, *seen, strict=True)]

    def shown(self, prediction: Any) -> Any:
        return getattr(prediction, "picture", prediction)


def _pooled(features: Any) -> np.ndarray:
    mean = np.asarray(features, np.float64).reshape(-1, features.shape[-1]).mean(0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


_BUILT: dict[FeatureExtractor, Any] = {}


def _built(extractor: FeatureExtractor) -> Any:
    """One for all metrics, since it may be a network."""
    if extractor not in _BUILT:
        _BUILT.clear()
        _BUILT[extractor] = extractor.build()
    return _BUILT[extractor]


@TASKS.add
@attrs.frozen
class AlignedPictureTask(PictureTask):
    name: str = attrs.field(init=False, default="generation")
    description: ClassVar[str] = "pictures for the captions of a dataset of your own"
    layout: ClassVar[str] = "an aligned dataset, such as `anymodal scenes` writes"
    license: ClassVar[str] = "that of your data"

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.aligned import AlignedSamples

        return AlignedSamples(data, self.inputs, self.target, modalities)


@TASKS.add
@attrs.frozen
class CocoPictureTask(PictureTask):
    name: str = attrs.field(init=False, default="coco_generation")
    description: ClassVar[str] = "pictures for the first caption of each of COCO's validation part"
    layout: ClassVar[str] = "val2017/*.jpg and annotations/captions_val2017.json"
    license: ClassVar[str] = LICENSE

    def open(self, data: Path, modalities: ModalitySet) -> Samples:
        from anymodal.evaluation.layouts.coco import CocoPairs

        return CocoPairs(data)
