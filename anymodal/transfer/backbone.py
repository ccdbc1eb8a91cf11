"""The encoder as a plain module that reads tensors, with the conventions of timm's vision transformers.

Shapes: B samples, C channels, H x W pixels, h x w cells of the grid, R registers, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anymodal.anymodel import AnyModel, load
from anymodal.config.arguments import instance, takes
from anymodal.errors import ConfigError, ValueProblem, brief, nearest
from anymodal.modality import Modality
from anymodal.spaces import Stream
from anymodal.tokens import ModalitySet
from anymodal.transfer.entries import Entry

FORMATS = ("NCHW", "NLC")
Size = int | tuple[int, int]


class FeatureInfo(list[dict[str, Any]]):
    """What each map is: its `module`, number of channels `num_chs`, and pixels a cell `reduction`."""

    def channels(self) -> list[int]:
        """The numbers of channels."""
        return [each["num_chs"] for each in self]

    def reduction(self) -> list[int]:
        """The pixels a cell."""
        return [each["reduction"] for each in self]


class Backbone(nn.Module):
    """The encoder over grids of some modalities, for other networks to build on.

    A call takes the tensors that `preprocess` gives: of one modality (B, C, H, W), for class ids (B, H, W), or a dict
    of them by name, which may leave modalities out. Tokens come in the order of `modalities`, registers before them.
    Maps are those of the first modality that a call has, which read all others by attention. The blocks are those of
    the model, not copies; ids of tokenizers are looked up and pass no gradient.

    num_features: the width D of all states.
    num_prefix_tokens: the registers R.
    feature_info: of each map that `forward` returns with `features_only`, else of each block.
    """

    def __init__(
        self,
        model: AnyModel,
        modalities: Sequence[str] | None = None,
        *,
        size: Size | None = None,
        features_only: bool = False,
        out_indices: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        transformer = model.transformer
        self.num_features = self.embed_dim = transformer.config.dim
        self.num_prefix_tokens = 0 if transformer.registers is None else len(transformer.registers)
        self.blocks, self.norm, self.registers = transformer.encoder, transformer.encoder_norm, transformer.registers
        names = _photographic(model) if modalities is None else _listed(modalities)
        self.entries = nn.ModuleDict({name: Entry(transformer, *_grid(model, name), size) for name in names})
        self.features_only, self.out_indices = features_only, self._numbers(out_indices)
        self.feature_info = FeatureInfo(
            {"module": f"blocks.{number}", "num_chs": self.num_features, "reduction": self._first.reduction}
            for number in (self.out_indices if features_only else range(len(self.blocks)))
        )
        self.eval()

    @property
    def modalities(self) -> list[str]:
        """The names of the modalities that are read."""
        return list(self.entries)

    @property
    def _first(self) -> Entry:
        return self._entry(self.modalities[0])

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            known = ", ".join(self.entries)
            raise ConfigError(
                f"{name!r:.80} is not read by this backbone{nearest(name, self.entries)} (it reads {known})"
            )
        entry = self.entries[name]
        assert isinstance(entry, Entry)
        return entry

    def _numbers(self, indices: int | Sequence[int] | None) -> list[int]:
        """The numbers of blocks: all, as many of the last as a number says, or those named, from -1 backwards."""
        depth = len(self.blocks)
        if indices is None:
            return list(range(depth))
        if type(indices) is int:
            chosen: Sequence[Any] = range(depth - indices, depth) if 0 < indices <= depth else ()
        else:
            chosen = indices if isinstance(indices, (tuple, list)) else ()
        if not chosen or not all(type(index) is int and -depth <= index < depth for index in chosen):
            raise ConfigError(f"the encoder has {depth} blocks, from 0 to {depth - 1}; got {brief(indices)}")
        return sorted({index % depth for index in chosen})

    def preprocess(self, inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """The tensors of plain values by modality name, of one sample or of several that have the same modalities.

        Values are cut to squares of the size of the backbone.

        Raises:
            ConfigError: a modality is not read.
            AnymodalError: a value cannot be read.
        """
        samples = [inputs] if isinstance(inputs, Mapping) else inputs
        if not isinstance(samples, Sequence) or not all(isinstance(sample, Mapping) for sample in samples):
            raise ConfigError(f"preprocess takes one sample or several, values by modality, not {brief(inputs)}")
        if not samples or any(set(sample) != set(samples[0]) for sample in samples):
            raise ConfigError("preprocess takes one sample or several that have the same modalities")
        readers = {name: self._entry(name).modality for name in samples[0]}
        values = [ModalitySet(readers.values()).accept(sample) for sample in samples]
        return {
            name: torch.stack([torch.from_numpy(modality.preprocess(value[name])) for value in values]).to(
                self.norm.weight.device
            )
            for name, modality in readers.items()
        }

    # What timm's vision transformers have.

    def forward_features(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The normed states (B, R + N, D) of all tokens, which the decoder of the model reads."""
        return self.norm(self._states(x, ())[-1])

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The mean (B, D) of the states (B, R + N, D) without registers; there is no classifier after it."""
        return x[:, self.num_prefix_tokens :].mean(1)

    def forward_intermediates(
        self,
        x: Tensor | Mapping[str, Tensor],
        indices: int | Sequence[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """States after several blocks.

        Args:
            x: tensors as for a call.
            indices: the last so many blocks, or the numbers of blocks; by default all.
            return_prefix_tokens: give (states, registers) for each.
            norm: apply the last norm to each.
            stop_early: run no block after the last one that is asked for.
            output_fmt: "NCHW" for the maps (B, D, h, w) of the first modality of `x`, "NLC" for all tokens (B, N, D).
            intermediates_only: leave out the final states.

        Returns:
            The final normed states (B, R + N, D), and a list of the others; or the list alone.

        Raises:
            ConfigError: there is no such block or format.
        """
        if output_fmt not in FORMATS:
            raise ConfigError(f"output_fmt is one of {', '.join(FORMATS)}, got {output_fmt!r:.40}")
        numbers = self._numbers(indices)
        *found, last = self._states(x, numbers, numbers[-1] + 1 if stop_early and intermediates_only else None)
        normed = [self.norm(states) if norm else states for states in found]
        parts = [(each[:, self.num_prefix_tokens :], each[:, : self.num_prefix_tokens]) for each in normed]
        shaped = [(self._map(tokens, x) if output_fmt == "NCHW" else tokens, prefix) for tokens, prefix in parts]
        intermediates = shaped if return_prefix_tokens else [tokens for tokens, _ in shaped]
        return intermediates if intermediates_only else (self.norm(last), intermediates)

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor | list[Tensor]:
        """The mean state (B, D) of each sample; with `features_only` the maps (B, D, h, w) of `out_indices`, normed."""
        if self.features_only:
            return self.forward_intermediates(x, self.out_indices, norm=True, stop_early=True, intermediates_only=True)
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """There is none."""
        return nn.Identity()

    def _states(
        self, x: Tensor | Mapping[str, Tensor], numbers: Sequence[int], depth: int | None = None
    ) -> list[Tensor]:
        """States (B, R + N, D) after the blocks of these `numbers`, and after the last one that is run."""
        given = {self.modalities[0]: x} if isinstance(x, Tensor) else x
        if not isinstance(given, Mapping) or not all(isinstance(each, Tensor) for each in given.values()):
            raise ValueProblem(f"a backbone takes a tensor, or tensors by modality, not {brief(x)}")
        for name in given:
            self._entry(name)
        if not given:
            raise ValueProblem("a backbone needs the tensor of one modality at least")
        sizes = {name: tuple(each.shape) for name, each in given.items() if each.ndim}
        if not torch.compiler.is_compiling() and len({size[0] for size in sizes.values()}) > 1:
            raise ValueProblem(f"the tensors of a batch are of as many samples each, got shapes {sizes}")
        states = torch.cat([self._entry(name)(given[name]) for name in self.modalities if name in given], 1)
        if self.registers is not None:
            states = torch.cat([self.registers.expand(len(states), -1, -1).to(states.dtype), states], 1)
        after = []
        for number, block in enumerate(self.blocks[:depth]):
            states = block(states, None)
            if number in numbers:
                after.append(states)
        return [*after, states]

    def _map(self, tokens: Tensor, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The map (B, D, h, w) of the first modality of a call, whose tokens come first among (B, N, D)."""
        names = self.modalities[:1] if isinstance(x, Tensor) else [name for name in self.modalities if name in x]
        rows, columns = self._entry(names[0]).grid
        return tokens[:, : rows * columns].mT.unflatten(2, (rows, columns))


def _listed(modalities: str | Sequence[str]) -> list[str]:
    """Names, each once. Raises ConfigError for others."""
    names = [modalities] if isinstance(modalities, str) else modalities
    if not isinstance(names, (tuple, list)) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"a backbone reads modalities, by name, got {brief(modalities)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"a backbone reads modalities, each once, got {brief(modalities)}")
    return list(names)


def _photographic(model: AnyModel) -> list[str]:
    """The modalities that are read where none is named."""
    return [
        m.name
        for m in model.modalities
        if m.photographic and m.reads_tensors and model.modalities.input_streams(m.name)
    ]


def _grid(model: AnyModel, name: str) -> tuple[Modality, Stream]:
    """A modality, and the grid through which its tensors enter the model. Raises ConfigError."""
    modality = model.modalities[name]
    grids = [model.modalities.layout[each] for each in model.modalities.input_streams(name)]
    grids = [stream for stream in grids if stream.space.shape is not None]
    if not grids or not modality.reads_tensors:
        able = [m.name for m in model.modalities if m.reads_tensors]
        raise ConfigError(f"a backbone reads grids of tensors, {name!r} is none (these are: {', '.join(able)})")
    return modality, grids[0]


@takes(model=instance("a model, or its name", AnyModel, str, Path))
def backbone(
    model: AnyModel | str | Path,
    modalities: Sequence[str] | None = None,
    *,
    size: Size | None = None,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    **loading: Any,
) -> Backbone:
    """The encoder of a model as a plain module, to build a network on.

    Args:
        model: a model, or its name as for `load`, of which the modalities alone are loaded.
        modalities: names of those that are read, whose values are grids; by default those that show the scene itself.
        size: pixels a side of the input, or (height, width), if not the model's own: codes of positions are
            interpolated. Only for modalities that are read as pixels.
        features_only: a call returns maps, as segmentation code expects.
        out_indices: of which blocks, as for `Backbone.forward_intermediates`.
        loading: further options of `load`.

    Raises:
        ConfigError: a modality cannot be read as a grid of tensors, or a size or block cannot be.
        CheckpointError: the model cannot be loaded.
    """
    names = [modalities] if isinstance(modalities, str) else modalities
    loaded = model if isinstance(model, AnyModel) else load(model, modalities=names, **loading)
    return Backbone(loaded, names, size=size, features_only=features_only, out_indices=out_indices)
