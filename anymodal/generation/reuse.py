"""What a grid is decoded from, encoded anew every few steps alone: in between, only what was decided is added.

The idea is that of ReCAP (arXiv 2505.19089), here for an encoder whose output a decoder reads.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from anymodal.generation.state import SampleState, StreamTokens, packed
from anymodal.model import Transformer
from anymodal.model.reading import Reading
from anymodal.spaces import Stream
from anymodal.tokens import Inputs, Packed, collate

Unseen = tuple[Collection[str], Collection[str]]  # what a pass does not see: hidden and absent streams


class Reuse:
    """What the passes of guidance read of the samples of one target; everything is encoded in every `refresh`-th step.

    A sample is in a batch from the first step on, until it is done, so that others change nothing.
    """

    def __init__(self, transformer: Transformer, stream: Stream, refresh: int) -> None:
        self.transformer, self.stream, self.refresh = transformer, stream, refresh
        self.age = 0
        self._readings: list[Reading] = []
        self._states: list[SampleState] = []
        self._known: list[np.ndarray] = []  # what was read of the target, of each sample: see `_ids`

    def read(self, states: Sequence[SampleState], passes: Sequence[Unseen]) -> list[Reading]:
        """What each pass reads of samples after what was decided in the step before; see `SampleState.seen`."""
        places = {id(state): row for row, state in enumerate(self._states)}
        rows = [places[id(state)] for state in states if id(state) in places]
        now = [self._ids(state) for state in states]
        if self.age % self.refresh == 0 or len(rows) < len(states):
            self._readings = [
                Reading(self.transformer, self._batch([state.pack(*unseen) for state in states])) for unseen in passes
            ]
        else:
            if rows != list(range(len(places))):
                for reading in self._readings:
                    reading.keep(self._tensor(rows))
            if self.stream.input:
                self._add([self._known[row] for row in rows], now)
        self.age += 1
        self._states, self._known = list(states), now
        return self._readings

    def _add(self, before: Sequence[np.ndarray], now: Sequence[np.ndarray]) -> None:
        """Hide what is known no more, and add what was decided."""
        layout, name = self.transformer.layout, self.stream.name
        added = []
        for row, (old, new) in enumerate(zip(before, now, strict=True)):
            gone, fresh = ((ids >= 0) & (old != new) for ids in (old, new))
            if gone.any():
                hidden = self._tensor(layout.positions[name].start + np.flatnonzero(gone))
                for reading in self._readings:
                    reading.hide(row, layout.index[name], hidden)
            added.append(packed(layout, {name: StreamTokens(new[fresh], np.flatnonzero(fresh))}))
        batch = self._batch(added)
        for reading in self._readings:
            reading.add(batch)

    def _ids(self, state: SampleState) -> np.ndarray:
        """The id at each position of the target, -1 where it is open."""
        ids = np.full(self.transformer.layout.positions[self.stream.name].size, -1)
        if (tokens := state.streams.get(self.stream.name)) is not None:
            ids[tokens.positions] = tokens.values
        return ids

    def _batch(self, samples: Sequence[Packed]) -> Inputs:
        return collate(samples, self.transformer.layout, input_tokens=1).to(self.transformer.input_table.device).inputs

    def _tensor(self, numbers: Sequence[int] | np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(numbers, np.int64), device=self.transformer.input_table.device)
