"""What the gallery shows of each modality: a value, its tokens, what they decode to, and what a model makes.

Values are those of rendered scenes that no model has seen, or computed from them, or made by labelers whose weights are
installed; modalities that have none of these show what the model writes, or an example value of their family.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from anymodal_scenes import BASIC, write

import anymodal as am
from anymodal.data import open_values
from anymodal.errors import AnymodalError
from anymodal.testing import examples

SEED, SCENES = 1_000_003, 8  # of no training
PRESET = "tiny"


@attrs.frozen
class Exhibit:
    """One modality with what is shown of it.

    modality: as the model has it, or with its default settings where the model does not know it.
    known: whether the model knows it.
    origin: where the value comes from, in words.
    scene: the picture that values are drawn over, (H, W, 3) uint8.
    truths: the values of all scenes that have one.
    tokens: ids by stream of the value, for streams of tokens.
    restored: what the tokens of the value decode to; None where there is no tokenizer that loses anything.
    score: of all values, decoded from their tokens.
    made, given: what the model makes of the scene, and from which modalities.
    photographs: by name, values computed exactly from photographs.
    """

    modality: Any
    known: bool
    value: Any
    origin: str
    scene: np.ndarray
    truths: Sequence[Any] = ()
    tokens: Mapping[str, np.ndarray] = attrs.field(factory=dict)
    restored: Any = None
    score: Mapping[str, float] = attrs.field(factory=dict)
    made: Any = None
    given: Sequence[str] = ()
    photographs: Mapping[str, tuple[Any, np.ndarray]] = attrs.field(factory=dict)


def exhibits(model: am.AnyModel, names: Sequence[str], photographs: Mapping[str, Any]) -> Iterator[Exhibit]:
    """What there is to show of each of the named modalities, in that order."""
    scenes, labeled = held_out(model)
    chosen = max(range(len(scenes)), key=lambda number: sum(map(_says_something, scenes[number].values())))
    scenes = [scenes[chosen], *scenes[:chosen], *scenes[chosen + 1 :]]
    seen = _camera(model).name
    made = dict(model.generate({seen: scenes[0][seen]}, "all", seed=0))
    for name in names:
        shown = _exhibit(model, name, scenes, seen, made, photographs)
        yield attrs.evolve(shown, origin=f"as the labeler `{labeled[name]}` has it") if name in labeled else shown


def _camera(model: am.AnyModel) -> Any:
    """The modality of photographs of a model."""
    return next(modality for modality in model.modalities if modality.photographic)


def held_out(model: am.AnyModel) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The values of some scenes for the model's modalities, by name, and which of them are of which labeler."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), SCENES, SEED, _camera(model).size, workers=1, kinds=BASIC)
        values = open_values(folder, model.modalities)
        scenes = [dict(values.read(number)) for number in range(SCENES)]
    labeled = {}
    for modality in model.modalities:
        if not any(modality.name in scene for scene in scenes) and (found := _labeled(modality, scenes)):
            labeled[modality.name], values_of_all = found
            for scene, value in zip(scenes, values_of_all, strict=True):
                scene[modality.name] = value
    return scenes, labeled


def labelers(name: str) -> dict[str, type[am.Labeler]]:
    """The labelers of a modality, those with weights on this machine or without any first."""

    def is_elsewhere(cls: type[am.Labeler]) -> bool:
        return cls.checkpoint is not None and not Path(cls.checkpoint).is_dir()

    found = {each: am.registry().labeler(each) for each in am.registry().labelers()}
    mine = [(each, cls) for each, cls in found.items() if cls.modality == name]
    return dict(sorted(mine, key=lambda item: (is_elsewhere(item[1]), item[0])))


def _labeled(modality: Any, scenes: list[dict[str, Any]]) -> tuple[str, list[Any]] | None:
    """The first labeler that works here without a network, with its values; the model must be able to read them."""
    for name, cls in labelers(modality.name).items():
        with suppress(AnymodalError):
            values = cls().label(scenes)
            modality.tokenize(values)
            return name, values
    return None


def _says_something(value: Any) -> bool:
    return not isinstance(value, (str, list, dict)) or bool(value)


def _exhibit(
    model: am.AnyModel,
    name: str,
    scenes: list[dict[str, Any]],
    camera: str,
    made: Mapping[str, Any],
    photographs: Mapping[str, Any],
) -> Exhibit:
    known = name in model.modalities
    modality = model.modalities[name] if known else am.registry().modality(name)()
    mine = [scene for scene in scenes if name in scene and _says_something(scene[name])]
    scene = (mine or scenes)[0]
    if mine:
        value, origin = scene[name], _origin(modality)
    elif name in made:
        value, origin = made[name], f"what `{PRESET}` writes, given the scene's {camera}"
    else:
        kinds = examples(modality)
        value, origin = kinds[len(kinds) // 2].value, "an example value, as the rules of conformance use it"
    shown = Exhibit(modality, known, value, origin, scene[camera], [scene[name] for scene in mine])
    if mine and known and name in model.modalities.targets:
        given = [camera] if name != camera else _conditions(model, scene)
        result = made[name] if scene is scenes[0] and name in made else _made(model, name, scene, given)
        shown = attrs.evolve(shown, made=result, given=given)
    shown = attrs.evolve(shown, photographs=_computed(modality, camera, photographs))
    return _with_tokens(shown) if known else shown


def _conditions(model: am.AnyModel, scene: Mapping[str, Any]) -> list[str]:
    """What a photograph is made from: whatever covers it and was not computed from it."""
    return [m.name for m in model.modalities if m.aligned and m.sizes and not (m.photographic or m.derived_from)]


def _made(model: am.AnyModel, name: str, scene: Mapping[str, Any], given: Sequence[str]) -> Any:
    return model.generate({each: scene[each] for each in given}, [name], seed=0)[name]


def _origin(modality: Any) -> str:
    return f"computed from {' and '.join(modality.derived_from)}" if modality.derived_from else "the truth"


def _computed(modality: Any, camera: str, photographs: Mapping[str, Any]) -> dict[str, tuple[Any, np.ndarray]]:
    """What a modality has of photographs without a network, each with the photograph."""
    found = {}
    for name, picture in photographs.items():
        photograph = am.registry().modality(camera)().accept(picture)
        if modality.photographic:
            found[name] = modality.accept(picture), photograph
        elif modality.derived_from == (camera,):
            found[name] = modality.derive({camera: photograph}), photograph
    return found


def _with_tokens(shown: Exhibit) -> Exhibit:
    modality = shown.modality
    streams = [stream for stream in modality.streams() if not stream.is_dense]
    if not streams:
        return shown
    tokens = {name: arrays[0] for name, arrays in modality.tokenize([shown.value]).items()}
    shown = attrs.evolve(shown, tokens={stream.name: tokens[stream.name] for stream in streams})
    if not shown.truths:
        return shown
    decoded = modality.detokenize(modality.tokenize(list(shown.truths))[modality.name])
    return attrs.evolve(shown, restored=decoded[0], score=modality.score(decoded, list(shown.truths)))
