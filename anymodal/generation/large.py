"""Pictures larger than the model's, tile by tile; what has no place in a picture is made of the whole of it.

Conditions are cut alike for every tile. Where tokens are drawn, a tile goes on with those that its neighbors decided;
where they are not, tiles are made apart. Either way what they decode to is blended before it becomes a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from anymodal.crops import Crop
from anymodal.errors import GenerationError
from anymodal.families.codec import decoded_mean
from anymodal.families.grids import CroppedGrid
from anymodal.generation.logits import COLD
from anymodal.generation.plan import Target
from anymodal.generation.rng import SampleRng
from anymodal.generation.run import GenerationStep
from anymodal.generation.sampler import Sampler
from anymodal.generation.state import SampleState, StreamTokens
from anymodal.generation.tiles import Tiles, cut_to_shape, rounded, tiles_of
from anymodal.generation.values import Made, values_of
from anymodal.generation.views import has_place
from anymodal.modality import Modality
from anymodal.model import Transformer
from anymodal.plugins.guard import blame
from anymodal.progress import task
from anymodal.tokens import ModalitySet

TOGETHER = 16  # tiles that go through the model in one batch
OPEN = -1  # of a token that is not decided


@attrs.frozen(eq=False)
class Large:
    """A picture of several tiles to be made.

    inputs: natural values, those with a place cut to the shape of the picture.
    """

    modalities: ModalitySet
    plan: Sequence[Target]
    tiles: Tiles
    inputs: Mapping[str, Any]
    seed: int
    chain: bool = True

    def made(
        self, transformer: Transformer, progress: Callable[[GenerationStep], None] | None
    ) -> tuple[dict[str, Made], dict[str, np.ndarray]]:
        """The value of every target, and the tokens of those that are made of the whole picture."""
        known, found, choices = dict(self.inputs), dict[str, Made](), SampleRng(self.seed)
        tokens: dict[str, np.ndarray] = {}
        count = len(self.tiles.corners)
        with task("generating", sum(count if self._tiled(each) else 1 for each in self.plan)) as now:

            def tell(step: GenerationStep) -> None:
                tile = f", tile {step.sample + 1} of {count}" if self.modalities[step.target].aligned else ""
                now.advance(int(step.done), f"{step.target}{tile}")
                if progress is not None:
                    progress(step)

            for target in self.plan:
                modality, rng = self.modalities[target.stream], choices if self.chain else choices.copy()
                if self._tiled(target):
                    found[target.stream] = Made(self._in_tiles(transformer, target, known, rng, tell), "tiles")
                else:
                    read = self._states(known, [Crop()], [m for m in known if m != modality.name])
                    self._run(transformer, target, read, [rng], [0], tell)
                    tokens[target.stream] = read[0].streams[target.stream].values
                    found[target.stream] = values_of(self.modalities, target.stream, [read[0].streams[target.stream]])[
                        0
                    ]
                if self.chain:
                    known[target.stream] = found[target.stream].value
        return found, tokens

    def _tiled(self, target: Target) -> bool:
        return self.modalities[target.stream].aligned

    def _in_tiles(
        self,
        transformer: Transformer,
        target: Target,
        known: Mapping[str, Any],
        rng: SampleRng,
        tell: Callable[[GenerationStep], None],
    ) -> Any:
        """The value of a target over the whole picture."""
        modality: Any = self.modalities[target.stream]
        seen = [name for name in known if has_place(self.modalities[name])]
        canvas = _Canvas(self.tiles, modality)
        drawn = target.sampling.scheme.draws and target.sampling.temperature > COLD
        rngs, tensors = rng.branch(len(self.tiles.corners)), dict[int, np.ndarray]()
        for wave in self.tiles.waves() if drawn else [list(range(len(self.tiles.corners)))]:
            for start in range(0, len(wave), TOGETHER):
                numbers = wave[start : start + TOGETHER]
                states = self._states(known, [self.tiles.crop(k) for k in numbers], seen)
                for state, number in zip(states, numbers, strict=True) if drawn else ():
                    if len((before := canvas.tokens(number)).values):
                        state.put(target.stream, before)
                self._run(transformer, target, states, [rngs[k] for k in numbers], numbers, tell)
                tokens = [state.streams[target.stream] for state in states]
                for number, mine in zip(numbers, tokens, strict=True):
                    canvas.put(number, mine.values)
                with blame(modality, "detokenize", tokens[0].values):
                    tensors |= dict(zip(numbers, _tensors(modality, tokens), strict=True))
        with blame(modality, "postprocess", tensors[0]):
            return modality.postprocess(self.tiles.blended([tensors[k] for k in range(len(tensors))]))

    def _run(
        self,
        transformer: Transformer,
        target: Target,
        states: Sequence[SampleState],
        rngs: Sequence[SampleRng],
        numbers: Sequence[int],
        tell: Callable[[GenerationStep], None],
    ) -> None:
        for step in Sampler(transformer).run(states, [target], rngs):
            tell(step.of(numbers[step.sample], self.modalities))

    def _states(self, known: Mapping[str, Any], crops: Sequence[Crop], seen: Sequence[str]) -> list[SampleState]:
        """What is known of each crop of the picture; values without a place stay as they are."""
        states = []
        for crop in crops:
            values = {}
            for name in seen:
                with blame(self.modalities[name], "crop", known[name]):
                    values[name] = self.modalities[name].crop(known[name], crop)
            states.append(SampleState(self.modalities.layout, self.modalities.condition(values)))
        return states


class _Canvas:
    """The tokens of one target over the whole picture."""

    def __init__(self, tiles: Tiles, modality: CroppedGrid) -> None:
        self.tiles, self.books, self.side = tiles, modality.codebooks, modality.side
        self.patch = tiles.side // modality.side  # in pixels of the tiles, which may be finer than the modality's
        self.ids = np.full((tiles.height // self.patch, tiles.width // self.patch * self.books), OPEN)

    def _window(self, number: int) -> tuple[slice, slice]:
        left, top = (at // self.patch for at in self.tiles.corners[number])
        return slice(top, top + self.side), slice(left * self.books, (left + self.side) * self.books)

    def tokens(self, number: int) -> StreamTokens:
        """Those of a tile that are decided."""
        ids = self.ids[self._window(number)].reshape(-1)
        return StreamTokens(ids[ids != OPEN], np.flatnonzero(ids != OPEN))

    def put(self, number: int, ids: np.ndarray) -> None:
        """Decide those of a tile."""
        window = self._window(number)
        self.ids[window] = ids.reshape(self.ids[window].shape)


def _tensors(modality: CroppedGrid, tokens: Sequence[StreamTokens]) -> list[np.ndarray]:
    """What the tokens of tiles decode to, before it is a natural value (C, h, w)."""
    estimated = [each.probabilities for each in tokens if each.probabilities is not None]
    if len(estimated) == len(tokens):
        return decoded_mean(modality, estimated, shape=modality.shape_of(estimated), steps=modality.denoising_steps)
    return modality.tensors_of([each.values for each in tokens])


def large_of(
    modalities: ModalitySet,
    inputs: Mapping[str, Any],
    plan: Sequence[Target],
    size: object,
    overlap: object,
    seed: int,
    chain: bool,
) -> Large:
    """The picture that is asked for.

    Args:
        modalities: those of the model.
        inputs: plain values.
        plan: the targets.
        size: (width, height) in pixels of the finest target, or "input" for about that of the first picture among the
            inputs. A target of which the model has fewer pixels has as many less.
        overlap: the least share of a tile that its neighbor has too.
        seed: of the sample.
        chain: whether each target becomes a condition of the next.

    Raises:
        GenerationError: an input or a target cannot be cut to tiles, or the size does not fit the model.
        ConfigError: the overlap cannot be.
        AnymodalError: a value cannot be read, or a plugin failed.
    """
    tiled: list[Any] = [modalities.owner(target.stream) for target in plan if modalities.owner(target.stream).aligned]
    _check(modalities, inputs, plan, tiled)
    side = max(each.size for each in tiled)
    unit = math.lcm(*(side // each.side for each in tiled))
    values, extents = {}, {}
    for name, value in inputs.items():
        with blame(modalities[name], "accept", value):
            values[name] = modalities[name].accept(value)
            extents[name] = modalities[name].extent(values[name])
    common = next((extent for extent in extents.values() if extent), None)
    if size == "input":
        if common is None:
            raise GenerationError("size 'input' is that of a picture among the inputs, and there is none: say which")
        size = tuple(rounded(each, side, unit) for each in common)
    tiles = tiles_of(size, overlap, side, unit)
    cut = {name: _cut(modalities[name], value, extents[name] or common, tiles) for name, value in values.items()}
    return Large(modalities, plan, tiles, cut, seed, chain)


def _check(
    modalities: ModalitySet, inputs: Mapping[str, Any], plan: Sequence[Target], tiled: Sequence[Modality]
) -> None:
    """Raise GenerationError where something cannot be cut to tiles."""
    out = "leave it out, or leave out size"
    if not tiled:
        raise GenerationError("size is for targets that cover the picture, and none of them does: leave it out")
    for name in inputs:
        if not has_place(modalities[name]):
            raise GenerationError(
                f"the input {name!r} is of the whole picture and has no place in a tile of {tiled[0].name!r}: {out}"
            )
    for target in plan:
        modality = modalities.owner(target.stream)
        if target.stream != modality.name:
            raise GenerationError(f"{target.stream!r} cannot be made in tiles: upscale what was made without size")
        if modality.aligned and not isinstance(modality, CroppedGrid):
            raise GenerationError(f"{modality.name!r} has no grid of squares that could be cut to tiles: {out}")
        if modality.aligned and target.sampling.samples > 1:
            raise GenerationError(f"{modality.name!r} is drawn once in each tile: leave 'samples' at 1 with a size")
    grids = [modality for modality in tiled if isinstance(modality, CroppedGrid)]
    finest = max(grids, key=lambda modality: modality.size)
    for grid in grids:
        if finest.size % grid.side:
            raise GenerationError(
                f"the {grid.side} x {grid.side} tokens of {grid.name!r} do not fit into the {finest.size}"
                f" pixels of {finest.name!r}: make one at a time"
            )


def _cut(modality: Modality, value: Any, extent: tuple[float, float] | None, tiles: Tiles) -> Any:
    """The centered part of an input that has the shape of the picture, in its own pixels."""
    if extent is None:
        return value
    crop = cut_to_shape(extent, tiles.width, tiles.height)
    if crop == Crop():
        return value
    with blame(modality, "crop", value):
        if not isinstance(modality, CroppedGrid):
            return modality.crop(value, crop)
        width, height = value.shape[1], value.shape[0]
        left, top = round(crop.left * width), round(crop.top * height)
        return value[top : top + round(crop.height * height), left : left + round(crop.width * width)]
