"""The encoder of a model and a head, as one module.

Shapes: B samples, N tokens, D width, C numbers that are said, h x w cells.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anymodal.errors import ConfigError
from anymodal.model import Transformer
from anymodal.model.features import mean_pool
from anymodal.spaces import Stream
from anymodal.tokens import Inputs, ModalitySet
from anymodal.training.multimodal.lora import add_adapters, merge_adapters
from anymodal.transfer.tuning.settings import ConvNeXtHead, Frozen, Lora, MapHead, Tuning
from anymodal.transfer.tuning.tasks import Solver

DECODER = ("query_table", "output_table", "target_streams", "target_positions", "context_proj", "decoder_norm")


class TransferNetwork(nn.Module):
    """What is said of packed inputs: (B, C), or (B, C, h, w) by a head that reads maps.

    The maps of all grids are brought to the size of the first one, and added up after a linear layer for each; of a
    grid that a sample lacks, a learned vector is added instead.

    Args:
        transformer: whose encoder is taken; it stays as it is.
        grids: the streams whose maps are read.
        solver: says what the head is for.
        head: what reads maps.
        tuning: what of the encoder is trained.
    """

    def __init__(
        self, transformer: Transformer, grids: Sequence[Stream], solver: Solver, head: MapHead, tuning: Tuning
    ) -> None:
        super().__init__()
        self.encoder, self.tuning = encoder_of(transformer, tuning), tuning
        dim, self.registers = transformer.config.dim, transformer.config.registers
        self.grids, self.finer = list(grids), solver.cells
        if solver.cells:
            rows, columns = grid_shape(grids)
            self.shape = rows * solver.cells, columns * solver.cells
            width = head.width if isinstance(head, ConvNeXtHead) else dim
            rest = _convnext(width, head.blocks) if isinstance(head, ConvNeXtHead) else nn.Identity()
            self.entries = nn.ModuleList(nn.Linear(dim, width * solver.cells**2) for _ in grids)
            self.lacking = nn.Parameter(torch.zeros(len(grids), width * solver.cells**2))
            self.body = rest
            self.last: nn.Conv2d | nn.Linear = nn.Conv2d(width, solver.channels, 1)
        else:
            self.body, self.last = nn.LayerNorm(dim), nn.Linear(dim, solver.channels)
        nn.init.normal_(self.last.weight, std=0.01)
        assert self.last.bias is not None
        bias = solver.initial_bias()
        with torch.no_grad():
            self.last.bias.copy_(torch.zeros(solver.channels) if bias is None else bias)

    def forward(self, inputs: Inputs) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not isinstance(self.tuning, Frozen)):
            states = self.encoder.features(inputs)[:, self.registers :]
        if not self.finer:
            return self.last(self.body(mean_pool(states, inputs.streams >= 0)))
        return self.last(self.body(self._map(states, inputs)))

    def _map(self, states: Tensor, inputs: Inputs) -> Tensor:
        """The maps of all grids in one (B, width, h, w)."""
        layout, planes = self.encoder.layout, []
        for number, (stream, entry) in enumerate(zip(self.grids, self.entries, strict=True)):
            here = inputs.streams == layout.index[stream.name]
            cells = (inputs.positions - layout.positions[stream.name].start).masked_fill(~here, stream.space.length)
            index = cells[..., None].expand(-1, -1, states.shape[-1])
            rows = states.new_zeros(len(states), stream.space.length + 1, states.shape[-1]).scatter(1, index, states)
            said = entry(rows[:, :-1])
            there = here.any(1)[:, None, None]
            finer = torch.where(there, said, self.lacking[number].to(said.dtype)).mT
            assert stream.space.shape is not None
            plane = F.pixel_shuffle(finer.unflatten(2, stream.space.shape), self.finer)
            fits = tuple(plane.shape[-2:]) == self.shape
            planes.append(plane if fits else F.interpolate(plane, self.shape, mode="bilinear"))
        return torch.stack(planes).sum(0)

    def whole(self, transformer: Transformer) -> Transformer:
        """A transformer whose encoder is this one, adapters merged; changes the other one in place, and this module."""
        if isinstance(self.tuning, Lora):
            merge_adapters(self.encoder)
        transformer.load_state_dict(self.encoder.state_dict(), strict=False)
        return transformer.requires_grad_(True)

    def head_state(self) -> dict[str, Tensor]:
        """The weights of all but the encoder, by name."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("encoder.")}


def encoder_of(transformer: Transformer, tuning: Tuning) -> Transformer:
    """A copy without decoder, of which only what reads inputs can be trained, as far as the tuning says."""
    decoder, transformer.decoder = transformer.decoder, nn.ModuleList()
    try:
        encoder = copy.deepcopy(transformer)
    finally:
        transformer.decoder = decoder
    encoder.requires_grad_(True)
    for name, parameter in encoder.named_parameters():
        if name.partition(".")[0] in DECODER:
            parameter.requires_grad_(False)
    if isinstance(tuning, Lora):
        add_adapters(encoder, tuning.adapters())
    elif isinstance(tuning, Frozen):
        encoder.requires_grad_(False)
    return encoder


def grids_of(modalities: ModalitySet, names: Sequence[str]) -> list[Stream]:
    """The grids through which modalities enter the encoder, in this order."""
    streams = [modalities.layout[each] for name in names for each in modalities.input_streams(name)]
    return [stream for stream in streams if stream.space.shape is not None]


def grid_shape(grids: Sequence[Stream]) -> tuple[int, int]:
    """The rows and columns of the first grid. Raises ConfigError where there is none."""
    if not grids:
        raise ConfigError("none of the inputs is a grid, of which this task needs a map; add one such as rgb")
    assert grids[0].space.shape is not None
    return grids[0].space.shape


def _convnext(width: int, blocks: int) -> nn.Module:
    return nn.Sequential(*(ConvNeXtBlock(width) for _ in range(blocks)))


class ConvNeXtBlock(nn.Module):
    """A block of ConvNeXt (Liu et al. 2022, arXiv 2201.03545) without layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.spatial(x).movedim(1, -1))
        return x + self.narrow(F.gelu(self.wide(y))).movedim(-1, 1)
