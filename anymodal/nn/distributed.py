"""The processes that torchrun starts: who they are, and sums, values and rows over all of them.

Every process must make the same calls in the same order. Without a process group there is one process, and nothing
happens.

Shapes: T rows of this process, C width, K rows wanted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch import distributed as dist


@frozen
class World:
    """The processes of a run: this one's number, how many there are, and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes and talks for all."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes, on this process's device; without gradients."""
        return tensor if self.size == 1 else total(tensor.detach().to(self.device))

    def agree(self, number: int) -> int:
        """The number that the first process has."""
        return number if self.size == 1 else int(first(torch.tensor(number, device=self.device)))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def alone(device: str | torch.device | None = None) -> World:
    """The world of a single process, on the first GPU if there is one and `device` does not say otherwise."""
    return World(0, 1, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))


@contextmanager
def world() -> Iterator[World]:
    """The processes that torchrun started, joined for as long as the block runs; one process without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield joined() if dist.is_initialized() else alone()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield joined()
        dist.barrier()  # who leaves first must not cut the others off
    finally:
        dist.destroy_process_group()


def joined() -> World:
    """The world of a process group that exists already."""
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    return World(dist.get_rank(), dist.get_world_size(), device)


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
