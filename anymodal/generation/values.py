"""Natural values of generated tokens, finished or not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import attrs
import numpy as np

from anymodal.generation.state import StreamTokens
from anymodal.plugins.guard import blame
from anymodal.spaces import Stream
from anymodal.tokens import ModalitySet


def values_of(modalities: ModalitySet, name: str, tokens: Sequence[StreamTokens]) -> list[Any]:
    """Natural values of a target, one for each sample, decoded at once.

    They are decoded from the mean codes where probabilities were estimated, and merged where several were drawn.

    Args:
        modalities: those of the model.
        name: the target.
        tokens: all tokens of the target, of each sample.

    Raises:
        PluginError: the modality failed.
    """
    modality = modalities.owner(name)
    estimated = [each.probabilities for each in tokens if each.probabilities is not None]
    if len(estimated) == len(tokens):
        with blame(modality, "expect"):
            return modality.expect(estimated)
    if all(each.draws for each in tokens):
        drawn = iter(modalities.detokenize_stream(name, [ids for each in tokens for ids in each.draws]))
        with blame(modality, "merge"):
            return [modality.merge(list(islice(drawn, len(each.draws)))) for each in tokens]
    return modalities.detokenize_stream(name, [each.values for each in tokens])


def made_otherwise(tokens: StreamTokens) -> str:
    """What makes the value of tokens another than they decode to: "mean", "merge" of several draws, or ""."""
    if tokens.probabilities is not None:
        return "mean"
    return "merge" if len(tokens.draws) > 1 else ""


def completed(stream: Stream, tokens: StreamTokens) -> StreamTokens:
    """Tokens that can be decoded as a preview: every open position of a grid is like the nearest decided one."""
    length = stream.space.length
    if stream.is_sequence or len(tokens.positions) in (0, length):
        return tokens
    columns = stream.space.shape[1] if stream.space.shape else length
    cells = np.stack(np.divmod(np.arange(length), columns), 1)
    distances = np.abs(cells[:, None] - cells[tokens.positions][None]).sum(-1)
    return attrs.evolve(tokens, values=tokens.values[distances.argmin(1)], positions=np.arange(length))
