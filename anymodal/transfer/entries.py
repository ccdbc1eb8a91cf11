"""From the tensors of a modality to the tokens that the encoder reads.

Shapes: B samples, C channels, H x W pixels, h x w cells of the grid, N = h * w tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anymodal.errors import ConfigError, ValueProblem, brief
from anymodal.modality import Modality
from anymodal.model import Transformer
from anymodal.spaces import Stream

MOST_PIXELS = 8192  # a side


class Entry(nn.Module):
    """One grid of a modality: its tensors become embedded tokens, with their places.

    Args:
        transformer: whose rows of this stream are taken; projections of pixels are shared, rows of tables copied.
        modality: what maps tensors to the stream.
        stream: the grid.
        size: pixels a side, or (height, width), if not the modality's own; codes of positions are interpolated.

    Raises ConfigError for a size that cannot be.
    """

    places: Tensor

    def __init__(
        self, transformer: Transformer, modality: Modality, stream: Stream, size: int | tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        assert stream.space.shape is not None
        layout, shape = transformer.layout, stream.space.shape
        self.modality, self.stream = modality, stream
        self.reduction = modality.sizes[0] // shape[0]
        self.grid = shape if size is None else self._resize(size)
        self.projection = transformer.projection(stream.name) if stream.is_dense else None
        self.table: nn.Parameter | None = None
        self.tokenizer = None
        if not stream.is_dense:
            self.table = nn.Parameter(transformer.input_table[layout.inputs[stream.name].rows].detach().clone())
            self.tokenizer = modality.tokenizer
        rows = torch.arange(stream.space.length, device=transformer.input_table.device)
        codes = transformer.input_positions(rows + layout.positions[stream.name].start).detach()
        self.register_buffer("places", _resampled(codes, shape, self.grid), persistent=False)
        kind = transformer.input_streams[layout.index[stream.name]]
        self.kind = nn.Parameter(kind.detach().clone())

    def _resize(self, size: int | tuple[int, int]) -> tuple[int, int]:
        """Read values of another size; returns the rows and columns of cells."""
        sides = (size, size) if isinstance(size, int) else size
        whole = isinstance(sides, (tuple, list)) and all(type(each) is int for each in sides)
        if not whole or len(sides) != 2 or max(sides) > MOST_PIXELS:
            raise ConfigError(
                f"size is pixels a side or (height, width), each at most {MOST_PIXELS}, got {brief(size)}"
            )
        height, width = sides
        rows, columns = height // self.reduction, width // self.reduction
        if rows < 1 or columns < 1 or height % self.reduction or width % self.reduction:
            raise ConfigError(f"{height} x {width} pixels do not split into patches of {self.reduction}")
        if not self.stream.is_dense and (rows, columns) != self.stream.space.shape:
            raise ConfigError(f"{self.modality.name!r} is read as tokens, which have one size; leave out size")
        if height == width:
            self.modality = self.modality.at_size(height)
        return rows, columns

    def _check(self, tensors: Tensor) -> None:
        """Raise ValueProblem for another kind or number of dimensions, numbers or channels than `preprocess` gives."""
        if labels := self.tokenizer is not None and bool(self.tokenizer.config.labels):
            expected, fits = "class numbers (batch, height, width)", tensors.ndim == 3
        else:
            channels = getattr(self.modality, "channels", None)
            expected = f"real numbers (batch, {channels or 'channels'}, height, width)"
            fits = tensors.ndim == 4 and channels in (None, tensors.shape[1])
        whole = not (tensors.is_floating_point() or tensors.is_complex() or tensors.dtype == torch.bool)
        if not fits or (not whole if labels else not tensors.is_floating_point()):
            raise ValueProblem(
                f"{self.modality.name} is read as {expected}, not {tensors.dtype} of shape {tuple(tensors.shape)};"
                " `preprocess` of the backbone gives such tensors"
            )

    def forward(self, tensors: Tensor) -> Tensor:
        """Tokens (B, N, D) of what `Modality.preprocess` gives, as (B, C, H, W) or, for class ids, (B, H, W).

        Raises ValueProblem for tensors that are no grid of this size.
        """
        self._check(tensors)
        tokens = self.modality.stream_tensor(tensors, self.stream.name)
        if tokens.shape[1] != self.grid[0] * self.grid[1]:
            raise ValueProblem(
                f"{self.modality.name} of shape {tuple(tensors.shape)} is no grid of {self.grid[0]} x {self.grid[1]}"
                " cells; resize it, or make the backbone with another size"
            )
        if self.projection is None:
            assert self.table is not None
            embedded = F.embedding(tokens, self.table)
        else:
            embedded = self.projection(tokens.to(self.kind.dtype))
        return embedded + (self.places + self.kind)


def _resampled(codes: Tensor, shape: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Codes (N, D) of the cells of another grid, by bicubic interpolation, as for vision transformers in timm."""
    if shape == grid:
        return codes
    planes = codes.T.reshape(1, -1, *shape).float()
    resized = F.interpolate(planes, grid, mode="bicubic", antialias=True, align_corners=False)
    return resized[0].flatten(1).T.to(codes.dtype).contiguous()
