"""Instances of anything: outlines, without names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal_sam_outlines import Asked, Instance, agreed, area, clipped, contains, flat, inner_point, traced

from anymodal import CodedModality, Crop, Labeler, Sampling, hookimpl
from anymodal.errors import ValueProblem, one_line, require
from anymodal.families.agreement import grouped, lacking, matched
from anymodal.families.arrays import as_array
from anymodal.families.boxes import backdrop, box_iou, bright, crop_points, match
from anymodal.families.drawing import marked, note
from anymodal.families.picture_files import read_picture, upright
from anymodal.families.pictures import ids_of, is_picture
from anymodal.families.text import MOST_LEVELS
from anymodal.files import naming, read_json
from anymodal.text import parse_value

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

SIDE, CODES = 64, 16  # of the tokenizer's mask, and of the codes that it becomes
MOST = 1000  # instances of a picture
SMOOTH = 3  # times as fine as the picture that instances are drawn in
LEAST_SHARE = 0.4  # of the draws that can be expected to ask for an instance
SAME = 0.5  # two draws whose boxes overlap more (IoU) show the same instance
MANY = 8  # draws, of which one alone is not enough
SELDOM, INSIDE = 0.25, 0.4  # what fewer draws show, and lies by more in what others show, is a piece of that


def _rows_of_numbers(value: Any) -> bool:
    """Whether a list is a map of instances, row by row, as table columns give it."""
    rows = isinstance(value, list) and bool(value) and isinstance(value[0], list) and bool(value[0])
    return rows and all(isinstance(number, int) for number in value[0])


class SamInstance(CodedModality):
    """Instances: a list of `Instance`, outlines without class names, as Segment Anything finds (Kirillov et al. 2023).

    Spelled (4M-21, arXiv 2406.09406) by query points `point v0=Y v1=X` in a picture of `size` pixels; after each, every
    instance that contains it: `polygon v0=XMIN v1=YMIN v2=XMAX v3=YMAX` and 16 codes of its mask inside that box, from
    a tokenizer of 64 x 64 masks; or `none`. There are `points` of them: drawn, or one inside each of the largest.
    With `start`, {"boxes": [(xmin, ymin, xmax, ymax), ...]} in 0..1 asks for the instance in each of these boxes.
    Files: JSON, {"instances": [{"outlines": [[[x, y], ...], ...]}]}, or PNG, one number an instance and 0 for nothing.
    """

    settings = (*CodedModality.settings, "size", "points")
    suffixes = (".json", ".png")
    repository = "EPFL-VILAB/4M_tokenizers_sam-instance_1k_64"
    loss = "binary_cross_entropy"
    folders = ("instance",)
    limits = {"size": MOST_LEVELS, "points": MOST}
    length = 290
    size = 224
    points = 7
    codes, grid = CODES, (4, 4)

    def sampling(self, grounded: bool) -> Sampling:
        return Sampling(scheme="autoregressive", temperature=0.01, top_p=0.8)

    # Values.

    def accept(self, value: Any) -> list[Instance]:
        if self.is_file(value):
            return self.from_file(value)
        if isinstance(value, Mapping):
            if list(value) == ["boxes"]:
                return self._asked(value["boxes"])
            if "instances" not in value:
                raise self.problem(value, "a dict with 'instances', or with 'boxes' alone to ask for what is in them")
            value = value["instances"]
        if is_picture(value):
            return self._from_map(ids_of(upright(value)))
        if hasattr(value, "dtype") or _rows_of_numbers(value):
            return self._from_map(as_array(value))
        if not isinstance(value, (list, tuple)):
            raise self.problem(value, "a list of Instance, or a map (H, W) of whole numbers, 0 for nothing")
        if len(value) > MOST:
            raise ValueProblem(f"{self.name} takes up to {MOST} instances, got {len(value)}; keep the largest")
        return [self._instance(item) for item in value]

    def _asked(self, boxes: Any) -> list[Instance]:
        """Instances of which the boxes are given."""
        if not isinstance(boxes, (list, tuple)) or not boxes:
            raise ValueProblem(f"{self.name} is asked by {{'boxes': [(xmin, ymin, xmax, ymax)]}}, got {boxes!r:.80}")
        found: list[Instance] = []
        for box in boxes:
            corners = box if isinstance(box, (list, tuple)) and all(isinstance(v, (int, float)) for v in box) else ()
            if len(corners) != 4 or not (0 <= corners[0] < corners[2] <= 1 and 0 <= corners[1] < corners[3] <= 1):
                raise ValueProblem(
                    f"{self.name} is asked by boxes in 0..1, xmin < xmax and ymin < ymax, got {box!r:.80}"
                )
            found.append(Asked.of(corners))
        return found

    def _instance(self, item: Any) -> Instance:
        if isinstance(item, Asked):
            return item
        codes = None
        if isinstance(item, Mapping):
            require(item, ["outlines"], f"{self.name}: each instance of a list")
            item, codes = item["outlines"], item.get("codes")
        elif isinstance(item, Instance):
            item, codes = item.outlines, item.codes
        try:
            outlines = tuple(np.asarray(o, np.float64) for o in item)
            ids = None if codes is None else np.asarray(codes)
        except (TypeError, ValueError, OverflowError):
            outlines, ids = (), None
        shaped = all(o.ndim == 2 and o.shape[1] == 2 and len(o) > 2 for o in outlines)
        if not outlines or not shaped or not all((np.abs(o - 0.5) <= 0.5 + 1e-4).all() for o in outlines):
            said = one_line(repr(item), 80)
            raise ValueProblem(f"{self.name} takes outlines of three or more points (n, 2) in 0..1, got {said}")
        if ids is None:
            return Instance(tuple(o.clip(0, 1) for o in outlines))
        if ids.shape != (CODES,) or ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= self.codebook:
            said = one_line(repr(codes), 80)
            raise ValueProblem(f"{self.name} takes {CODES} whole codes from 0 to {self.codebook - 1}, got {said}")
        return Instance(tuple(o.clip(0, 1) for o in outlines), ids.astype(np.int64))

    def _from_map(self, labels: "np.ndarray") -> list[Instance]:
        if labels.ndim != 2 or labels.dtype.kind not in "bui" or 0 in labels.shape or labels.min() < 0:
            lowest = f", the lowest of them {labels.min()}" if labels.dtype.kind == "i" and labels.size else ""
            raise self.problem(labels, f"a map of whole numbers of shape (H, W), 0 for nothing{lowest}")
        numbers = np.unique(labels[labels != 0])
        if len(numbers) > MOST:
            raise ValueProblem(
                f"{self.name} takes maps of up to {MOST} instances, got {len(numbers)}; is it another kind of picture?"
            )
        found = [Instance(outlines) for k in numbers if (outlines := traced(labels == k))]
        return sorted(found, key=lambda i: -area(i))

    def read(self, path: Path) -> list[Instance]:
        path = Path(path)
        with naming(path):
            if path.suffix.lower() == ".json":
                return self.accept(read_json(path))
            return self._from_map(ids_of(read_picture(path)))

    def plain(self, value: list[Instance]) -> dict[str, Any]:
        shapes = [[o.tolist() for o in i.outlines] for i in value]
        codes = [{} if i.codes is None else {"codes": i.codes.tolist()} for i in value]
        return {"instances": [{"outlines": s} | c for s, c in zip(shapes, codes, strict=True)]}

    def examples(self, rng: "np.random.Generator") -> dict[str, list[Instance]]:
        low, high = (v.tolist() for v in np.sort(rng.random((2, 3)), 0))
        triangles = [Instance((np.array([[a, a], [b, a], [a, b]]),)) for a, b in zip(low, high, strict=True)]
        return {"one": [Instance((np.array([[0.1, 0.2], [0.6, 0.3], [0.4, 0.8]]),))], "none": [], "three": triangles}

    def crop(self, value: list[Instance], crop: Crop) -> list[Instance]:
        """What is left of the instances inside the crop, mirrored with it; empty ones go."""
        if crop == Crop():
            return value
        kept = []
        for instance in value:
            moved = [clipped(crop_points(o, crop)) for o in instance.outlines]
            pieces = tuple(o for o in moved if len(o) > 2 and o.max(0).min() > 0 and np.ptp(o, 0).min() > 0)
            if pieces:
                kept.append(type(instance)(pieces))
            elif isinstance(instance, Asked):
                raise ValueProblem(
                    f"{self.name} is asked for what lies outside of the square that is seen: {instance.box}"
                )
        return kept

    # The tokenizer inside the sequence.

    def preprocess(self, value: list[Instance]) -> "np.ndarray":
        """The mask (1, 64, 64) of the largest instance in its box, -1 and 1; all -1 without any."""
        if not value:
            return -np.ones((1, SIDE, SIDE), np.float32)
        return self._tensor(max(value, key=area))

    def parts(self, value: list[Instance]) -> "list[np.ndarray]":
        """The masks (1, 64, 64) of all instances in their boxes."""
        return [self._tensor(instance) for instance in value]

    def _tensor(self, instance: Instance) -> "np.ndarray":
        mask = instance.pixels(SIDE, SIDE, instance.box)
        return np.where(mask, 1, -1).astype(np.float32)[None]

    def postprocess(self, tensor: "np.ndarray") -> "np.ndarray":
        """Logits (1, 64, 64) -> bool (64, 64)."""
        return np.asarray(tensor)[0] > 0

    def _codes(self, instances: list[Instance]) -> "list[np.ndarray]":
        made = self.encode_parts([self._tensor(i) for i in instances if i.codes is None])
        return [made.pop(0) if i.codes is None else i.codes for i in instances]

    # Text.

    def chunks(self, value: list[Instance], rng: "np.random.Generator | None" = None) -> list[str]:
        """One chunk a query point. Codes are those of instances that a point hits, so no others are encoded."""
        if any(isinstance(each, Asked) for each in value):
            raise ValueProblem(f"{self.name} has boxes without outlines: ask for these with start")
        queries = self._queries(value, rng)
        order = range(len(queries)) if rng is None else rng.permutation(len(queries))
        hits = []
        for k in order:
            inside = [i for i, instance in enumerate(value) if contains(instance, queries[k], self.size)]
            hits.append((queries[k], inside if rng is None else [inside[j] for j in rng.permutation(len(inside))]))
        used = sorted({i for _, inside in hits for i in inside})
        codes = self._codes([value[i] for i in used])
        words = {i: self._spelled(value[i], ids) for i, ids in zip(used, codes, strict=True)}
        return [
            " ".join([f"point v0={y} v1={x}", *([words[i] for i in inside] or ["none"])]) for (x, y), inside in hits
        ]

    def spell(self, value: list[Instance], rng: "np.random.Generator | None" = None) -> str:
        return " ".join(self.chunks(value, rng))

    def _queries(self, value: list[Instance], rng: "np.random.Generator | None") -> list[tuple[int, int]]:
        """Points (x, y) in pixels: drawn, y first; or one inside each of the largest instances."""
        if rng is not None:
            drawn = [(int(rng.integers(0, self.size)), int(rng.integers(0, self.size))) for _ in range(self.points)]
            return [(x, y) for y, x in drawn]
        largest = sorted(value, key=area, reverse=True)[: self.points]
        return [inner_point(i, self.size) for i in largest] or [(self.size // 2, self.size // 2)]

    def _spelled(self, instance: Instance, codes: "np.ndarray") -> str:
        corners = [f"v{k}={round(v * self.size)}" for k, v in enumerate(instance.box)]
        return " ".join(["polygon", *corners, *self.spell_codes(codes)])

    def started(self, value: list[Instance]) -> tuple[list[Instance], list[str | int]]:
        """Known instances, then boxes, after each of which the codes of its outline are written, and no more."""
        _, pieces = super().started([each for each in value if not isinstance(each, Asked)])
        for each in value:
            if isinstance(each, Asked):
                pieces += [self._question(each), CODES]
        return value, pieces

    def _question(self, asked: Asked) -> str:
        """The words before the codes of an instance of which the box is known; the point is its middle."""
        x0, y0, x1, y1 = (min(round(v * self.size), self.size - 1 + k // 2) for k, v in enumerate(asked.box))
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        x, y = (min((low + high) // 2, self.size - 1) for low, high in ((x0, x1), (y0, y1)))
        return f"point v0={y} v1={x} polygon v0={x0} v1={y0} v2={x1} v3={y1}"

    def joined(self, kept: list[Instance], pieces: Sequence[str | None], spans: Sequence[str]) -> list[Instance]:
        """The known instances, and those that were written, or those in the boxes in the order of these."""
        asked = [each for each in kept if isinstance(each, Asked)]
        known = [each for each in kept if not isinstance(each, Asked)]
        return [*known, *(self._drawn(asked, [spans]) if asked else self.parse(" ".join(spans)))]

    def united(
        self, kept: list[Instance], pieces: Sequence[str | None], draws: Sequence[Sequence[str]]
    ) -> "tuple[list[Instance], np.ndarray | None]":
        """As the base says; in a box is what most of the draws believe, pixel by pixel."""
        asked = [each for each in kept if isinstance(each, Asked)]
        if not asked:
            return super().united(kept, pieces, draws)
        value = [*(each for each in kept if not isinstance(each, Asked)), *self._drawn(asked, draws)]
        return value, lacking(value, [self.joined(kept, pieces, spans) for spans in draws], self.parts_in)

    def _drawn(self, asked: list[Asked], draws: Sequence[Sequence[str]]) -> list[Instance]:
        """The instances in boxes by the words of their codes in each draw; none where no draw has whole codes."""
        found = []
        for number, box in enumerate(asked):
            words = [spans[number].split() for spans in draws if len(spans) > number]
            codes = [self.read_codes([parse_value(word) for word in each]) for each in words]
            usable = [each for each in codes if each is not None]
            if not usable:
                continue
            believed = [1 / (1 + np.exp(-np.asarray(logits, np.float64))) for logits in self.decode_parts(usable)]
            outlines = self._placed(np.mean(believed, 0)[0] > 0.5, box.box)
            if outlines:
                found.append(Instance(outlines, usable[0] if len(usable) == 1 else None))
        return found

    def _placed(self, mask: "np.ndarray", box: "tuple[float, ...]") -> "tuple[np.ndarray, ...]":
        """The outlines of a mask (64, 64) in a box of the picture."""
        low, high = np.array(box).reshape(2, 2)
        return tuple((low + outline * (high - low)).clip(0, 1) for outline in traced(mask))

    def parse(self, text: str) -> list[Instance]:
        """The instances whose box and 16 codes are whole, each once, large ones first.

        Raises CheckpointError if there are some and no tokenizer.
        """
        found: dict[tuple[Any, ...], np.ndarray] = {}
        words = text.split()
        for start, word in enumerate(words):
            if word == "polygon":
                values: tuple[Any, ...] = tuple(parse_value(w) for w in words[start + 1 : start + 1 + 4 + CODES])
                codes = self.read_codes(values[4:])
                if codes is not None and self._is_box(values[:4]):
                    found[values] = codes
        masks = map(self.postprocess, self.decode_parts(list(found.values())))
        instances = []
        for (values, codes), mask in zip(found.items(), masks, strict=True):
            outlines = self._placed(mask, tuple(v / self.size for _, v in values[:4]))
            if outlines:
                instances.append(Instance(outlines, codes))
        return sorted(instances, key=lambda i: -area(i))

    def _is_box(self, values: tuple[Any, ...]) -> bool:
        if None in values or [k for k, _ in values] != [0, 1, 2, 3]:
            return False
        x0, y0, x1, y1 = (v for _, v in values)
        return x0 < x1 <= self.size and y0 < y1 <= self.size

    # For people.

    def show(self, value: list[Instance], size: int = 256, picture: "np.ndarray | None" = None) -> "Image":
        """The instances in strong colors with their outlines, the small ones on top."""
        from PIL import Image, ImageDraw

        canvas = backdrop(size, picture)
        if not value:
            return note(canvas, "no instances")
        fine = size * SMOOTH
        for k, instance in enumerate(sorted(value, key=area, reverse=True)):
            color, layer = bright(k), Image.new("L", (fine, fine))
            draw = ImageDraw.Draw(layer)
            for outline in instance.outlines:
                points = [tuple(p) for p in (outline * (fine - 1)).tolist()]
                draw.polygon(points, fill=130)
                draw.line([*points, points[0]], fill=255, width=max(1, fine // 100), joint="curve")
            canvas.paste(color, (0, 0), layer.resize((size, size), Image.Resampling.BOX))
        return canvas

    def show_over(self, value: list[Instance], picture: "np.ndarray", size: int = 256) -> "Image":
        return self.show(value, size, picture)

    def show_doubts(self, value: list[Instance], uncertainty: "np.ndarray", size: int = 256) -> "Image":
        places = [(x / size, y / size) for x, y in (inner_point(instance, size) for instance in value)]
        return marked(self.show(value, size), places, [f"{1 - doubt:.0%}" for doubt in uncertainty.tolist()])

    def parts_in(self, value: list[Instance], other: list[Instance]) -> "np.ndarray":
        """Which instances another value has too: with an overlap (IoU) of at least 0.5. A draw shows some of them."""
        return matched(mask_overlaps(value, other))

    def merge(self, values: list[list[Instance]]) -> list[Instance]:
        """The instances that enough of the draws show, largest first, of each what those draws agree on.

        A draw asks at a few points and shows what they hit, small instances rarely: enough are a share of the draws of
        which points at random would hit it, and two of many draws. What few show of what more show is left out.
        """
        groups = grouped([[i for i in value if area(i)] for value in values], _box_overlaps, SAME)
        found = [(instance, len(group)) for group in groups if (instance := agreed(group)) is not None]
        least = 2 if len(values) >= MANY else 1
        enough = [each for each in found if each[1] >= max(least, LEAST_SHARE * len(values) * self._hit(each[0]))]
        return sorted(_without_pieces(enough, SELDOM * len(values)), key=area, reverse=True)

    def _hit(self, instance: Instance) -> float:
        """How likely at least one of the points of a draw lies in an instance, if they are drawn at random."""
        return 1 - (1 - min(area(instance), 1)) ** self.points

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Mean overlap (IoU at 128 x 128 pixels) of the true instances with those matched to them, 0 without a match.

        `recall50` is the share of true instances with an overlap of at least 0.5. `pq` is the panoptic quality of one
        class: the sum of overlaps over 0.5 by the mean number of instances of both sides (Kirillov et al. 2019, whose
        formula this is). Without any instance on either side, all are 1.
        """
        found, wanted, given = [], 0, 0
        for predicted, true in zip(predictions, truths, strict=True):
            wanted, given = wanted + len(true), given + len(predicted)
            overlaps = mask_overlaps(predicted, true)
            found += [float(overlaps[pair]) for pair in match(overlaps)]
        matched = [overlap for overlap in found if overlap > 0.5]
        quality = 2 * sum(matched) / (wanted + given) if wanted + given else 1.0
        if not wanted:
            return {"miou": 1.0, "recall50": 1.0, "pq": quality}
        return {"miou": sum(found) / wanted, "recall50": sum(f >= 0.5 for f in found) / wanted, "pq": quality}


def mask_overlaps(value: Sequence[Instance], other: Sequence[Instance]) -> "np.ndarray":
    """The overlaps (IoU at 128 x 128 pixels) (n, m) of the instances of two values."""
    one, two = flat(value), flat(other)
    both: np.ndarray = one @ two.T
    return both / np.maximum(one.sum(1)[:, None] + two.sum(1)[None] - both, 1)


def _without_pieces(found: Sequence[tuple[Instance, int]], seldom: float) -> list[Instance]:
    """Instances and in how many draws they are, the most frequent first, without pieces of the more frequent ones."""
    masks, kept = flat([instance for instance, _ in found]), list[Instance]()
    for number, (instance, draws) in enumerate(found):
        if draws < seldom:
            others = masks[[more > draws for _, more in found]].any(0)
            if masks[number] @ others > INSIDE * masks[number].sum():
                continue
        kept.append(instance)
    return kept


def _box_overlaps(value: Sequence[Instance], other: Sequence[Instance]) -> "np.ndarray":
    return box_iou([each.box for each in value], [each.box for each in other])


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    from anymodal_sam_labeler import SamLabeler

    return {"sam_instance": SamLabeler}
