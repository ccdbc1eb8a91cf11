"""How a model is laid over the processes that train it; `anymodal.nn.distributed` knows who they are.

Nothing here changes what is computed: the same batch on any number of processes gives the same update, up to rounding.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from anymodal.nn.distributed import World
from anymodal.training.settings import ParallelConfig


def lay_out(model: nn.Module, config: ParallelConfig, world: World) -> nn.Module:
    """The model to call in training, on the device and laid over the processes in place; `model` keeps its names.

    Blocks, the entries of the model's own module lists, are what is compiled, recomputed, and split as one piece.
    """
    blocks = [block for part in model.children() if isinstance(part, nn.ModuleList) for block in part]
    for block in blocks:
        if config.checkpoint_activations:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        if config.compile:
            block.compile(dynamic=True)
    if splits(config, world):
        _split(model, blocks, world)
        return model
    model.to(world.device)
    if world.size > 1:
        devices = [world.device] if world.device.type == "cuda" else None
        with warnings.catch_warnings():  # the name that replaces broadcast_buffers is too new for some torches
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            return DistributedDataParallel(
                model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
            )
    return model


def splits(config: ParallelConfig, world: World) -> bool:
    """Whether every process holds a part of each weight. Then the first one alone has to make them."""
    return config.strategy == "fsdp" and world.size > 1


def _split(model: nn.Module, blocks: Iterable[nn.Module], world: World) -> None:
    """Split a model over the processes and give all of them the weights of the first, as DDP does.

    In the others, weights may be on the meta device. No GPU ever holds more than a piece of the model.
    """
    whole_state = model.state_dict() if world.is_first else {}
    mesh = init_device_mesh(world.device.type, (world.size,))
    for piece in (*blocks, model):
        fully_shard(piece, mesh=mesh)
    state = model.state_dict()
    for name, part in state.items():
        tensor = whole_state[name] if world.is_first else torch.empty(part.shape, dtype=part.dtype)
        tensor = tensor.to(world.device)
        dist.broadcast(tensor, src=0)
        if isinstance(part, DTensor):
            tensor = distribute_tensor(tensor, mesh, part.placements, src_data_rank=None)
        state[name] = tensor
    model.load_state_dict(state, assign=any(p.is_meta for p in model.parameters()))


@contextmanager
def gradients_kept(called: nn.Module, last: bool) -> Iterator[None]:
    """Around the backward pass of a part of a batch: processes exchange gradients after the `last` part only."""
    if isinstance(called, FSDPModule):
        called.set_requires_gradient_sync(last)
        yield
        return
    with called.no_sync() if isinstance(called, DistributedDataParallel) and not last else nullcontext():
        yield


def let_go(model: nn.Module) -> None:
    """Have weights that are split gathered anew for the next pass: after one without gradients FSDP keeps them whole,
    and does not see that the pieces change."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be split over processes, in one piece; all processes must ask at the same time."""
    full = getattr(tensor, "full_tensor", None)
    return full() if full is not None else tensor
