"""Labelers: natural values of one modality made from natural values of others, exactly or by a network.

A dataset that has photographs only becomes one of many modalities this way. A plugin offers its labelers with the
hook `anymodal_labelers` and an entry point ``labeler-NAME`` each; several may serve one modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.errors import AnymodalError, CheckpointError, ConfigError, PluginError, ValueProblem, one_line
from anymodal.modality import NAME, Modality

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    from anymodal.lazy import np, torch

EXTRA = "anymodal[label]"
SPARE = 0.1  # of the weights of a network, which a checkpoint may lack: of some, published ones lack what is unused


class Labeler:
    """Makes values of `modality` from values of the modalities in `sources`.

    `checkpoint` is where the weights come from: a Hub repository or a folder; None where there are none. `packages`
    are the import names it needs beyond anymodal's own. `settings` are those of the modality that its values shall
    have, where others than its own were asked for. `unit` is that of its numbers, where the modality leaves it open;
    files state it. A subclass overrides `load` (once, the model) and `label`.
    """

    modality: ClassVar[str] = ""
    sources: ClassVar[tuple[str, ...]] = ("rgb",)
    packages: ClassVar[tuple[str, ...]] = ()
    checkpoint: str | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    unit: str = ""

    def __init__(self, checkpoint: str | Path | None = None, *, device: str | torch.device | None = None) -> None:
        """Load the model, onto the first GPU if there is one and `device` does not say otherwise.

        Raises PluginError when a package is missing, and CheckpointError when the checkpoint cannot be used.
        """
        if checkpoint is not None and type(self).checkpoint is None:
            raise ConfigError(f"the labeler {type(self).__name__} of {self.modality!r} has no weights to load")
        self.checkpoint = type(self).checkpoint if checkpoint is None else str(checkpoint)
        self._device = device
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            needed = f"the labeler {type(self).__name__} of {self.modality!r} needs {' and '.join(missing)}"
            raise PluginError(f"{needed}; pip install '{EXTRA}'")
        try:
            self.load()
        except (AnymodalError, KeyboardInterrupt):
            raise
        except Exception as error:
            where = f"cannot load {self.checkpoint!r} to label {self.modality!r}"
            raise CheckpointError(f"{where}: {type(error).__name__}: {one_line(error, 300)}") from error

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return torch.device(self._device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @classmethod
    def validate(cls) -> None:
        """Raise PluginError if the class cannot be used; run once when a plugin is loaded."""
        for name in (cls.modality, *cls.sources):
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise PluginError(
                    f"labeler {cls.__name__} names the modality {name!r}, which must match [a-z][a-z0-9_]*"
                )
        if cls.label is Labeler.label:
            raise PluginError(f"labeler {cls.__name__} does not override label")

    def load(self) -> None:
        """Load the model named by `self.checkpoint` onto `self.device`; exact labelers have none."""

    def network(self, architecture: str) -> Any:
        """A network of the transformers library with the weights of the checkpoint, float32, to be used alone.

        Raises CheckpointError for weights of another network, in place of which the library would draw random ones.
        """
        import transformers

        load = getattr(transformers, architecture).from_pretrained
        model, found = load(self.checkpoint, use_safetensors=True, dtype=torch.float32, output_loading_info=True)
        missing, count = sorted(found["missing_keys"]), len(model.state_dict())
        if len(missing) > SPARE * count:
            raise CheckpointError(
                f"{self.checkpoint!r} cannot label {self.modality!r}: it lacks {len(missing)} of the {count} weights of"
                f" {architecture}, such as {missing[0]}; give a checkpoint of that network"
            )
        return model.eval().requires_grad_(False).to(self.device)

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        """One natural value of `modality` a sample, each sample a mapping from `sources` to natural values."""
        raise NotImplementedError(f"{type(self).__name__}.label")

    def values(self, samples: Sequence[Mapping[str, Any]], source: str) -> list[Any]:
        """The values of one source. Raises ValueProblem, with its number, for a sample that lacks it."""
        for number, sample in enumerate(samples):
            if source not in sample:
                has = ", ".join(sample) or "nothing"
                raise ValueProblem(f"labeling {self.modality!r} needs {source!r}, and sample {number} has {has}")
        return [sample[source] for sample in samples]


class DerivedLabeler(Labeler):
    """Computes what a modality derives exactly from others: set `derives` to its class, and nothing else."""

    derives: ClassVar[type[Modality]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "derives" in cls.__dict__:
            cls.modality, cls.sources = cls.derives.name, cls.derives.derived_from

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        columns = [self.values(samples, source) for source in self.sources]
        modality = self.derives(**self.settings)
        return [modality.derive(dict(zip(self.sources, row, strict=True))) for row in zip(*columns, strict=True)]


class PictureLabeler(Labeler):
    """A network of the transformers library that reads photographs: `architecture` names its class.

    Weights are safetensors only, and code that a checkpoint brings is not run. A subclass overrides `predict`;
    `self.model` and `self.processor` (the checkpoint's own preparation of pictures) are loaded.
    """

    architecture: ClassVar[str] = "AutoModel"
    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    model: Any = None
    processor: Any = None

    def load(self) -> None:
        import transformers

        self.processor = transformers.AutoImageProcessor.from_pretrained(self.checkpoint, backend="pil")
        self.load_model()

    def load_model(self) -> None:
        """Load the weights alone, for a labeler that prepares pictures itself."""
        self.model = self.network(self.architecture)

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        """One value a sample; pictures of one size go through the network together."""
        pictures = [_photograph(value) for value in self.values(samples, "rgb")]
        shapes: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(pictures):
            shapes.setdefault(picture.shape, []).append(number)
        results: dict[int, Any] = {}
        with torch.inference_mode():
            for numbers in shapes.values():
                results |= zip(numbers, self.predict([pictures[n] for n in numbers]), strict=True)
        return [results[number] for number in range(len(pictures))]

    def predict(self, pictures: list[np.ndarray]) -> list[Any]:
        """One natural value a picture, for photographs uint8 (H, W, 3) of the same size."""
        raise NotImplementedError(f"{type(self).__name__}.predict")

    def prepared(self, pictures: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """What the network reads, as the checkpoint's processor makes it."""
        return self.processor(images=pictures, return_tensors="pt").to(self.device)


class FeatureLabeler(PictureLabeler):
    """Features of a vision transformer: override `features`.

    Pictures are resized so that their shorter side has about `size` pixels and both sides are multiples of `patch`;
    with `square` only the centered square is seen. They are standardized by `mean` and `std`, ImageNet's by default.
    """

    size: ClassVar[int] = 224
    patch: ClassVar[int] = 16
    square: ClassVar[bool] = False
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)

    def load(self) -> None:
        self.load_model()

    def features(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """Vectors of the patches, row by row (B, rows * columns, channels), or of the pictures (B, channels)."""
        raise NotImplementedError(f"{type(self).__name__}.features")

    def predict(self, pictures: list[np.ndarray]) -> list[Any]:
        pixels_BCHW = torch.from_numpy(np.stack([self.pixels(p) for p in pictures])).to(self.device)
        output = self.features(pixels_BCHW).float()
        if output.ndim == 3:
            grid = tuple(side // self.patch for side in pixels_BCHW.shape[2:])
            output = output.unflatten(1, grid)
        return list(output.cpu().numpy())

    def pixels(self, picture: np.ndarray) -> np.ndarray:
        """A photograph uint8 (H, W, 3) as the network reads it: float32 (3, H, W)."""
        from PIL import Image

        short = min(picture.shape[:2])
        if self.square:
            top, left = ((side - short) // 2 for side in picture.shape[:2])
            picture = picture[top : top + short, left : left + short]
        height, width = (max(1, round(s / short * self.size / self.patch)) * self.patch for s in picture.shape[:2])
        resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
        unit = np.asarray(resized, np.float32) / 255
        standard = (unit - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(standard.transpose(2, 0, 1))


def _photograph(value: Any) -> np.ndarray:
    picture = np.asarray(value)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueProblem(f"labeling needs photographs uint8 (H, W, 3), got {picture.dtype} of shape {picture.shape}")
    return picture
