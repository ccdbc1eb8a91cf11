"""Distance from the camera."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal import ImageModality, Labeler, PictureLabeler, hookimpl
from anymodal.errors import ConfigError, ValueProblem
from anymodal.families.arrays import as_array
from anymodal.families.descriptions import Description
from anymodal.families.drawing import SCALED, draw_scale, note
from anymodal.families.holes import filled_holes
from anymodal.families.image import NOTHING, enlarge
from anymodal.families.seams import pasted, seamless
from anymodal.files import is_npy

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

# Near to far: the order of a heat map, dark at the far end.
COLORS = ((252, 253, 191), (254, 176, 120), (241, 96, 93), (183, 55, 121), (114, 31, 129), (45, 17, 96), (8, 6, 25))
LARGEST = 3.4e38  # of what float32 can hold
LEVELS = 65535  # of files of 16 bits, above 0


class Depth(ImageModality):
    """Depth along the optical axis: float32 arrays (H, W), up to `high` (meters where a checkpoint is metric).

    0 means "not measured", and so does what is not finite; such places are left out of scores, and networks see them as
    deep as their neighbors. Files: gray PNG of 8 or 16 bits, whose highest number stands for `high` unless the file
    states another range, or .npy in natural units. With `scaling` 'log' the logarithm between `low` and `high` is
    tokenized and depth is metric; with 'standardize' it is freed of scale and shift by the mean and variance of its
    10..90 % values (4M, arXiv 2312.06647), and what comes back is relative: about 0, unless a part of it was kept.
    """

    settings = (*ImageModality.settings, "scaling")
    channels, low, high = 1, 0.0, 1.0
    scaling = "standardize"
    nearest = True
    repository = "EPFL-VILAB/4M_tokenizers_depth_8k_224-448"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.scaling not in ("log", "standardize"):
            raise ConfigError(f"depth scaling is 'log' or 'standardize', got {self.scaling!r}")
        if self.scaling == "log" and self.low <= 0:
            raise ConfigError(f"depth with scaling 'log' needs the nearest distance as low, above 0; got {self.low:g}")

    @property
    def unit(self) -> str:  # type: ignore[override]
        return "m" if self.scaling == "log" else ""

    @property
    def file_range(self) -> tuple[float, float]:
        return 0.0, self.high

    def check_description(self, stated: Description | None) -> None:
        """As the base says: relative depth is none in meters, whatever wrote it."""
        if self.scaling == "log" and stated and not stated.unit and stated.settings.get("scaling") == "standardize":
            raise ValueProblem(
                f"it was written with scaling 'standardize' and without a unit, and {self.name} is read in meters here;"
                " pass an array in meters, or write the file with scaling 'log'"
            )

    def measured(self, depth: "np.ndarray") -> "np.ndarray":
        """Where a depth map (H, W) holds a depth, bool (H, W); relative depth may be below 0."""
        return np.isfinite(depth) & ((depth > 0) if self.scaling == "log" else (depth != 0))

    def write(self, value: Any, path: Path) -> None:
        """As the base says; in pictures, what is not finite is 0 as all that was not measured."""
        depth = as_array(value)
        if depth.dtype.kind == "f" and not is_npy(Path(path)):
            depth = np.where(np.isfinite(depth), depth, 0)
        super().write(depth, path)

    def written_range(self, value: "np.ndarray", path: Path) -> tuple[float, float]:
        """As the base says; relative depth reaches beyond it, as a model writes it, and a PNG states how far.

        Its levels are a power of two apart, so that one of them is 0, which is not measured. Raises ValueProblem where
        a file states no range.
        """
        low, high = self.file_range
        least, most = float(value.min()), float(value.max())
        if self.scaling == "log" or low <= least <= most <= high:
            return low, high
        if path.suffix.lower() != ".png":
            raise ValueProblem(
                f"{path}: {self.name} from {least:g} to {most:g} reaches beyond {low:g} to {high:g}, which such files"
                " do not state; write .png or .npy"
            )
        least, most = min(low, least), max(high, most)
        step = 2.0 ** math.ceil(math.log2((most - least) / (LEVELS - 1)))
        least = step * math.floor(least / step)
        return least, least + step * LEVELS

    def _as_in_files(self, depth: "np.ndarray") -> "np.ndarray":
        """Depth rounded as files round it, so that holes are filled alike before and after a map was written.

        What is far beyond their range stays as it is.
        """
        near = np.where(np.abs(depth) < 1e6 * self.high, depth, 0)
        steps = np.rint(near / self.high * LEVELS).astype(np.float32)
        return np.where(near == depth, steps / LEVELS * np.float32(self.high), depth)

    def preprocess(self, value: Any) -> "np.ndarray":
        depth = self._without_holes(np.asarray(value, np.float32))
        if self.scaling == "log":
            unit = np.log(depth.clip(self.low, self.high) / self.low) / np.log(self.high / self.low)
            return (2 * unit - 1)[None].astype(np.float32)
        middle, spread = standard_of(depth)
        return ((depth - middle) / spread).clip(-LARGEST, LARGEST)[None].astype(np.float32)

    def _without_holes(self, depth: "np.ndarray") -> "np.ndarray":
        known = self.measured(depth)
        filled = filled_holes(depth, known, (self.low + self.high) / 2)
        return np.where(known, depth, self._as_in_files(filled))

    def postprocess(self, tensor: "np.ndarray") -> "np.ndarray":
        if self.scaling == "log":
            unit = (np.clip(tensor[0], -1, 1) + 1) / 2
            return (self.low * (self.high / self.low) ** unit).astype(np.float32)
        return tensor[0].astype(np.float32)

    def joined(self, value: "np.ndarray", made: "np.ndarray", kept: "np.ndarray") -> "np.ndarray":
        """As the base says; metric depth joins by its logarithm, and so stays above 0.

        Relative depth is made with the scale and shift of what is kept.
        """
        if self.scaling != "log":
            if kept.any():
                middle, spread = standard_of(self._without_holes(value))
                made = (made * spread + middle).astype(np.float32)
            return super().joined(value, made, kept)
        given, new = (np.where(self.measured(each), each, self.low).clip(self.low, self.high) for each in (value, made))
        whole = np.exp(seamless(np.log(given), np.log(new), kept, self.both_say(value, made)))
        return pasted(value, whole.clip(self.low, self.high).astype(np.float32), kept)

    def show(self, value: Any, size: int = 256) -> "Image":
        """Warm and bright is near, black is far or unknown; the scale below is stretched to the picture."""
        from PIL import Image

        depth = np.asarray(value, np.float32)
        depth = np.where(self.measured(depth), depth, np.nan)
        known = depth[~np.isnan(depth)]
        if self.scaling == "log" and known.size and known.min() >= 0:
            depth, known = (np.log(d.clip(1e-3, None)) for d in (depth, known))
        low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
        unit = np.nan_to_num((depth - low) / max(float(high - low), 1e-6), nan=1.0).clip(0, 1)
        stops = np.linspace(0, 1, len(COLORS))
        picture = np.stack([np.interp(unit, stops, [c[k] for c in COLORS]) for k in range(3)], -1)
        shown = enlarge(Image.fromarray(picture.astype(np.uint8)), size)
        if not known.size:
            return note(shown, NOTHING)
        if min(shown.size) >= SCALED:
            ends = [f"{math.exp(end):.2g} m" for end in (low, high)] if self.scaling == "log" else ["near", "far"]
            draw_scale(shown, COLORS, *ends)
        return shown

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Absolute relative error, RMSE, and the share of pixels within a factor of 1.25 (Eigen et al. 2014).

        Pixels count whose true depth is finite and positive; maps without any are passed over, and predictions that are
        not finite count as 0. Relative depth is judged by `_median` (each map scaled by the ratio of the medians, Zhou
        et al. 2017) and `_affine` (scale and shift of least squares, Ranftl et al. 2020).
        """
        found: dict[str, list[float]] = {}
        for prediction, truth in zip(predictions, truths, strict=True):
            p, t = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
            valid = np.isfinite(t) & (t > 0)
            p, t = np.where(np.isfinite(p), p, 0)[valid], t[valid]
            for name, align in ALIGNMENTS.items() if t.size else ():
                for key, number in errors_of(align(p, t), t).items():
                    found.setdefault(key + name, []).append(number)
        if not found:
            best = {"abs_rel": 0.0, "rmse": 0.0, "delta1": 1.0}
            return {key + name: number for name in ALIGNMENTS for key, number in best.items()}
        means = {key: float(np.mean(numbers)) for key, numbers in found.items()}
        return {key: float(np.sqrt(mean)) if key.startswith("rmse") else mean for key, mean in means.items()}


def standard_of(depth: "np.ndarray") -> tuple[float, float]:
    """Mean and standard deviation of the 10..90 % values of a depth map (H, W)."""
    ordered = np.sort(depth, axis=None)
    middle = ordered[int(0.1 * ordered.size) : int(0.9 * ordered.size)].astype(np.float64)
    return middle.mean(), np.sqrt(middle.var(ddof=1) + 1e-6)


def by_median(p: "np.ndarray", t: "np.ndarray") -> "np.ndarray":
    """Predicted depths (n,) scaled so that their median is that of the true ones (n,)."""
    middle = np.median(p)
    return p * (np.median(t) / middle) if middle > 0 else p


def by_least_squares(p: "np.ndarray", t: "np.ndarray") -> "np.ndarray":
    """The affine function of predicted depths (n,) that is nearest to the true ones (n,)."""
    spread = p - p.mean()
    power = (spread**2).mean()
    scale = (spread * (t - t.mean())).mean() / power if power > 1e-24 else 0.0
    return scale * spread + t.mean()


ALIGNMENTS = {"": lambda p, t: p, "_median": by_median, "_affine": by_least_squares}  # by the ending of the metric


def errors_of(p: "np.ndarray", t: "np.ndarray") -> dict[str, float]:
    """Errors of predicted depths (n,) of one map; `rmse` still squared."""
    near = np.maximum(p / t, t / np.maximum(p, 1e-9)) < 1.25
    return {"abs_rel": float((np.abs(p - t) / t).mean()), "rmse": float(((p - t) ** 2).mean()), "delta1": near.mean()}


class DepthLabeler(PictureLabeler):
    """A network for depth from one photograph: ZoeDepth, Depth Anything, DepthPro, DPT and others of transformers.

    Networks of metric depth give meters, GLPN and DPT over DINOv2 among them. The others give inverse depth without a
    scale (Ranftl et al. 2020, section 5); its reciprocal is taken, at most 50 times the nearest depth, and the farthest
    point gets 1.
    """

    modality, checkpoint = "depth", "Intel/zoedepth-nyu-kitti"
    architecture = "AutoModelForDepthEstimation"
    metric = frozenset({"zoedepth", "depth_pro", "glpn", "tipsv2_dpt"})

    def load(self) -> None:
        super().load()
        self.unit = "m" if self.is_metric(self.model.config) else ""

    def predict(self, pictures: "list[np.ndarray]") -> "list[np.ndarray]":
        import inspect

        if not self.unit and self.settings.get("scaling") == "log":
            raise ConfigError(
                f"{self.checkpoint!r} makes relative depth, and scaling 'log' means meters; choose a network of metric"
                " depth, or leave out scaling"
            )
        sizes = [picture.shape[:2] for picture in pictures]
        output = self.model(**self.prepared(pictures))
        finish = self.processor.post_process_depth_estimation
        padded = {"source_sizes": sizes} if "source_sizes" in inspect.signature(finish).parameters else {}
        maps = [
            found["predicted_depth"].float().cpu().numpy() for found in finish(output, target_sizes=sizes, **padded)
        ]
        return maps if self.unit else [from_inverse(values) for values in maps]

    def is_metric(self, config: Any) -> bool:
        """Whether the network of that configuration gives depth in meters; of DPT, those over DINOv2 do."""
        backbone = getattr(getattr(config, "backbone_config", None), "model_type", "")
        states = getattr(config, "depth_estimation_type", "relative") == "metric"
        return states or config.model_type in self.metric or (config.model_type, backbone) == ("dpt", "dinov2")


def from_inverse(inverse: "np.ndarray") -> "np.ndarray":
    """Relative depth, float32 in (0, 1], of inverse depth without a scale; what is below 1/50 of the nearest is far."""
    floor = max(float(inverse.max()) / 50, 1e-6)
    depth = 1 / np.maximum(inverse, floor)
    return (depth / depth.max()).astype(np.float32)


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"depth": DepthLabeler}
