"""Values of the sequence modalities as strings and ids, by the public paths of the plugins and the recorded draws."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anymodal.crops import Crop
from anymodal.errors import UnknownModality
from anymodal.families import SharedModality
from anymodal.modality import Modality
from anymodal.plugins.registry import registry
from anymodal.text import Vocabulary
from parity.results import Result, attempt, gap, skip

METADATA = ("metadata_image", "metadata_geometric", "metadata_semantic")
BLOCKS = ("pose", "global", "camera", "shape")
ORDERS = {"dist_to_orig": "origin", "area": "area", "score": "score"}
Cases = Sequence[Mapping[str, Any]]


class Recorded:
    """Stands in for a random generator: draws that were written down, and shuffles of Python's own generator."""

    def __init__(self, integers: Sequence[int] = (), permutations: Sequence[Sequence[int]] = (), seed: int = 0) -> None:
        self._integers, self._permutations = list(integers), [list(p) for p in permutations]
        self._shuffler = random.Random(seed)

    def integers(self, low: int, high: int) -> int:
        return self._integers.pop(0)

    def permutation(self, count: int) -> list[int]:
        if self._permutations:
            return self._permutations.pop(0)
        order = list(range(count))
        self._shuffler.shuffle(order)
        return order


def verify_values(recorded: Mapping[str, Any], vocabulary: Vocabulary | None) -> Iterator[Result]:
    """det, metadata, palettes and people of serialisation.json; as strings alone where there is no vocabulary."""
    metadata = recorded["metadata"]
    yield from _suite("text/det", "det", lambda: _strings([_detection(recorded["det"])], vocabulary))
    yield from _suite("text/metadata", METADATA, lambda: _strings([_whole_metadata(metadata)], vocabulary))
    yield from _suite(
        "text/color_palette", "color_palette", lambda: _strings(map(_palette, recorded["color_palette"]), vocabulary)
    )
    yield from _suite(
        "text/human_poses", "human_poses", lambda: _strings(map(_person, recorded["human_poses"]), vocabulary)
    )


def verify_transforms(cases: Cases, vocabulary: Vocabulary | None) -> Iterator[Result]:
    """All examples of transforms.json, modality by modality; as strings alone where there is no vocabulary."""
    poses = [c for c in cases if "vector207" in c]
    cases = [c for c in cases if "vector207" not in c]
    by_name = {
        name: [c for c in cases if c["modality"] == name] for name in dict.fromkeys(c["modality"] for c in cases)
    }
    for name, make in TRANSFORMS.items():
        chosen = by_name.pop(name, [])
        if chosen:
            needed = METADATA if name == "metadata" else name
            compare = _rows if name == "t5_caption" else _strings
            yield from _suite(f"text/transforms/{name}", needed, partial(_compared, compare, make, chosen, vocabulary))
    if poses:
        raw = next(c for c in cases if c["modality"] == "human_poses")["raw"]
        yield from _suite("text/transforms/body_pose", "human_poses", lambda: _vector(raw, poses[0]["vector207"]))
    for name, rest in by_name.items():
        yield skip(f"text/transforms/{name}", f"{len(rest)} examples: rows of token files are not a plugin's matter")


def _compared(compare: Any, make: Any, cases: Cases, vocabulary: Vocabulary | None) -> tuple[int, int, str]:
    return compare(map(make, cases), vocabulary)


def _suite(case: str, needed: str | tuple[str, ...], run: Callable[[], tuple[int, int, str]]) -> Iterator[Result]:
    """The result of a suite, or what has to be installed for it."""
    for name in (needed,) if isinstance(needed, str) else needed:
        try:
            registry().modality(name)
        except UnknownModality as error:
            yield skip(case, str(error))
            return

    def result() -> Result:
        wrong, count, first = run()
        return Result(case, wrong, 0, f"of {count} examples{first and f'; first: {first!r:.200}'}")

    yield from attempt(case, result)


Spelled = tuple[Modality, Any, Any, str, Sequence[int]]


def _strings(examples: Any, vocabulary: Vocabulary | None) -> tuple[int, int, str]:
    """How many of (modality, value, draws, string, ids) are spelled or tokenized in another way."""
    wrong, count, first = 0, 0, ""
    for modality, value, draws, string, ids in examples:
        modality.vocabulary, count = vocabulary, count + 1
        spelled = modality.spell(value, draws())
        right = spelled == string.strip()
        if right and vocabulary is not None:
            mine = modality.tokenize([value], draws())[modality.name][0].tolist()
            right = mine == [*ids, vocabulary.end][: modality.length]
        if not right:
            wrong, first = wrong + 1, first or spelled
    return wrong, count, first


def _unchecked_people() -> Any:
    """The recorded people are made of random numbers, which are no rotations."""
    modality = _make("human_poses")
    modality.are_rotations = lambda matrices: True
    return modality


def _make(name: str, **settings: Any) -> Any:
    return registry().modality(name)(**settings)


def _no_draws() -> None:
    return None


def _crop(call: Mapping[str, Any], flip: bool) -> Crop:
    top, left, height, width = call["crop_coords"]
    high, wide = call["orig_size"]
    return Crop(left / wide, top / high, width / wide, height / high, flip)


def _detection(case: Mapping[str, Any]) -> Spelled:
    settings, call = case.get("settings", {}), case.get("call")
    modality = _make(
        "det",
        threshold=settings.get("det_threshold", case.get("threshold")),
        most=settings.get("det_max_instances") or 0,
        order=ORDERS[settings.get("bbox_order", "dist_to_orig")],
    )
    value = modality.accept(case.get("raw", {"instances": case.get("instances")}))
    value = modality.crop(value, _crop(call, call["flip"])) if call else value
    return modality, value, _no_draws, case["string"], case["ids"]


def _whole_metadata(case: Mapping[str, Any]) -> Spelled:
    ids = [i for chunk in case["ids"] for i in chunk]
    return _metadata({"raw": case["values"], "string": " ".join(case["chunks"]), "ids": ids}, length=1 + len(ids))


def _metadata(case: Mapping[str, Any], length: int = 40) -> Spelled:
    """One stream of three plugins; the recorded order of the names is a permutation of theirs."""
    members, raw = [_make(name) for name in METADATA], case["raw"]
    modality = SharedModality("metadata", members, length=length)
    value = {m.name: m.accept({k: v for k, v in raw.items() if k in m.fields}) for m in members}
    mine = [name for part in value.values() for name in part]
    order = [mine.index(name) for name in case.get("key_order_after_shuffle", raw)]
    string = case["string"] if "string" in case else " ".join(case["chunks"])
    ids = case["ids"]
    ids = [i for chunk in ids for i in chunk] if isinstance(ids[0], list) else ids
    return modality, value, lambda: Recorded(permutations=[order]), string, ids


def _palette(case: Mapping[str, Any]) -> Spelled:
    modality = _make("color_palette")
    if "rgb" in case:
        return modality, modality.accept(np.reshape(case["rgb"], (-1, 3))), _no_draws, case["string"], case["ids"]
    value = _from_file(modality, case["raw"])
    return modality, value, lambda: Recorded([case["drawn_length"] - 1]), case["string"], case["ids"]


def _from_file(modality: Modality, content: Any) -> Any:
    """The value of a JSON file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "value.json"
        path.write_text(json.dumps(content))
        return modality.read(path)


def _person(case: Mapping[str, Any]) -> Spelled:
    """A person of serialisation.json, whose box is in fractions."""
    modality = _unchecked_people()
    value = modality.accept(
        {
            "img_size": [1, 1],
            "bbox_xyxy": [case["bbox"]],
            "pred_cam": [case["camera"]],
            "pred_smpl_params": {"global_orient": [case["global_orient"]], "betas": [case["betas"]]},
            "pose_tokenized": [case["pose_tokens"]],
        }
    )
    order = [BLOCKS.index(name) for name in case["group_order"]]
    return modality, value, lambda: Recorded(permutations=[order]), case["string"], case["ids"]


def _people(case: Mapping[str, Any]) -> Spelled:
    """People in a file; 4M mirrors neither them nor their boxes."""
    modality = _unchecked_people()
    high, wide = case["call"]["orig_size"]
    raw = case["raw"] | {"img_size": [wide, high]} if case["raw"] else case["raw"]
    value = modality.crop(_from_file(modality, raw), _crop(case["call"], flip=False))
    return modality, value, lambda: Recorded(permutations=case["permutations"]), case["string"], case["ids"]


def _instances(case: Mapping[str, Any]) -> Spelled:
    """Instances in pixels; the query points were drawn y first, the shuffles by Python's generator."""
    raw, settings = case["raw"], case["settings"]
    queries, size = case["query_points_xy_in_draw_order"], settings["image_size"]
    modality = _make("sam_instance", size=size, points=len(queries))
    value = modality.accept(
        {
            "instances": [
                {"outlines": [np.reshape(o, (-1, 2)) / size for o in outlines], "codes": ids}
                for outlines, ids in zip(raw["points"], raw["token_ids"], strict=True)
            ]
        }
    )
    drawn = [number for x, y in queries for number in (y, x)]
    return modality, value, lambda: Recorded(drawn, seed=case["seed"]), case["string"], case["ids"]


def _text(case: Mapping[str, Any]) -> Spelled:
    modality, which = _make("caption"), case["call"]["rand_aug_idx"]
    raw = case["raw"] if which is None else case["raw"][which]
    return modality, _from_file(modality, raw), _no_draws, case["string"], case["ids"]


def _vectors(case: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a .npz file, and those recorded."""
    which, expected = case["call"]["rand_aug_idx"] or 0, np.array(case["tensor"], np.float32)
    modality = _make("t5_caption", width=expected.shape[1])
    arrays: dict[str, Any] = {key: np.array(value[which : which + 1], np.float32) for key, value in case["raw"].items()}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "value.npz", **arrays)
        value = modality.read(Path(folder) / "value.npz")
    return modality.tokenize([value])[modality.name][0], expected


def _rows(pairs: Any, vocabulary: Vocabulary | None) -> tuple[int, int, str]:
    gaps = [gap(mine, theirs) for mine, theirs in pairs]
    return sum(g > 0 for g in gaps), len(gaps), ""


def _vector(raw: Mapping[str, Any], expected: Sequence[float]) -> tuple[int, int, str]:
    modality = _unchecked_people()
    mine = modality.preprocess(modality.accept({**raw, "img_size": [1, 1]}))
    return int(gap(mine, np.array(expected, np.float32)) > 0), 1, ""


TRANSFORMS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "det": _detection,
    "caption": _text,
    "metadata": _metadata,
    "human_poses": _people,
    "color_palette": _palette,
    "sam_instance": _instances,
    "t5_caption": _vectors,
}
