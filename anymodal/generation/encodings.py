"""What samples are encoded to; what was encoded before is not encoded again.

Shapes: B samples, N input tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from anymodal.generation.state import StreamTokens, packed
from anymodal.model import Context, Transformer
from anymodal.model.precision import products
from anymodal.tokens import collate

ALIKE = 0.75
MOST = 2**27  # bytes of encodings that are remembered

Seen = tuple[tuple[str, StreamTokens], ...]  # what is read of a sample; tokens never change, so they tell it apart


class Encodings:
    """The encoder of a model over what passes see of samples.

    Samples of which the same is seen are encoded once. What is encoded before a target has tokens of its own may be
    asked for again, by other targets and their passes of guidance: it is remembered.
    """

    def __init__(self, transformer: Transformer) -> None:
        self.transformer = transformer
        self._known: dict[Seen, Context] = {}  # of one sample each, without padding; used last is last

    def of(self, samples: Sequence[Mapping[str, StreamTokens]], remember: bool) -> Context:
        """The context (B, N, D) of samples, padded to the longest.

        Args:
            samples: what is seen of each (`SampleState.seen`).
            remember: whether the same may be asked for again.
        """
        keys: list[Seen] = [tuple(sample.items()) for sample in samples]
        rows = {key: self._known.pop(key) for key in dict.fromkeys(keys) if key in self._known}
        self._known |= rows
        new = self._encoded([key for key in dict.fromkeys(keys) if key not in rows])
        rows |= new
        if remember:
            self._known |= new
            self._forget()
        return _padded([rows[key] for key in keys])

    def _encoded(self, keys: Sequence[Seen]) -> dict[Seen, Context]:
        """The context of each; those of very different lengths are encoded apart."""
        layout, device = self.transformer.layout, self.transformer.input_table.device
        samples, found = [packed(layout, dict(key)) for key in keys], {}
        for group in alike([len(sample.inputs.ids) for sample in samples]) if samples else []:
            batch = collate([samples[k] for k in group], layout, input_tokens=1).to(device)
            with products(self.transformer):
                context = self.transformer.encode(batch.inputs)
            for row, k in enumerate(group):
                # Without registers and inputs there is one token, of padding.
                length = context.tokens.shape[1] - batch.inputs.ids.shape[1] + len(samples[k].inputs.ids)
                found[keys[k]] = Context(*(part[row : row + 1, : max(length, 1)] for part in context))
        return found

    def _forget(self) -> None:
        """Forget what was not used for the longest time, until the rest takes no more than is allowed."""
        taken = sum(context.tokens.nbytes for context in self._known.values())
        while taken > MOST:
            taken -= self._known.pop(next(iter(self._known))).tokens.nbytes


def _padded(rows: Sequence[Context]) -> Context:
    """Contexts of one sample each as one."""
    if len(rows) == 1:
        return rows[0]
    most = max(row.tokens.shape[1] for row in rows)
    missing = [most - row.tokens.shape[1] for row in rows]
    tokens = [F.pad(row.tokens, (0, 0, 0, count)) for row, count in zip(rows, missing, strict=True)]
    attended = [F.pad(row.attended, (0, count)) for row, count in zip(rows, missing, strict=True)]
    return Context(torch.cat(tokens), torch.cat(attended))


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Samples (by number) in groups in which none is shorter than `ALIKE` times the longest; all in order if one does.

    An encoder run over a group costs what its longest sample costs for each.
    """
    if min(lengths, default=0) >= ALIKE * max(lengths, default=0):
        return [list(range(len(lengths)))]
    groups: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if groups and lengths[number] >= ALIKE * lengths[groups[-1][0]]:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups
