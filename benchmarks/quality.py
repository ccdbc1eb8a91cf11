"""What the embedded model can do, measured on held-out scenes of its kinds of things (a seed never used in training).

`python -m benchmarks quality`

rgb -> depth, normal, semseg, caption are compared with constant predictors fitted on training scenes: the best single
constant, and the best constant picture (one value a pixel). Sky has no depth and no normal and is left out.
caption -> rgb is compared with shuffled captions, by three judges: which of the named kinds the model's own
rgb -> semseg finds in the pictures, which (color, kind) pairs its rgb -> caption reads in them (F1), and how much of
them has the named colors (nearest of the eleven in CIELAB; what the true pictures reach is given too).

Blocks: how much larger differences of neighbors are across the borders of patches than inside them, in the scale in
which tokenizers read values, beside the same figure of the true pictures; 1 is as in these, more is visible blocks.
Depth and normal are generated from pictures, rgb from captions; the truths through the tokenizer alone stand beside.
"""

from __future__ import annotations

import time
from typing import Any

import attrs
import numpy as np
from anymodal_color_palette import to_lab
from anymodal_scenes import BASIC, KINDS, Scene, mentions, render
from anymodal_scenes.kinds import PAINT

import anymodal as am
from anymodal.nn.precision import Precision
from benchmarks.harness.base import BENCHMARKS, Figures

TRAIN_SEED, HELD_OUT_SEED = 0, 1_000_003
TRAIN_COUNT, BATCH = 500, 50
PAINTS = to_lab(np.stack([np.sqrt(c) * 255 for c in PAINT.values()]))
NAMES = list(PAINT)


def surface(scene: Scene) -> np.ndarray:
    """Where the scene is not sky (H, W)."""
    return np.linalg.norm(scene.normal, axis=-1) > 0.5


def fit_constants(scenes: list[Scene]) -> dict[str, Any]:
    """The constants, single and per pixel, that minimize the metrics on training scenes."""
    depth = np.stack([np.where(surface(s), s.depth, np.nan) for s in scenes])
    normal = np.stack([s.normal for s in scenes])
    mean = normal.sum(0)
    single = normal.reshape(-1, 3).sum(0)
    return {
        "depth": {
            "constant": np.full(depth.shape[1:], relative_median(depth.reshape(-1, 1))[0]),
            "picture": relative_median(depth),
        },
        "normal": {"constant": np.broadcast_to(single, mean.shape), "picture": mean},
    }


def relative_median(values: np.ndarray) -> np.ndarray:
    """The constant c along axis 0 that minimizes mean |c - t| / t: the median with weights 1 / t; NaN is left out."""
    order = np.argsort(values, axis=0)
    ordered = np.take_along_axis(values, order, 0)
    weight = np.cumsum(np.nan_to_num(1 / ordered), axis=0)
    index = (weight >= weight[-1:] / 2).argmax(0)
    return np.take_along_axis(ordered, index[None], 0)[0]


def pair_scores(said: list[set], meant: list[set]) -> dict[str, float]:
    """Precision, recall and F1 of (color, kind) pairs over all captions."""
    hits = sum(len(a & b) for a, b in zip(said, meant, strict=True))
    precision = hits / max(sum(map(len, said)), 1)
    recall = hits / max(sum(map(len, meant)), 1)
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / max(precision + recall, 1e-9)}


def block_ratio(tensors: np.ndarray, patch: int) -> float:
    """Mean absolute difference of neighbors (N, C, H, W) across borders of patches, divided by that inside patches."""
    across, inside = [], []
    for axis in (2, 3):
        gaps = np.abs(np.diff(tensors, axis=axis)).mean((0, 1, 5 - axis))
        border = np.arange(1, tensors.shape[axis]) % patch == 0
        across.append(gaps[border])
        inside.append(gaps[~border])
    return float(np.concatenate(across).mean() / max(np.concatenate(inside).mean(), 1e-12))


def blocks(modality: am.Modality, made: list[np.ndarray], truth: list[np.ndarray]) -> dict[str, float]:
    """The block ratio of generated values and of truths through the tokenizer, each divided by that of the truths."""
    coded = modality.detokenize(modality.tokenize(truth)[modality.name])
    ratios = [
        block_ratio(np.stack([modality.preprocess(v) for v in values]), modality.patch)
        for values in (made, coded, truth)
    ]
    return {"generated": ratios[0] / ratios[2], "tokenizer": ratios[1] / ratios[2], "true": ratios[2]}


def from_pictures(model: am.AnyModel, scenes: list[Scene], constants: dict[str, Any]) -> dict[str, Any]:
    targets = ["depth", "normal", "semseg", "caption", "canny_edge", "color_palette"]
    made: list[dict[str, Any]] = [{} for _ in scenes]
    for start in range(0, len(scenes), BATCH):
        pictures = [{"rgb": s.rgb} for s in scenes[start : start + BATCH]]
        for k, out in enumerate(model.generate_batch(pictures, targets, seed=start, chain=False)):
            made[start + k] |= out
    sets, result = model.modalities, {}
    depth = [np.where(surface(s), s.depth, np.nan) for s in scenes]
    normal = [s.normal for s in scenes]
    result["depth"] = sets["depth"].score([m["depth"] for m in made], depth)
    result["normal"] = sets["normal"].score([m["normal"] for m in made], normal)
    for name in ("depth", "normal"):
        result[name]["blocks"] = blocks(sets[name], [m[name] for m in made], [getattr(s, name) for s in scenes])
    for name in ("constant", "picture"):
        result["depth"][f"abs_rel_{name}"] = sets["depth"].score([constants["depth"][name]] * len(scenes), depth)[
            "abs_rel"
        ]
        result["normal"][f"mean_angle_{name}"] = sets["normal"].score(
            [constants["normal"][name]] * len(scenes), normal
        )["mean_angle"]
    semseg = sets["semseg"]
    truth = [s.semseg for s in scenes]
    result["semseg"] = semseg.score([m["semseg"] for m in made], truth)
    coded = semseg.detokenize(semseg.tokenize(truth)["semseg"])
    result["semseg"]["miou_tokenizer"] = semseg.score(coded, truth)["miou"]
    result["caption"] = pair_scores([mentions(m["caption"]) for m in made], [mentions(s.caption) for s in scenes])
    for name in ("canny_edge", "color_palette"):
        derived = [model.accept({name: sets[name].derive({"rgb": s.rgb})})[name] for s in scenes]
        result[name] = sets[name].score([m[name] for m in made], derived)
    return result


def from_captions(model: am.AnyModel, scenes: list[Scene]) -> dict[str, Any]:
    made: list[np.ndarray] = []
    for start in range(0, len(scenes), BATCH):
        batch = model.generate_batch(
            [{"caption": s.caption} for s in scenes[start : start + BATCH]], ["rgb"], seed=start
        )
        made += [m["rgb"] for m in batch]
    seen, read = [], []
    for start in range(0, len(made), BATCH):
        for out in model.generate_batch([{"rgb": p} for p in made[start : start + BATCH]], ["semseg"]):
            seen.append(out["semseg"])
        for out in model.generate_batch([{"rgb": p} for p in made[start : start + BATCH]], ["caption"]):
            read.append(mentions(out["caption"]))
    pairs = [mentions(s.caption) for s in scenes]
    shuffled = pairs[1:] + pairs[:1]
    judges = {
        "kinds_found": lambda p: kinds_found(seen, p),
        "pairs_read": lambda p: pair_scores(read, p)["f1"],
        "color_share": lambda p: color_share(made, p),
    }
    result = {name: {"own": judge(pairs), "shuffled": judge(shuffled)} for name, judge in judges.items()}
    result["color_share"]["true_pictures"] = color_share([s.rgb for s in scenes], pairs)
    result["blocks"] = blocks(model.modalities["rgb"], made, [s.rgb for s in scenes])
    return result


def kinds_found(semsegs: list[np.ndarray], pairs: list[set]) -> float:
    """Share of named kinds that cover at least 1 % of the picture."""
    found = [(s == KINDS[kind].class_id).mean() >= 0.01 for s, p in zip(semsegs, pairs, strict=True) for _, kind in p]
    return float(np.mean(found))


def color_share(pictures: list[np.ndarray], pairs: list[set]) -> float:
    """Mean share of the picture whose nearest color name is a named one."""
    shares = []
    for picture, pair in zip(pictures, pairs, strict=True):
        colors = {NAMES.index(c) for c, _ in pair if c}
        if colors:
            nearest = np.linalg.norm(to_lab(picture.reshape(-1, 3))[:, None] - PAINTS[None], axis=-1).argmin(1)
            shares.append(np.isin(nearest, list(colors)).mean())
    return float(np.mean(shares))


def timing(model_name: str) -> dict[str, float]:
    """Seconds to load, and to generate all other modalities from one picture, in this process."""
    began = time.perf_counter()
    model = am.load(model_name)
    loaded = time.perf_counter()
    model.generate({"rgb": render(HELD_OUT_SEED, 0, model.modalities["rgb"].size, BASIC).rgb}, "all")
    return {"load": loaded - began, "generate_all": time.perf_counter() - loaded}


@BENCHMARKS.register("quality")
@attrs.frozen
class Quality(Figures):
    """What the embedded model can do on held-out scenes, beside constants and beside other captions."""

    model: str = "tiny"
    count: int = 200
    seed: int = 0
    precision: Precision = "auto"

    def run(self, quick: bool) -> dict[str, Any]:
        count = 20 if quick else self.count
        seconds = timing(self.model)
        model = am.load(self.model, precision=self.precision)
        side = model.modalities["rgb"].size
        scenes = [render(HELD_OUT_SEED + self.seed, i, side, BASIC) for i in range(count)]
        constants = fit_constants([render(TRAIN_SEED, i, side, BASIC) for i in range(TRAIN_COUNT)])
        return {
            "seconds": seconds,
            "rgb_to": from_pictures(model, scenes, constants),
            "caption_to_rgb": from_captions(model, scenes),
        }
