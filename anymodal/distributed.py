"""The processes of a run as one: sums, values and rows over all of them. Without a process group nothing happens.

Every process must make the same calls in the same order.

Shapes: T rows of this process, C width, K rows wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def processes() -> int:
    """How many processes train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def total(values: Tensor) -> Tensor:
    """The sum over all processes, the same on each; gradients of all of them reach the values of each."""
    if processes() == 1:
        return values
    if values.requires_grad:
        from torch.distributed.nn.functional import all_reduce

        return all_reduce(values)
    summed = values.clone()
    dist.all_reduce(summed)
    return summed


def first(values: Tensor) -> Tensor:
    """The values that the first process has."""
    if processes() == 1:
        return values
    copied = values.clone()
    dist.broadcast(copied, src=0)
    return copied


def counts(rows_TC: Tensor) -> list[int]:
    """How many rows each process has."""
    if processes() == 1:
        return [len(rows_TC)]
    own = torch.tensor([len(rows_TC)], device=rows_TC.device)
    each = [torch.empty_like(own) for _ in range(processes())]
    dist.all_gather(each, own)
    return torch.cat(each).tolist()


def rows_at(rows_TC: Tensor, places_K: Tensor, counts: list[int]) -> Tensor:
    """Rows (K, C) at places in the rows of all processes, one after the other; `counts` as the function says them."""
    if processes() == 1:
        return rows_TC[places_K]
    start = sum(counts[: dist.get_rank()])
    own_K = (places_K >= start) & (places_K < start + len(rows_TC))
    found_KC = rows_TC.new_zeros(len(places_K), rows_TC.shape[1])
    found_KC[own_K] = rows_TC[places_K[own_K] - start]
    return total(found_KC)


@contextmanager
def patient_group() -> Iterator[bool]:
    """Join the processes of torchrun without accelerators, for as long as the block runs, however long one waits.

    The value says whether this process is the first one.
    """
    dist.init_process_group("gloo", timeout=timedelta(days=99))
    try:
        yield dist.get_rank() == 0
    finally:
        dist.destroy_process_group()


def first_object(value: Any) -> Any:
    """What the first process has, a value of any kind that can be pickled; the processes of a run trust each other."""
    values = [value]
    if processes() > 1:
        dist.broadcast_object_list(values, 0)
    return values[0]


def meet() -> None:
    """Wait until all processes are here."""
    if processes() > 1:
        dist.barrier()
