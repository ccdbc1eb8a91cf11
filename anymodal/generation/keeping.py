"""What of the targets is given: masks and parts that are kept, what sequences begin with, and the tokens of both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from anymodal.content import is_file, path_of
from anymodal.crops import Crop, center_crops
from anymodal.errors import GenerationError, ValueProblem, brief, counted, nearest
from anymodal.families.blanks import kept_parts
from anymodal.families.grids import resize
from anymodal.families.picture_files import read_picture, upright
from anymodal.families.pictures import is_picture, samples_of
from anymodal.generation.state import StreamTokens
from anymodal.partial import Partial
from anymodal.plugins.guard import blame
from anymodal.tokens import ModalitySet

Keep = Mapping[str, Any]
Start = Mapping[str, Any]
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp")
EXAMPLES = {"keep": "{'rgb': mask}", "start": "{'caption': 'a red'}"}
ASPECT = 0.02  # by how much the shape of a mask may differ from that of its picture


def check_keep(keep: Iterable[str], names: Collection[str], modalities: ModalitySet, option: str = "keep") -> None:
    """Raise GenerationError where what is kept, or begun with (`option` "start"), is no main stream of a target."""
    for name in keep:
        if name not in names:
            raise GenerationError(f"{option} names {name!r}, which is not a target{nearest(str(name), names)}")
        if name not in modalities:
            raise GenerationError(f"{option} names {name!r}; only the main stream of a modality can be given in part")


def seen_once(names: Iterable[str], kept: Collection[str], begun: Iterable[str]) -> dict[str, str]:
    """Which targets are made of one view of what is given, and why: those that begin with something, or all beside a
    part that is kept, for this is a part of the one picture."""
    if kept:
        return dict.fromkeys(names, f"a part of {min(kept)!r} is kept")
    return dict.fromkeys(begun, "it begins with what is given")


def beginnings_of(
    modalities: ModalitySet, start: Start, inputs: Mapping[str, Any], kept: Collection[str]
) -> dict[str, Partial]:
    """What each target that begins with something begins with; boxes and the like are cut as the inputs are.

    Args:
        modalities: those of the model.
        start: plain values, by name.
        inputs: the inputs as they were given.
        kept: names of targets of which a part is kept.

    Raises:
        GenerationError: a modality is no sequence, or its target is kept in part as well.
        PluginError: a modality failed.
    """
    if both := [name for name in start if name in kept]:
        raise GenerationError(f"{both[0]!r} is kept in part and cannot begin with something too: leave out one of them")
    values = modalities.accept({**inputs, **start}) if start else {}
    found = {}
    for name in start:
        with blame(modalities[name], "beginning", values[name]):
            found[name] = modalities[name].beginning(values[name])
    return found


def read_once(modalities: ModalitySet, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Natural values of inputs, not cut: what is given may be an open file, which can be read once only.

    Raises PluginError where a modality failed.
    """
    values = {}
    for name, value in inputs.items():
        modality = modalities[name]
        with blame(modality, "accept", value):
            values[name] = modality.accept(value)
    return values


def partials_of(
    modalities: ModalitySet, keep: Keep, whole: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Partial]:
    """The kept part of each target that has one.

    Args:
        modalities: those of the model.
        keep: what is kept, by name.
        whole: natural values of the inputs, not cut.
        values: the same, cut to what is seen.

    Raises:
        GenerationError: a modality has no parts, a mask does not fit its picture, or a part is not seen.
        PluginError: a modality failed.
    """
    partials = {}
    for name, kept in keep.items():
        modality, space = modalities[name], modalities.layout[name].space
        with blame(modality, "partial", kept):
            if space.shape is not None and modality.aligned:
                kept = cut_mask(name, kept, modality.extent(whole[name]))
            value = values.get(name)
            if isinstance(kept, (list, tuple)) and isinstance(value, list) and len(value) < len(whole[name]):
                value, kept = seen_parts(modalities, name, kept, whole), True
            partials[name] = modality.partial(value, kept)
    return partials


def seen_parts(modalities: ModalitySet, name: str, kept: object, whole: Mapping[str, Any]) -> list[Any]:
    """The parts of a list that `kept` numbers as they are given, cut to what is seen.

    `whole` are natural values of the sample, not cut. Raises GenerationError for one that is not seen.
    """
    chosen = kept_parts(whole[name], kept, name)
    seen: list[Any] = cut_beside(modalities, name, chosen, whole)
    if lost := len(chosen) - len(seen):
        raise GenerationError(
            f"{lost} of the {len(chosen)} parts of {name!r} that are kept lie outside of the square that is seen: leave"
            " them out"
        )
    return seen


def cut_beside(modalities: ModalitySet, name: str, value: Any, whole: Mapping[str, Any]) -> Any:
    """A natural value of the modality `name`, cut as the others of its sample are. Raises PluginError."""
    extents = {each: modalities[each].extent(own) for each, own in {**whole, name: value}.items()}
    with blame(modalities[name], "crop", value):
        return modalities[name].crop(value, center_crops(extents)[name])


def tokens_of(partial: Partial) -> StreamTokens:
    """The known tokens of a target of which a part is kept."""
    if partial.positions is None:
        return StreamTokens.whole(partial.tokens)
    return StreamTokens(partial.tokens, partial.positions)


def cut_mask(name: str, value: Any, extent: tuple[float, float] | None) -> np.ndarray:
    """The mask (H, W) of a picture with this extent, cut to its centered square: True is kept.

    Args:
        name: of the modality, for messages.
        value: a file, a picture or an array (H, W), kept where it is not 0, or white.
        extent: (width, height) of the picture; None if it is unknown.

    Raises GenerationError for what is no mask, or has another shape than the picture.
    """
    if is_file(value):
        with path_of(value, MASK_SUFFIXES) as path:
            value = read_picture(path)
    array, top = _plane(name, value)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "buif" or not np.isfinite(array).all():
        raise GenerationError(
            f"a mask of {name!r} is a picture or an array (H, W), kept where not 0, got {brief(value)}"
        )
    height, width = array.shape
    if extent is not None and abs(width / height / (extent[0] / extent[1]) - 1) > ASPECT:
        raise GenerationError(
            f"the mask of {name!r} has {width} x {height} pixels, another shape than its picture"
            f" ({extent[0]:.0f} x {extent[1]:.0f})"
        )
    limit = top / 2 if array.max() > 1 else 0
    crop, side = Crop.center(width, height), max(width, height)
    box = (crop.left * width, crop.top * height, (crop.left + crop.width) * width, (crop.top + crop.height) * height)
    return resize((array > limit).astype(np.uint8), side, box, nearest=True) > 0


def _plane(name: str, value: Any) -> tuple[np.ndarray, float]:
    """A mask as one number a pixel, and the number of white, 0 where none is stated. Raises GenerationError."""
    if is_picture(value):
        try:
            samples, white = samples_of(upright(value))
        except ValueProblem as error:
            raise GenerationError(f"the mask of {name!r} cannot be used: {error}") from None
        return samples, white or 0
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.empty(0)
    if (
        array.ndim == 3 and array.shape[2] in (1, 3) and (array == array[..., :1]).all()
    ):  # gray that was saved in colors
        array = array[..., 0]
    return array, float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 0


def kept_for_each(keep: Keep | Sequence[Keep] | None, inputs: Sequence[Mapping[str, Any]]) -> list[Keep]:
    """What is kept of each sample: the same of all, or a list with one for each.

    Raises GenerationError for what is no such dict, or names what is not given.
    """
    each = for_each("keep", keep, len(inputs))
    for mine, given in zip(each, inputs, strict=True):
        for name in mine:
            if name not in given:
                near = nearest(str(name), given)
                raise GenerationError(f"keep names {name!r}, which is not an input{near}: give the value to keep")
    return each


def for_each(option: str, given: Keep | Sequence[Keep] | None, count: int) -> list[Keep]:
    """A dict for each of `count` samples: the same of all, or a list of them. Raises GenerationError for others."""
    each: list[Any] = list(given) if isinstance(given, (list, tuple)) else [{} if given is None else given] * count
    if len(each) != count:
        raise GenerationError(
            f"{option} has {counted(len(each), 'entry')} for {counted(count, 'sample')}; give one each, or one for all"
        )
    for mine in each:
        if not isinstance(mine, Mapping):
            raise GenerationError(f"{option} is a dict such as {EXAMPLES[option]}, got {brief(mine)}")
    return each
