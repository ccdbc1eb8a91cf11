"""Which of several draws fits what was given best, by the model's own opinion.

Shapes: N draws, M tokens, V ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from anymodal.generation.state import SampleState, StreamTokens
from anymodal.model import Transformer
from anymodal.model.precision import products
from anymodal.spaces import Stream, TokenSpace
from anymodal.tokens import NO_LABEL, Inputs, Layout, Packed, Packer, Targets, collate

TOGETHER = 64  # draws that are read in one pass


@torch.inference_mode()
def likelihoods(
    transformer: Transformer, read: Stream, draws: Sequence[np.ndarray], given: Stream, known: Sequence[np.ndarray]
) -> np.ndarray:
    """How likely the model finds tokens that were given when it sees one draw of a target and nothing else.

    Those of a sequence are read one after the other, those of a grid all in one pass, each without the others.

    Args:
        transformer: the model.
        read: the stream of the draws.
        draws: N draws, ids (n,) each.
        given: the stream of the tokens that are judged, one that the model can generate.
        known: of each draw the ids (M,) that are judged.

    Returns:
        (N,) float64, the sum of the log probabilities of the tokens.
    """
    layout, device, found = transformer.layout, transformer.input_table.device, list[float]()
    for start in range(0, len(draws), TOGETHER):
        packed = [
            Packed(_seen(layout, read, own), _asked(layout, given, ids))
            for own, ids in zip(draws[start : start + TOGETHER], known[start : start + TOGETHER], strict=True)
        ]
        batch = collate(packed, layout, 1).to(device)
        assert batch.targets is not None
        labels = batch.targets.labels
        with products(transformer):
            states = transformer.decode(batch.targets, transformer.encode(batch.inputs))
        for row, own in zip(states, labels, strict=True):
            here = own != NO_LABEL
            with products(transformer):
                scores = transformer.logits(row[here], given.name)
            scores = scores.float().log_softmax(-1)
            found.append(float(scores.gather(-1, own[here][:, None]).double().sum()))
    return np.array(found)


def _seen(layout: Layout, stream: Stream, ids: np.ndarray) -> Inputs:
    return SampleState(layout, {stream.name: StreamTokens.whole(ids)}).pack().inputs


def _asked(layout: Layout, stream: Stream, ids: np.ndarray) -> Targets | None:
    space, packer = stream.space, Packer(layout)
    assert isinstance(space, TokenSpace)
    if stream.is_sequence:
        packer.add_sequence_target(stream.name, np.concatenate([[space.sentinel(1)], ids[: space.length]]))
    else:
        packer.add_grid_target(stream.name, ids, np.arange(len(ids)))
    return packer.pack().targets
