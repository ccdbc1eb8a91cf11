"""4M's padded batches as packed ones of ours, and its two ways to sum the losses (4M, arXiv 2312.06647).

A 4M batch maps domains to arrays with the sample first: `tensor`, `input_mask` and `target_mask` (True where a position
is *not* selected), and `decoder_attention_mask`, whose running sum over the selected targets says how far each one may
look back.

Shapes: B samples, L stored positions of a domain, n selected ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from anymodal.checkpoints.formats.fourm.domains import domain_of
from anymodal.generation import SampleState, StreamTokens
from anymodal.spaces import Stream
from anymodal.tokens import NO_LABEL, DenseRows, Inputs, Layout, Packed, Targets, collate

Arrays = Mapping[str, np.ndarray]


def pack_batch(
    layout: Layout,
    batch: Mapping[str, Arrays],
    input_tokens: int,
    target_tokens: int,
    target_order: Sequence[str] | None = None,
) -> Packed:
    """A packed batch of the first `input_tokens` and `target_tokens` selected tokens of each sample.

    Inputs come in the order of `batch`, targets in `target_order` (domains; the order of `batch` by default).
    """
    streams = {domain_of(s.name).name: s for s in layout.streams}
    given = [(streams[name], arrays) for name, arrays in batch.items() if name in streams]
    asked = [(streams[name], batch[name]) for name in target_order or batch if name in streams]
    size = len(next(iter(batch.values()))["input_mask"])
    samples = [
        Packed(
            _inputs(layout, [(s, a) for s, a in given if s.input], b, input_tokens),
            _targets(layout, [(s, a) for s, a in asked if s.target], b, target_tokens),
        )
        for b in range(size)
    ]
    return collate(samples, layout, input_tokens, target_tokens)


def _inputs(layout: Layout, given: Sequence[tuple[Stream, Arrays]], b: int, most: int) -> Inputs:
    columns: list[np.ndarray] = []
    dense, used = {}, 0
    for stream, arrays in given:
        selected = np.flatnonzero(~arrays["input_mask"][b])[: most - used]
        places = np.arange(len(selected)) if stream.is_sequence else selected
        if stream.is_dense:
            rows = dense_rows(arrays["tensor"][b], stream)[selected]
            dense[stream.name] = DenseRows(rows.astype(np.float32), used + np.arange(len(selected)))
            ids = np.zeros(len(selected), np.int64)
        else:
            ids = arrays["tensor"][b].reshape(-1)[selected] + layout.inputs[stream.name].start
        where = places + layout.positions[stream.name].start
        columns.append(np.stack([ids, where, np.full(len(ids), layout.index[stream.name])]))
        used += len(ids)
    ids, where, which = _joined(columns, 3)
    return Inputs(ids, where, which, dense)


def dense_rows(values: np.ndarray, stream: Stream) -> np.ndarray:
    """Rows (L, width) of one sample: vectors as they are, pictures (C, H, W) as patches of (row, column, channel)."""
    if stream.is_sequence or stream.space.shape is None:
        return values
    (rows, columns), channels = stream.space.shape, values.shape[0]
    high, wide = values.shape[1] // rows, values.shape[2] // columns
    cells = values.reshape(channels, rows, high, columns, wide).transpose(1, 3, 2, 4, 0)
    return cells.reshape(rows * columns, high * wide * channels)


def _targets(layout: Layout, asked: Sequence[tuple[Stream, Arrays]], b: int, most: int) -> Targets:
    columns = [_target_columns(layout, stream, arrays, b) for stream, arrays in asked]
    fed, where, streams, steps, labels = _joined(columns, 5)
    return Targets(fed[:most], where[:most], streams[:most], steps[:most].cumsum(), labels[:most])


def _target_columns(layout: Layout, stream: Stream, arrays: Arrays, b: int) -> np.ndarray:
    """(5, n): ids fed, rows of the position table, stream, entries of the attention mask, labels."""
    ids, chosen = arrays["tensor"][b].reshape(-1).astype(np.int64), ~arrays["target_mask"][b]
    steps = arrays["decoder_attention_mask"][b].astype(np.int64)
    if stream.is_sequence:
        at = np.flatnonzero(chosen[:-1] & chosen[1:])
        fed, labels = ids[at] + layout.queries[stream.name].start, ids[at + 1]
        where = layout.target_rows(stream.name, chosen.cumsum()[at] - 1)
    else:
        at = np.flatnonzero(chosen)
        fed, labels = np.zeros(len(at), np.int64), ids[at]
        where = at + layout.positions[stream.name].start
    return np.stack([fed, where, np.full(len(at), layout.index[stream.name]), steps[at], labels])


def _joined(columns: Sequence[np.ndarray], count: int) -> np.ndarray:
    return np.concatenate([np.zeros((count, 0), np.int64), *columns], axis=1).astype(np.int64)


def stored_sequence(read: np.ndarray, said: np.ndarray, budget: int, length: int) -> dict[str, np.ndarray]:
    """A masked sequence as 4M stores it in `length` places: input ids first, target ids from the input budget on."""
    tensor, fields = np.zeros(length, np.int64), _unused(length)
    end = min(budget + len(said), length)
    tensor[: len(read)], tensor[budget:end] = read, said[: end - budget]
    fields["input_mask"][: len(read)] = False
    fields["target_mask"][budget:end] = False
    fields["decoder_attention_mask"][budget:end] = 1
    return {"tensor": tensor} | fields


def stored_grid(ids: np.ndarray, read: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
    """A masked grid as 4M stores it; the first of the `asked` positions holds their number."""
    fields = _unused(len(ids))
    fields["input_mask"][read] = False
    fields["target_mask"][asked] = False
    fields["decoder_attention_mask"][asked[:1]] = len(asked)
    return {"tensor": ids} | fields


def _unused(length: int) -> dict[str, np.ndarray]:
    masks = {key: np.ones(length, bool) for key in ("input_mask", "target_mask")}
    return masks | {"decoder_attention_mask": np.zeros(length, np.int64)}


def known_samples(layout: Layout, batch: Mapping[str, Arrays]) -> list[SampleState]:
    """What each sample of a generation batch knows: its selected inputs. Domains of other streams are passed over."""
    streams = {domain_of(s.name).name: s for s in layout.streams}
    samples = [SampleState(layout, {}) for _ in next(iter(batch.values()))["input_mask"]]
    for name, arrays in batch.items():
        stream = streams.get(name)
        for b, sample in enumerate(samples if stream is not None else []):
            assert stream is not None
            selected = np.flatnonzero(~arrays["input_mask"][b])
            tensor = arrays["tensor"][b]
            values = dense_rows(tensor, stream) if stream.is_dense else tensor.reshape(-1).astype(np.int64)
            if len(selected):
                places = np.arange(len(selected)) if stream.is_sequence else selected
                sample.put(stream.name, StreamTokens(values[selected], places))
    return samples


def mean_over_modalities(losses: Mapping[str, Tensor], count: int) -> float:
    """4M's 'mod' loss: the sum of the streams' mean losses over `count`, streams without targets included."""
    return sum(float(loss) for loss in losses.values()) / count


def mean_over_logits(losses: Mapping[str, Tensor], targets: Targets, layout: Layout) -> float:
    """4M's 'token' loss: each stream's mean loss weighted by its number of targets times that of its ids."""
    total = weights = 0.0
    for name, loss in losses.items():
        chosen = (targets.streams == layout.index[name]) & (targets.labels != NO_LABEL)
        weight = int(chosen.sum()) * layout.outputs[name].size
        total, weights = total + weight * float(loss), weights + weight
    return total / weights
