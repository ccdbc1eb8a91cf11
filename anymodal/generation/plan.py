"""From what a user asks for to a plan: which targets, how each is sampled, and what guides them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from anymodal.errors import ConfigError, GenerationError, UnknownModality, brief, nearest
from anymodal.families.grids import CroppedGrid
from anymodal.families.shared import SharedModality
from anymodal.families.text import StructuredModality
from anymodal.generation.views import has_place
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.sampling import SCHEMES, Sampling
from anymodal.sampling.guidance import Guidance, as_guidance, check_guides
from anymodal.sampling.schemes.mean import Mean
from anymodal.sampling.spelling import parsed
from anymodal.tokens import ModalitySet

Weights = Mapping[str, float | str | Guidance]
OPTIONS = tuple(field.name for field in attrs.fields(Sampling))
FINER = Sampling(scheme="maskgit", steps=8, schedule="cosine", temperature=1.0, guidance=2.0)  # 4M, arXiv 2312.06647


@attrs.frozen
class Target:
    """One target of a plan.

    stream: what is generated.
    sampling: how.
    weights: of conditions by stream name, each of which then guides alone.
    conditions: the streams that guidance by one scale hides; None: all others.
    """

    stream: str
    sampling: Sampling
    weights: Mapping[str, float | Guidance] | None = None
    conditions: Collection[str] | None = None


def chosen_targets(modalities: ModalitySet, requested: str | Sequence[str] | None, given: Collection[str]) -> list[str]:
    """The names of the targets: those requested, by default all that are not given.

    A list may hold "all" and, after a minus, what to leave out of it: ["all", "-clip"]. Raises GenerationError.
    """
    possible, layout = modalities.targets, modalities.layout
    open_targets = [name for name in possible if name not in given]
    asked = ["all"] if requested is None else [requested] if isinstance(requested, str) else requested
    if not isinstance(asked, (list, tuple)) or not all(isinstance(name, str) for name in asked):
        raise GenerationError(f"targets are a name or a list of names, got {brief(requested)}")
    names = _without_left_out(asked, open_targets)
    if not names:
        why = "all that the model can make is given" if asked else f"name a target: {', '.join(possible)}"
        raise GenerationError(f"there is nothing to generate: {why}")
    for name in names:
        modality = modalities.owner(name)
        if name not in possible and not (name in layout and layout[name].target):
            raise GenerationError(
                f"{modality.name!r} is input-only and cannot be generated; targets: {', '.join(possible)}"
            )
        if name in given:
            raise GenerationError(f"{name!r} is both an input and a target; leave out one, or say with keep what stays")
        if names.count(name) > 1:
            raise GenerationError(f"the target {name!r} is named twice")
    return names


def _without_left_out(asked: Sequence[str], possible: Sequence[str]) -> list[str]:
    """The names of a list in which "all" stands for those that are possible, and -NAME takes one of them away."""
    left_out = [name[1:] for name in asked if name.startswith("-")]
    named = [name for name in asked if name != "all" and not name.startswith("-")]
    if left_out and "all" not in asked:
        raise GenerationError(f"-{left_out[0]} leaves out one of all targets; write all,-{left_out[0]}")
    for name in left_out:
        if name not in possible:
            known = ", ".join(possible) or "none"
            raise GenerationError(f"{name!r} cannot be left out{nearest(name, possible)}; targets: {known}")
    kept = [name for name in possible if name not in left_out] if "all" in asked else []
    if left_out and not kept and not named:
        raise GenerationError("all targets are left out; name one to generate")
    return [*kept, *(name for name in named if name not in kept)]


def finer_streams(modalities: ModalitySet, made: Collection[str], asked: str | Sequence[str] | None) -> dict[str, str]:
    """The finer stream of each of the targets asked for, by default of all that were `made`, pictures last.

    Raises:
        GenerationError: there is none, or a target that was not made or has no finer stream.
    """
    finer = {s.modality: s.name for s in modalities.layout.streams if s.target and s.name != s.modality}
    possible = [n for n in sorted(finer, key=lambda name: modalities[name].photographic) if n in made]
    names = [asked] if isinstance(asked, str) else list(asked or possible)
    for name in names:
        if name not in possible:
            known = ", ".join(possible) or "none"
            raise GenerationError(f"{name!r} cannot be upscaled{nearest(name, finer)}; can be: {known}")
    if not names:
        raise GenerationError(
            f"nothing to upscale: this model has finer {', '.join(finer) or 'nothing'}, the outputs hold "
            f"{', '.join(made)}"
        )
    return {name: finer[name] for name in names}


def make_plan(
    modalities: ModalitySet,
    names: Sequence[str],
    given: Collection[str],
    weights: Weights | None,
    options: Mapping[str, Mapping[str, Any]] | None,
    common: Mapping[str, Any],
    default: Sampling | None = None,
    seen_once: Mapping[str, str] | None = None,
) -> list[Target]:
    """A target for each name.

    Args:
        modalities: those of the model.
        names: the targets in order, modalities or streams.
        given: the names of the inputs.
        weights: of inputs that guide, in the place of the guidance that plugin and checkpoint say.
        options: sampling options of single targets.
        common: sampling options of all targets; those that do not fit a target are left out for it.
        default: where sampling starts from; None: what the plugin and the checkpoint say.
        seen_once: targets that are made of one view, whatever they are, and why.

    Raises:
        ConfigError: an option does not exist or cannot have its value.
        UnknownModality: a name is not in the set, or options name what is no target.
        GenerationError: weights name what is not given or stand beside a guidance that was asked for, a target cannot
            merge several samples or its scheme has none, it cannot be made of several views, or weights or options are
            no dict.
    """
    for what, each, example in (("weights", weights, "{'rgb': 2}"), ("options", options, "{'depth': {'steps': 8}}")):
        if each is not None and not isinstance(each, Mapping):
            raise GenerationError(f"{what} are a dict such as {example}, got {brief(each)}")
    grounded = is_grounded(modalities, given)
    for name, own in (options or {}).items():
        if not isinstance(own, Mapping):
            raise GenerationError(f"the options of {name!r} are a dict such as {{'steps': 8}}, got {brief(own)}")
        if name not in names:
            raise UnknownModality(f"options name {name!r}, which is not a target{nearest(str(name), names)}")
    Sampling(**{key: value for key, value in common.items() if key in OPTIONS})  # also what fits no target is checked
    check_guides(weights, common, options or {})
    by_stream = _weights_by_stream(modalities, weights, given) if weights else None
    plan = []
    for name in names:
        modality = modalities.owner(name)
        with blame(modality, "sampling"):
            start = default or (modality.tuned_sampling(grounded) if name == modality.name else FINER)
        own = (options or {}).get(name, {})
        how = _changed(start, modality, name, common, own, given)
        _check_choice(modalities, name, how, given)
        why = (seen_once or {}).get(name) or _one_view(modalities, modality, how, given)
        if why and own.get("views", 1) != 1:
            raise GenerationError(f"{name!r} cannot be made of several views: {why}; leave 'views' at 1")
        how = attrs.evolve(how, views=1 if why else _shared(modality, how))
        plan.append(Target(name, attrs.evolve(how, guidance=1.0) if by_stream else how, by_stream))
    return plan


def is_grounded(modalities: ModalitySet, given: Collection[str]) -> bool:
    """Whether a photographic modality is among the inputs."""
    return any(modalities.owner(name).photographic for name in given)


def chained(asked: bool | None, usual: Mapping[str, bool], modalities: ModalitySet, given: Collection[str]) -> bool:
    """Whether targets are made one from another: as is asked for, or as is `usual` of the checkpoint.

    Raises ConfigError for what is no flag: any text would count as True.
    """
    if asked is not None and not isinstance(asked, bool):
        raise ConfigError(f"chain is True, False or None, got {brief(asked)}")
    situation = "grounded" if is_grounded(modalities, given) else "free"
    return usual.get(situation, True) if asked is None else asked


def _check_choice(modalities: ModalitySet, name: str, how: Sampling, given: Collection[str]) -> None:
    """Raise GenerationError where no input can choose among draws as the options of a target say."""
    chooser = how.choose
    if not chooser:
        return
    if chooser not in given:
        hint = nearest(chooser, given) or f"; inputs are {', '.join(sorted(given)) or 'none'}"
        raise GenerationError(f"choose names {chooser!r}, which is not an input{hint}")
    if not how.scheme.draws:
        raise GenerationError(
            f"{chooser!r} cannot choose among draws of {name!r}: the scheme {how.scheme} draws nothing, set another"
        )
    if how.samples == 1:
        raise GenerationError(f"{chooser!r} cannot choose among one draw of {name!r}: set samples")
    layout = modalities.layout
    if chooser not in modalities.input_streams(chooser) or not layout[chooser].target:
        raise GenerationError(
            f"{chooser!r} cannot choose among draws of {name!r}: the model does not generate what it reads of it;"
            " name another input, or leave out choose"
        )
    if not layout[name].input or layout[name].is_sequence:
        raise GenerationError(f"{name!r} is no grid that the model reads, so that {chooser!r} cannot choose one")


def _one_view(modalities: ModalitySet, modality: Modality, how: Sampling, given: Collection[str]) -> str:
    """Why a target is made of one view of what is given; "" where it can be made of several."""
    if not how.scheme.sequences and not isinstance(how.scheme, Mean):
        return f"the scheme {how.scheme} takes no mean"
    if not how.scheme.sequences and not isinstance(modality, CroppedGrid):
        return "it does not lie in the picture"
    if isinstance(modality, CroppedGrid) and _own(modality, CroppedGrid, "expect", "expect_views"):
        return "its class makes the value of a mean in its own way"
    if how.scheme.sequences and has_place(modality):
        if how.samples == 1 or not how.scheme.draws:
            return "each draw sees one of them, and there is one draw"
        if how.samples % 2:
            return f"half of the draws are of the mirrored one, and there are {how.samples}"
        if not isinstance(modality, StructuredModality):
            return "its draws cannot be put back into the picture"
        if _own(modality, StructuredModality, "averaged", "averaged_views"):
            return "its class makes one value of several draws in its own way"
    members = modality.members.values() if isinstance(modality, SharedModality) else ()
    if len({has_place(each) for each in members}) > 1:
        return "only some of what it holds lies in the picture"
    givers = [modalities.owner(name) for name in sorted(given)]
    fixed = [each.name for each in givers if not has_place(each)]
    if fixed:
        return f"{fixed[0]!r} cannot be seen in another way"
    return "" if any(isinstance(each, CroppedGrid) for each in givers) else "no picture is given"


def _own(modality: Modality, base: type[Modality], plain: str, of_views: str) -> bool:
    """Whether a class has a method of its own in the place of `plain` of its base, and none for several views."""
    return getattr(type(modality), plain) is not getattr(base, plain) and (
        getattr(type(modality), of_views) is getattr(base, of_views)
    )


def _shared(modality: Modality, how: Sampling) -> int:
    """How many views there are: of boxes and the like two, the mirrored one too."""
    return min(how.views, 2) if how.scheme.sequences and has_place(modality) else how.views


def _weights_by_stream(modalities: ModalitySet, weights: Weights, given: Collection[str]) -> dict[str, Guidance]:
    result: dict[str, Guidance] = {}
    for name, weight in weights.items():
        if name not in given:
            raise GenerationError(f"weights name {name!r}, which is not an input{nearest(str(name), given)}")
        try:
            strength = as_guidance(weight)
        except ConfigError as error:
            raise GenerationError(f"the weight of {name!r} must be a number or a guidance: {error}") from None
        if strength.rescale:
            raise GenerationError(
                f"the weight of {name!r} is {strength}, which is for all inputs at once: set guidance"
            )
        result |= dict.fromkeys(modalities.input_streams(name), strength)
    return result


def _changed(
    start: Sampling,
    modality: Modality,
    name: str,
    common: Mapping[str, Any],
    own: Mapping[str, Any],
    given: Collection[str],
) -> Sampling:
    """Sampling with a user's changes; common ones that do not fit the target are left out.

    A model may draw several by default. A scheme that draws nothing makes one value all the same; beams are merged if
    several are asked for. An input that chooses by default does so among as many as are asked for; where it is not
    given there is one draw, unless several are asked for.
    """
    for key in [*common, *own]:
        if key not in OPTIONS:
            raise ConfigError(
                f"there is no sampling option {key!r}{nearest(key, OPTIONS)}; options: {', '.join(OPTIONS)}"
            )
    fitting = dict(common)
    if "scheme" in common and start.scheme.sequences != parsed(common["scheme"], SCHEMES).sequences:
        del fitting["scheme"]
    if "choose" in common and start.scheme.sequences:
        del fitting["choose"]
    if not modality.averages:
        fitting.pop("samples", None)
        fitting.pop("choose", None)
        if own.get("samples", 1) != 1:
            raise GenerationError(f"{name!r} cannot merge several samples: leave 'samples' at 1")
    asked = fitting | dict(own)
    changed = attrs.evolve(start, **asked)
    single = not changed.scheme.draws and not changed.scheme.sequences
    if single and own.get("samples", 1) != 1:
        raise GenerationError(
            f"the scheme {changed.scheme} makes one value of {name!r}, of which there are no several samples: leave"
            " 'samples' at 1, or set a scheme that draws, such as roar"
        )
    alone = single or ("samples" not in asked and "scheme" in asked and not changed.scheme.draws)
    idle = changed.samples == 1 or not changed.scheme.draws or start.choose not in given
    if start.choose and "choose" not in asked and idle:
        changed = attrs.evolve(changed, choose="", samples=asked.get("samples", 1))
    return attrs.evolve(changed, samples=1) if alone else changed
