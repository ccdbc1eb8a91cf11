"""What the encoder says of inputs, with the place of each token, for probes, retrieval and other heads.

Shapes: L layers, B samples, N input tokens, D width, H x W cells of a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor

from anymodal.config.tables import Table
from anymodal.errors import GenerationError, nearest
from anymodal.model.transformer import Transformer
from anymodal.spaces import Stream
from anymodal.tokens import Inputs, Layout


def mean_pool(states: Tensor, attended: Tensor) -> Tensor:
    """Means (..., D) of the tokens (..., N, D) that are `attended` (B, N); zeros where a sample has none."""
    weights = attended[..., None].to(states.dtype)
    return (states * weights).sum(-2) / weights.sum(-2).clamp_min(1)


POOLS: Table[Callable[[Tensor, Tensor], Tensor]] = Table("pool", {"mean": mean_pool})


@attrs.frozen(eq=False)
class Features:
    """Encoder states of one sample or of several.

    Of a single sample there is no axis B, and of the last layer alone no axis L.

    states: (L, B, N, D), or (L, B, D) if they were pooled; all of them normed.
    streams: (B, N) int64, which of `layout.streams` each token is of; -1 is padding.
    positions: (B, N) int64, its place in the stream: the cell of a grid (row by row), or the rank in a sequence.
    """

    states: Tensor
    streams: Tensor
    positions: Tensor
    layout: Layout
    pooled: bool = False

    @property
    def attended(self) -> Tensor:
        """Which tokens (B, N) are real; the others are padding."""
        return self.streams >= 0

    def map(self, name: str) -> Tensor:
        """The states of a grid where its cells are.

        Args:
            name: a stream such as ``rgb.pixels``, or a modality of which one grid was read.

        Returns:
            (L, B, H, W, D), without the axes that `states` lacks.

        Raises:
            GenerationError: it is no grid, not all of its cells were read, or the states were pooled.
        """
        if self.pooled:
            raise GenerationError(f"pooled features have no map of {name!r}: leave out pool")
        stream = self._grid(name)
        assert stream.space.shape is not None
        here, count = self.streams == self.layout.index[stream.name], stream.space.length
        if not bool((here.sum(-1) == count).all()):
            raise GenerationError(f"the inputs hold only a part of the grid {stream.name!r}; a map needs all of it")
        order = self.positions.masked_fill(~here, count).argsort(dim=-1, stable=True)[..., :count]
        index = order[..., None].expand(*self.states.shape[:-2], count, self.states.shape[-1])
        return self.states.gather(-2, index).unflatten(-2, stream.space.shape)

    def _grid(self, name: str) -> Stream:
        """The grid among the inputs that has the name, or is the only one of that modality."""
        read = [self.layout.streams[k] for k in self.streams.unique().tolist() if k >= 0]
        grids = [s for s in read if s.space.shape is not None]
        found = [s for s in grids if s.name == name] or [s for s in grids if s.modality == name]
        if len(found) != 1:
            names = [s.name for s in grids]
            known = f"grids among the inputs: {', '.join(names) or 'none'}"
            raise GenerationError(f"{name!r} is not one grid that was read{nearest(name, names)} ({known})")
        return found[0]

    def sample(self, number: int) -> Features:
        """The features of one sample of several, without padding."""
        real = self.attended[number]
        states = self.states[..., number, :] if self.pooled else self.states[..., number, real, :]
        return attrs.evolve(
            self, states=states, streams=self.streams[number, real], positions=self.positions[number, real]
        )


def features_of(
    model: Transformer, inputs: Inputs, layers: Sequence[int] | None = None, pool: str | None = None
) -> Features:
    """The features of packed inputs (B, N); gradients flow where the caller has them on.

    Args:
        model: the Transformer.
        inputs: on its device.
        layers: as for `Transformer.features`.
        pool: a name in `POOLS`, or None for the states of all tokens.

    Raises:
        ConfigError: there is no such block or pool.
    """
    pooling = None if pool is None else POOLS.choose(pool)
    registers = 0 if model.registers is None else len(model.registers)
    states, attended = model.features(inputs, layers)[..., registers:, :], inputs.streams >= 0
    starts = torch.tensor([model.layout.positions[s.name].start for s in model.layout.streams], device=states.device)
    positions = torch.where(attended, inputs.positions - starts[inputs.streams.clamp_min(0)], -1)
    if pooling is not None:
        states = pooling(states, attended)
    return Features(states, inputs.streams, positions, model.layout, pooling is not None)
