"""What a page asks for: JSON from outside, checked and read."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import attrs

from anymodal import AnyModel, Modality, Sampling
from anymodal.errors import ConfigError, GenerationError, ValueProblem, brief, nearest
from anymodal.families.boxes import LabeledBox
from anymodal_app.kinds import kind_of
from anymodal_app.pictures import check_side, content_of, mask_of
from anymodal_app.settings import DRAWS, Limits
from anymodal_app.store import Store

OPTIONS = ("scheme", "steps", "schedule", "temperature", "anneal", "top_k", "top_p", "min_p", "guidance", "samples")
MOST_DRAWS, MOST_SEED, MOST_BOXES = 16, 2**53 - 1, 200
PLAIN = re.compile(r"[a-z_]{1,40}")  # the name of a scheme without numbers, which might be large
FOLDERS, NAME = re.compile(r".*[/\\]", re.DOTALL), re.compile(r"[^\w. -]+")


class Asked(TypedDict, total=False):
    """A request to generate, as the page sends it."""

    inputs: dict[str, Any]
    targets: list[str]
    options: dict[str, dict[str, Any]]
    weights: dict[str, float]
    keep: dict[str, Any]
    seed: int
    variants: int
    uncertainty: bool
    chain: bool


@attrs.frozen(kw_only=True, eq=False)
class Request:
    """A request that can be carried out.

    inputs: natural values at the model's size.
    targets: in order.
    options: sampling options of targets.
    weights: of inputs that guide.
    keep: what stays of inputs that are targets, too: masks bool (H, W), True, or parts.
    seeds: one for each variant.
    chain: whether each target is made from those before it; None for what the checkpoint says.
    """

    inputs: dict[str, Any]
    targets: list[str]
    options: dict[str, Any] = attrs.field(factory=dict)
    weights: dict[str, float] = attrs.field(factory=dict)
    keep: dict[str, Any] = attrs.field(factory=dict)
    seeds: list[int] = attrs.field(factory=lambda: [0])
    chain: bool | None = None


class Reader:
    """Reads requests for one model, whose generated values lie in a store."""

    def __init__(self, model: AnyModel, store: Store, limits: Limits) -> None:
        self.model, self.store, self.limits = model, store, limits

    def request(self, asked: object) -> Request:
        """What is asked for. Raises AnymodalError for what cannot be."""
        raw = known_keys(asked, Asked, "a request")
        targets = self._targets(raw.get("targets"))
        keep = {name: self._kept(name, part) for name, part in self._named(raw, "keep").items()}
        options = {name: self._options(name, own) for name, own in self._named(raw, "options").items()}
        values, weights = self.values(raw.get("inputs")), self.weights(raw)
        if _flag(raw.get("uncertainty", False), "uncertainty"):
            self._draw_several(targets, options, keep, values)
        variants = whole(raw.get("variants", 1), "variants", 1, self.limits.variants)
        seed = whole(raw.get("seed", 0), "seed", 0, MOST_SEED - variants)
        return Request(
            inputs=values,
            targets=targets,
            options=options,
            weights=weights,
            keep=keep,
            seeds=[seed + k for k in range(variants)],
            chain=_flag(raw["chain"], "chain") if "chain" in raw else None,
        )

    def values(self, inputs: object) -> dict[str, Any]:
        """Natural values of inputs; files are cut to the model's size, and all others lie in the square that is left.

        Raises AnymodalError for a value that cannot be read, or is larger than allowed.
        """
        given = _mapping({} if inputs is None else inputs, "inputs")
        modalities = {name: self.model.modalities[str(name)] for name in given}
        read = {name: self._value(modality, given[name]) for name, modality in modalities.items()}
        return {**read, **self.model.accept({name: read[name] for name in read if _is_whole(given[name])})}

    def weights(self, raw: Mapping[str, Any]) -> dict[str, float]:
        """How much each input of a request counts. Raises AnymodalError."""
        return {name: _number(each, f"the weight of {name!r}") for name, each in self._named(raw, "weights").items()}

    def _value(self, modality: Modality, value: Any) -> Any:
        kind = kind_of(self.model, modality)
        if kind == "text" and isinstance(value, str):
            if len(value) > self.limits.text:
                raise ValueProblem(f"{modality.name} has {len(value)} characters, more than {self.limits.text}")
            return value
        if kind == "boxes" and isinstance(value, list):
            return modality.from_boxes(_boxes(modality.name, value))  # type: ignore[attr-defined]
        if isinstance(value, Mapping) and "file" in value:
            kept = self.store.find(value["file"])
            if kept is None or kept.modality != modality.name:
                raise ValueProblem(f"that value of {modality.name} is no longer kept; make it again, or give a file")
            return kept.value
        if isinstance(value, Mapping) and "data" in value:
            name = NAME.sub("", FOLDERS.sub("", str(value.get("name", ""))))[-60:] or f"the file for {modality.name}"
            suffix = Path(name).suffix.lower()
            return self._from_file(modality, content_of(value["data"], name), name, suffix)
        if isinstance(value, (list, Mapping)) and ".json" in modality.suffixes:
            what = f"the value of {modality.name}"
            try:
                content = json.dumps(value).encode()
            except RecursionError:
                raise ValueProblem(f"{what} is nested too deeply to be read") from None
            return self._from_file(modality, content, what, ".json")
        raise ValueProblem(f"{modality.name} is given as {brief(value)}; give a file as {{'data': ..., 'name': ...}}")

    def _from_file(self, modality: Modality, content: bytes, name: str, suffix: str) -> Any:
        """The value in the content of a file. Raises ValueProblem, with the user's name of it."""
        if suffix not in modality.suffixes:
            known = ", ".join(modality.suffixes)
            raise ValueProblem(f"{modality.name} is read from files that end in {known}, not from {name}")
        return self._read(modality.accept, content, name, suffix)

    def _read(self, read: Callable[[Path], Any], content: bytes, name: str, suffix: str) -> Any:
        """What is read from the content of a file of a user, who knows it by its name. Raises ValueProblem."""
        with tempfile.TemporaryDirectory(dir=self.store.folder) as folder:
            path = Path(folder) / f"value{suffix}"
            path.write_bytes(content)
            check_side(path, name, self.limits.side)
            try:
                return read(path)
            except ValueProblem as error:
                raise ValueProblem(str(error).replace(str(path), name)) from None

    def _kept(self, name: str, part: Any) -> Any:
        """What is kept of a value: the part of a picture that is not white in a mask, all, or some parts."""
        if part is True:
            return True
        if isinstance(part, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in part):
            return part
        mask = f"the mask of {name}"
        return ~self._read(mask_of, content_of(part, mask), mask, ".png")

    def _targets(self, targets: object) -> list[str]:
        possible = self.model.modalities.targets
        if not isinstance(targets, list) or not targets or not all(isinstance(each, str) for each in targets):
            raise GenerationError("a request names its targets in a list, such as ['depth', 'caption']; pick one")
        for name in targets:
            if name not in possible:
                known = ", ".join(possible)
                raise GenerationError(f"this model does not generate {name!r:.80}{nearest(name, possible)} ({known})")
        return list(dict.fromkeys(targets))

    def _named(self, raw: Mapping[str, Any], key: str) -> dict[str, Any]:
        """A part of the request by names of modalities."""
        found = _mapping({} if raw.get(key) is None else raw[key], key)
        for name in found:
            if name not in self.model.modalities:
                self.model.modalities[str(name)]  # which says what there is
        return dict(found)

    def _options(self, name: str, own: Any) -> dict[str, Any]:
        options = dict(_mapping(own, f"the options of {name!r}"))
        for option, value in options.items():
            if option not in OPTIONS:
                known = ", ".join(OPTIONS)
                raise ConfigError(f"{name} has no option {option!r:.80}{nearest(option, OPTIONS)}; there are {known}")
            if isinstance(value, str) and option == "scheme" and not PLAIN.fullmatch(value):
                raise ConfigError(f"a scheme is named without numbers here, got {value!r:.80}")
        if "steps" in options:
            whole(options["steps"], f"the steps of {name}", 1, self.limits.steps)
        if "samples" in options:
            whole(options["samples"], f"the samples of {name}", 1, MOST_DRAWS)
        Sampling(**options)
        return options

    def _draw_several(
        self, targets: Sequence[str], options: dict[str, dict[str, Any]], keep: Mapping[str, Any], given: Any
    ) -> None:
        """Ask for as many draws of targets as tell how sure they are, where fewer do not."""
        grounded = any(self.model.modalities[name].photographic for name in given if name not in keep)
        for name in targets:
            modality, own = self.model.modalities[name], options.setdefault(name, {})
            tuned = modality.tuned_sampling(grounded)
            scheme = Sampling(scheme=own["scheme"]).scheme if own.get("scheme") else tuned.scheme
            if modality.averages and scheme.draws:
                own.setdefault("samples", max(tuned.samples, DRAWS))


def _is_whole(value: Any) -> bool:
    """Whether a value is of the picture before it was cut: a file is, what was drawn on a page or made here is not."""
    return isinstance(value, str) or (isinstance(value, Mapping) and "data" in value)


def _boxes(name: str, boxes: Sequence[Any]) -> list[LabeledBox]:
    if len(boxes) > MOST_BOXES:
        raise ValueProblem(f"{name} takes up to {MOST_BOXES} boxes here, got {len(boxes)}")
    found = []
    for box in boxes:
        corners = box.get("box") if isinstance(box, Mapping) else None
        if not isinstance(corners, list) or len(corners) != 4:
            raise ValueProblem(f"{name} takes boxes such as {{'label': 'cup', 'box': [0.1, 0.2, 0.6, 0.9]}}")
        x0, y0, x1, y1 = (_number(each, f"a corner of a box of {name}") for each in corners)
        score = 1.0 if box.get("score") is None else _number(box["score"], f"the score of a box of {name}")
        found.append(LabeledBox(str(box.get("label", ""))[:80], (x0, y0, x1, y1), score))
    return found


def known_keys(asked: object, shape: type, what: str) -> Mapping[str, Any]:
    """A request whose keys are those of a TypedDict. Raises ConfigError."""
    raw, known = _mapping(asked, what), tuple(shape.__annotations__)
    for key in raw:
        if key not in known:
            raise ConfigError(f"{what} has no {key!r:.80}{nearest(str(key), known)}; it has {', '.join(known)}")
    return raw


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} is an object such as {{}}, got {brief(value)}")
    return value


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise ConfigError(f"{what} is a number, got {brief(value)}")
    return float(value)


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{what} is true or false, got {brief(value)}")
    return value


def whole(value: object, what: str, low: int, high: int) -> int:
    """A whole number within bounds. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{what} is a whole number from {low} to {high}, got {brief(value)}")
    return value
