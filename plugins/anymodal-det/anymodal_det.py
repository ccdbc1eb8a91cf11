"""What is where: boxes with class names."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from anymodal import Crop, Labeler, PictureLabeler, Sampling, StructuredModality, hookimpl
from anymodal.errors import CheckpointError, ConfigError, ValueProblem, brief, require
from anymodal.families.agreement import grouped, matched
from anymodal.families.blanks import kept_parts
from anymodal.families.boxes import LabeledBox, backdrop, box_iou, bright, clip_box, crop_box
from anymodal.families.drawing import font_of, note
from anymodal.families.text import MOST_LEVELS
from anymodal.text import is_text, parse_value, words_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

ORDERS = ("origin", "area", "score", "random")
MOST_BOXES = 10_000  # of one picture
LEAST_SHARE = 0.3  # of several draws that have a box
MOST_DETECTIONS = 100  # of one picture that COCO's evaluation counts
NO_NAME = re.compile(r"LABEL_[0-9]+")  # what the transformers library calls a class without a name


@attrs.frozen
class Box:
    """One object: a box in fractions of the picture's width and height, its class, and how sure its maker is.

    A `crowd` is a region of many objects (COCO): no model learns it, and what lies in it is neither right nor wrong.
    """

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    class_name: str
    score: float = 1.0
    crowd: bool = False

    @property
    def corners(self) -> tuple[float, float, float, float]:
        return self.xmin, self.ymin, self.xmax, self.ymax

    @property
    def area(self) -> float:
        return (self.xmax - self.xmin) * (self.ymax - self.ymin)


class Det(StructuredModality):
    """Objects: a list of `Box`, corners in 0 to 1 from the top left, class names, scores in 0 to 1.

    Spelled `v0=XMIN v1=YMIN v2=XMAX v3=YMAX CLASS` a box (4M, arXiv 2312.06647), coordinates in `bins` levels; boxes
    whose score is under `threshold` are left out, and at most `most` of the best kept (0: all). `order` is 'origin' (by
    the distance of the top left corner from that of the picture), 'area', 'score' or 'random'.
    Files: JSON, 4M's {"instances": [{"boxes", "class_name", "score"}]}, or a COCO file of one picture.
    """

    settings = (*StructuredModality.settings, "threshold", "most", "order", "bins")
    limits = {"bins": (2, MOST_LEVELS)}
    length = 256
    threshold = 0.6
    most = 0
    order = "origin"
    bins = 1000

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.order not in ORDERS:
            raise ConfigError(f"the order of {self.name} is one of {', '.join(ORDERS)}, got {self.order!r}")

    def sampling(self, grounded: bool) -> Sampling:
        return Sampling(scheme="autoregressive", temperature=0.3, top_p=0.8)

    def accept(self, value: Any) -> list[Box]:
        if self.is_file(value):
            return self.from_file(value)
        expected = "a list of Box, 4M's dict with 'instances', or COCO's with 'annotations'"
        if isinstance(value, Mapping):
            if "annotations" not in value and "instances" not in value:
                raise self.problem(value, expected)
            value = from_coco(value) if "annotations" in value else value["instances"]
            expected = "a list of boxes under 'instances'"
        if not isinstance(value, (list, tuple)):
            raise self.problem(value, expected)
        if len(value) > MOST_BOXES:
            raise ValueProblem(f"{self.name} takes up to {MOST_BOXES} boxes, got {len(value)}; keep the surest")
        return [self._box(item) for item in value]

    def _box(self, item: Any) -> Box:
        expected = "boxes of four numbers in 0..1, xmin <= xmax and ymin <= ymax, with a class name and a score"
        if isinstance(item, Mapping):
            require(item, ("boxes", "class_name"), f"{self.name}: each box of a list")
            corners = item["boxes"]
            corners = corners.tolist() if hasattr(corners, "tolist") else corners  # of an array, as detectors give it
            if not isinstance(corners, (list, tuple)) or len(corners) != 4:
                raise ValueProblem(f"{self.name} takes {expected}, got {brief(corners)}")
            x0, y0, x1, y1 = corners
            score = item.get("score")  # null is absent
            named = item["class_name"], 1.0 if score is None else score, bool(item.get("iscrowd"))
            item = Box(x0, y0, x1, y1, *named)
        if not isinstance(item, Box):
            raise self.problem(item, expected)
        try:
            numbers = [float(v) for v in (*item.corners, item.score)]
        except (TypeError, ValueError, OverflowError):
            raise self.problem(item, expected) from None
        x0, y0, x1, y1, score = numbers
        name = item.class_name
        if not is_text(name) or not name.strip() or any(map(parse_value, name.split())):
            raise ValueProblem(f"{self.name} takes class names that are words, got {name!r:.80}")
        if not (-1e-4 <= x0 <= x1 <= 1 + 1e-4 and -1e-4 <= y0 <= y1 <= 1 + 1e-4 and 0 <= score <= 1):
            raise ValueProblem(f"{self.name} takes {expected}, got {item}")
        return Box(*clip_box(numbers[:4]), name, score, bool(item.crowd))

    def plain(self, value: list[Box]) -> dict[str, Any]:
        shared = [{"boxes": list(b.corners), "class_name": b.class_name, "score": b.score} for b in value]
        return {
            "instances": [each | ({"iscrowd": 1} if b.crowd else {}) for each, b in zip(shared, value, strict=True)]
        }

    def boxes(self, value: list[Box]) -> list[LabeledBox]:
        return [LabeledBox(b.class_name, b.corners, b.score) for b in value]

    def from_boxes(self, boxes: Sequence[LabeledBox]) -> list[Box]:
        return self.accept([Box(*b.corners, b.label, b.score) for b in boxes])

    def crop(self, value: list[Box], crop: Crop) -> list[Box]:
        """What is left of the boxes inside the crop, mirrored with it; empty ones go."""
        moved = [Box(*clip_box(crop_box(b.corners, crop)), b.class_name, b.score, b.crowd) for b in value]
        return [b for b in moved if b.xmin < b.xmax and b.ymin < b.ymax]

    def chunks(self, value: list[Box], rng: "np.random.Generator | None" = None) -> list[str]:
        return [self._spelled(b) for b in self._ordered(value, rng)]

    def spell(self, value: list[Box], rng: "np.random.Generator | None" = None) -> str:
        return " ".join(self.chunks(value, rng))

    def _ordered(self, value: list[Box], rng: "np.random.Generator | None") -> list[Box]:
        kept = [b for b in value if b.score >= self.threshold and not b.crowd]
        if self.most and len(kept) > self.most:
            kept = sorted(kept, key=lambda b: -b.score)[: self.most]
        if self.order == "random":
            return kept if rng is None else [kept[k] for k in rng.permutation(len(kept))]
        keys = {"origin": lambda b: b.xmin**2 + b.ymin**2, "area": lambda b: -b.area, "score": lambda b: -b.score}
        return sorted(kept, key=keys[self.order])

    def pieces(self, value: list[Box], keep: Any) -> tuple[list[Box], list[str | None]]:
        """As the base says; what is kept is told however sure it is."""
        kept = kept_parts(value, keep, self.name)
        return kept, super().pieces(sure(kept), True)[1]

    def started(self, value: list[Box]) -> tuple[list[Box], list[str | int]]:
        """As the base says; what is given is told however sure it is."""
        return value, super().started(sure(value))[1]

    def _spelled(self, box: Box) -> str:
        levels = [f"v{k}={round(v * (self.bins - 1))}" for k, v in enumerate(box.corners)]
        return " ".join([*levels, box.class_name])

    def parse(self, text: str) -> list[Box]:
        """The boxes that have four coordinates in order, and words for a class."""
        found, corners, words = [], list[int](), list[str]()
        for word in [*text.split(), "v0=0"]:
            value = parse_value(word)
            if value is None:
                words.append(word)
            elif value[0] == 0 or words:
                found.append((corners, " ".join(words)))
                corners, words = ([value[1]] if value[0] == 0 else []), []
            else:
                corners = [*corners, value[1]] if value[0] == len(corners) else []
        whole = [([min(v / (self.bins - 1), 1.0) for v in c], name) for c, name in found if len(c) == 4 and name]
        boxes = [Box(x0, y0, x1, y1, name) for (x0, y0, x1, y1), name in whole]
        return [b for b in boxes if b.xmin <= b.xmax and b.ymin <= b.ymax]

    def parts_in(self, value: list[Box], other: list[Box]) -> "np.ndarray":
        """Which boxes another value has too: of the same class, with an overlap (IoU) of at least 0.5."""
        return matched(same_class_overlaps(value, other))

    def merge(self, values: list[list[Box]]) -> list[Box]:
        """The boxes that enough of the draws have, each the mean of theirs; its score is the share that has it."""
        found = []
        for group in grouped(values, same_class_overlaps):
            x0, y0, x1, y1 = np.mean([box.corners for box in group], 0).tolist()
            share = len(group) / len(values)
            if share >= LEAST_SHARE:
                found.append(Box(x0, y0, x1, y1, group[0].class_name, share))
        return found

    def agreed(self, values: list[list[Box]]) -> "tuple[list[Box], np.ndarray]":
        """As the base says: the draws that lack a box are those whose boxes it is no mean of, as its score has it."""
        found = self.merge(values)
        return found, np.array([1 - box.score for box in found], np.float32)

    def part_names(self, value: list[Box]) -> list[str]:
        return [b.class_name for b in value]

    def examples(self, rng: "np.random.Generator") -> dict[str, list[Box]]:
        corners = np.sort(rng.random((3, 2, 2)), 1).reshape(3, 4).tolist()
        boxes = [
            Box(x0, y0, x1, y1, name) for (x0, y0, x1, y1), name in zip(corners, ["car", "dog", "car"], strict=True)
        ]
        return {"one": [Box(0.125, 0.25, 0.5, 0.75, "person")], "none": [], "three": boxes}

    def show(self, value: list[Box], size: int = 256, picture: "np.ndarray | None" = None) -> "Image":
        """Named boxes, the large ones first, with scores under 1, over the picture or on paper."""
        from PIL import ImageDraw

        canvas, value = backdrop(size, picture), [b for b in value if not b.crowd]
        if not value:
            return note(canvas, "no objects")
        draw, font = ImageDraw.Draw(canvas), font_of(max(9, size / 18))
        for box in sorted(value, key=lambda b: -b.area):
            color = bright(box.class_name)
            x0, y0, x1, y1 = (v * (size - 1) for v in box.corners)
            draw.rectangle((x0, y0, x1, y1), outline=color, width=max(1, size // 100))
            label = box.class_name if box.score == 1 else f"{box.class_name} {box.score:.0%}"
            left, top, right, bottom = draw.textbbox((0, 0), label, font)
            x, y = (max(0.0, min(v, size - w - 6)) for v, w in ((x0, right - left), (y0, bottom - top)))
            draw.rectangle((x, y, x + right - left + 5, y + bottom - top + 5), fill=color)
            ink = (255, 255, 255) if color[1] < 160 else (30, 30, 34)
            draw.text((x + 3 - left, y + 2 - top), label, ink, font)
        return canvas

    def show_over(self, value: list[Box], picture: "np.ndarray", size: int = 256) -> "Image":
        return self.show(value, size, picture)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """COCO's average precision over IoU 0.50 to 0.95 in steps of 0.05, at 0.50, and at 0.75 (Lin et al. 2014).

        Averaged over the classes of the truth, whose names are compared as words, without case; precision is
        interpolated at 101 levels of recall, and boxes that lie in a crowd of the truth are passed over, as pycocotools
        does. 0 without any truth.
        """
        classes = sorted({class_of(b) for truth in truths for b in truth if not b.crowd})
        steps = np.linspace(0.5, 0.95, 10)
        table = [average_precision(predictions, truths, name, steps) for name in classes] or [np.zeros(10)]
        mean = np.mean(table, 0)
        return {"ap": float(mean.mean()), "ap50": float(mean[0]), "ap75": float(mean[5])}


def sure(boxes: Sequence[Box]) -> list[Box]:
    """The boxes with a score of 1."""
    return [attrs.evolve(box, score=1.0) for box in boxes]


def class_of(box: Box) -> tuple[str, ...]:
    """What class names are compared by: their words, as a model writes them."""
    return words_of(box.class_name)


def same_class_overlaps(value: Sequence[Box], other: Sequence[Box]) -> "np.ndarray":
    """The overlaps (IoU) (n, m) of the boxes of two values, 0 for other classes."""
    overlaps = box_iou([b.corners for b in value], [b.corners for b in other])
    same = [[class_of(one) == class_of(two) for two in other] for one in value]
    return overlaps * np.array(same, bool).reshape(overlaps.shape)


def average_precision(
    predictions: Sequence[Sequence[Box]],
    truths: Sequence[Sequence[Box]],
    class_name: tuple[str, ...],
    steps: "np.ndarray",
) -> "np.ndarray":
    """Average precision (n,) of one class at each IoU threshold of `steps` (n,)."""
    scores: list[float] = []
    judged: list[np.ndarray] = []
    total = 0
    for predicted, true in zip(predictions, truths, strict=True):
        known = [b for b in true if class_of(b) == class_name]
        best = sorted((b for b in predicted if class_of(b) == class_name), key=lambda b: -b.score)[:MOST_DETECTIONS]
        total += sum(not b.crowd for b in known)
        scores += [b.score for b in best]
        judged.append(_judged(best, known, steps))
    if not scores or not total:
        return np.zeros(len(steps))
    order = np.argsort([-s for s in scores], kind="stable")
    right, wrong = (np.concatenate(judged)[order] == sign for sign in (1, -1))
    right, wrong = right.cumsum(0), wrong.cumsum(0)
    recall, precision = right / total, right / np.maximum(right + wrong, 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    levels = np.linspace(0, 1, 101)
    return np.array([np.mean(_at_recall(recall[:, s], precision[:, s], levels)) for s in range(len(steps))])


def _judged(best: Sequence[Box], known: Sequence[Box], steps: "np.ndarray") -> "np.ndarray":
    """Boxes of one picture, surest first, against the true ones: (boxes, steps) of 1 right, -1 wrong, 0 in a crowd.

    Each takes the free true box that it overlaps most, of equal ones the last, as pycocotools does.
    """
    real, crowds = ([b.corners for b in known if b.crowd == crowd] for crowd in (False, True))
    overlaps, covered = box_iou([b.corners for b in best], real), _covered([b.corners for b in best], crowds)
    taken = np.zeros((len(steps), len(real)), bool)
    signs = np.full((len(best), len(steps)), -1)
    for k, row in enumerate(overlaps):
        for s, step in enumerate(steps):
            free = np.where(taken[s], -1.0, row)[::-1]
            if free.size and free.max() >= step - 1e-10:
                taken[s, len(free) - 1 - free.argmax()] = True
                signs[k, s] = 1
            elif covered[k] >= step - 1e-10:
                signs[k, s] = 0
    return signs


def _covered(boxes: Sequence[Sequence[float]], crowds: Sequence[Sequence[float]]) -> "np.ndarray":
    """The largest share (n,) of each box that lies in one of the crowds."""
    a, b = (np.asarray(x, np.float64).reshape(-1, 4) for x in (boxes, crowds))
    inside = (np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])).clip(0).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).clip(0).prod(-1)
    return (inside / np.maximum(areas, 1e-300)[:, None]).max(1, initial=0)


def _at_recall(recall: "np.ndarray", precision: "np.ndarray", levels: "np.ndarray") -> "np.ndarray":
    where = np.searchsorted(recall, levels, side="left")
    return np.where(where < len(recall), precision[np.minimum(where, len(recall) - 1)], 0.0)


def from_coco(value: Mapping[str, Any], crowds: bool = False) -> list[dict[str, Any]]:
    """4M's instances of a COCO dict with one picture; its boxes are [x, y, width, height] in pixels.

    Boxes that reach over the edge are clipped. Annotations of other pictures are left out, and so are crowds, which are
    no single object, unless the `crowds` are asked for, for scores.
    """
    require(value, ("images", "annotations", "categories"), "a COCO dict of one picture")
    if isinstance(value["images"], list) and len(value["images"]) != 1:
        raise ValueProblem(f"not a COCO file of one picture: its 'images' are {len(value['images'])}")
    try:
        (picture,) = value["images"]
        names = {c["id"]: c["name"] for c in value["categories"]}
        width, height = float(picture["width"]), float(picture["height"])
        found = []
        for a in value["annotations"]:
            crowd, ids = bool(a.get("iscrowd")), (a.get("image_id"), picture.get("id"))
            if (crowd and not crowds) or (None not in ids and ids[0] != ids[1]):
                continue
            x, y, w, h = map(float, a["bbox"])
            corners = clip_box([x / width, y / height, (x + w) / width, (y + h) / height])
            named = {"class_name": names[a["category_id"]], "score": a.get("score"), "iscrowd": crowd}
            found.append({"boxes": list(corners)} | named)
        return found
    except KeyError as error:
        raise ValueProblem(f"not a COCO file of one picture: {error} is missing in it") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueProblem(f"not a COCO file of one picture: {type(error).__name__}: {error}") from None


class DetLabeler(PictureLabeler):
    """Objects by a detector of the transformers library, such as RT-DETR (Zhao et al. 2023); scores over 0.3."""

    modality, checkpoint = "det", "PekingU/rtdetr_r50vd"
    architecture = "AutoModelForObjectDetection"
    threshold = 0.3

    def load(self) -> None:
        super().load()
        names = list(map(str, self.model.config.id2label.values()))
        if all(NO_NAME.fullmatch(name) for name in names):
            named = ", ".join(names[:3])
            raise CheckpointError(f"{self.checkpoint!r} names no class ({named}, ...); name them in its id2label")

    def predict(self, pictures: "list[np.ndarray]") -> list[Any]:
        output = self.model(**self.prepared(pictures))
        results = self.processor.post_process_object_detection(output, threshold=self.threshold)
        return [self._boxes(*(result[key].tolist() for key in ("boxes", "labels", "scores"))) for result in results]

    def _boxes(self, corners: list[list[float]], labels: list[int], scores: list[float]) -> list[Box]:
        names = self.model.config.id2label
        return [Box(*clip_box(c), names[n], s) for c, n, s in zip(corners, labels, scores, strict=True)]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"det": DetLabeler}
