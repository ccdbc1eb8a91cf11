"""A set of modalities in one token space: values of several modalities into tokens and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anymodal.config.arguments import DICT, Kind, takes
from anymodal.crops import center_crops
from anymodal.errors import SpaceError, UnknownModality, counted, nearest
from anymodal.modality import Modality
from anymodal.plugins.guard import blame
from anymodal.plugins.registry import registry
from anymodal.spaces import Stream
from anymodal.tokens.checks import checked_tokens
from anymodal.tokens.layout import Layout
from anymodal.tokens.table import set_table

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np


MEMBERS = Kind("a list of modalities", lambda value: isinstance(value, Iterable) and not isinstance(value, str))


class ModalitySet:
    """Modalities composed into one token space.

    Args:
        members: names of installed modalities, classes, or instances with their own settings.
        vocabulary: the text vocabulary that all which write text share.
        layout: leaves out some of their streams, or uses them in one direction only, as a checkpoint has it.

    Raises:
        UnknownModality: no plugin provides a name.
        ConfigError: `members` is no list, but a lone name or modality.
        SpaceError: the set is empty, has a modality twice, or its streams do not fit together.
    """

    @takes(members=MEMBERS)
    def __init__(
        self,
        members: Iterable[str | type[Modality] | Modality],
        vocabulary: Any = None,
        layout: Layout | None = None,
    ) -> None:
        self.modalities: dict[str, Modality] = {}
        for member in members:
            modality = self._resolve(member)
            if modality.name in self.modalities:
                raise SpaceError(f"modality {modality.name!r} appears twice in a set")
            if vocabulary is not None:
                modality.vocabulary = vocabulary
            self.modalities[modality.name] = modality
        if not self.modalities:
            raise SpaceError("a set needs at least one modality")
        self.vocabulary = vocabulary
        self.layout = layout or Layout(s for m in self.modalities.values() for s in m.streams())
        for stream in self.layout.streams:
            if stream.modality not in self.modalities:
                raise SpaceError(f"the layout has a stream {stream.name!r} of a modality that is not in the set")

    @staticmethod
    def _resolve(member: str | type[Modality] | Modality) -> Modality:
        if isinstance(member, Modality):
            return member
        return registry().modality(member)()

    def __getitem__(self, name: str) -> Modality:
        try:
            return self.modalities[name]
        except KeyError:
            known = ", ".join(self.modalities)
            raise UnknownModality(
                f"modality {name!r} is not in this set{nearest(name, self.modalities)} (it has: {known})"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self.modalities

    def __iter__(self) -> Iterator[Any]:
        return iter(self.modalities.values())

    def __len__(self) -> int:
        return len(self.modalities)

    def __repr__(self) -> str:
        return f"ModalitySet({', '.join(self.modalities)})"

    def _repr_html_(self) -> str:
        return set_table(self)

    # Streams.

    def streams(self, name: str) -> tuple[Stream, ...]:
        """The streams of a modality in this set."""
        return tuple(s for s in self.layout.streams if s.modality == name)

    def input_streams(self, name: str) -> list[str]:
        """The streams through which a modality's values enter the encoder: the dense ones if there are any.

        Of several sizes it is the smallest: what is made of a value at a larger size may not be more than it.
        """
        streams = [s for s in self.streams(name) if s.input]
        chosen = [s for s in streams if s.is_dense] or streams
        least = min((s.space.length for s in chosen), default=0)
        return [s.name for s in chosen if s.space.shape is None or s.space.length == least]

    def owner(self, name: str) -> Modality:
        """The modality of a name, which may be that of one of its streams. Raises UnknownModality."""
        return self[self.layout[name].modality if name in self.layout else name]

    @property
    def targets(self) -> list[str]:
        """Names of the modalities that can be generated: those whose main stream is a target."""
        return [name for name in self.modalities if name in self.layout and self.layout[name].target]

    # Values and tokens.

    @takes(inputs=DICT)
    def accept(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Natural values at the model's size: files are read, pictures cut to their centered square.

        A value that does not know the picture's shape, such as boxes, is cut like the first one that does.

        Args:
            inputs: plain values by modality name: paths, pictures, arrays, text.

        Returns:
            Natural values by modality name.

        Raises:
            UnknownModality: a name is not in the set.
            AnymodalError: a value cannot be read, or a plugin failed.
        """
        values, extents = {}, {}
        for name, value in inputs.items():
            modality = self[name]
            with blame(modality, "accept", value):
                values[name] = modality.accept(value)
            with blame(modality, "extent", value):
                extents[name] = extent = modality.extent(values[name])
                if extent is not None and not (len(extent) == 2 and min(extent) > 0):
                    raise ValueError(f"returns {extent!r:.80}, not (width, height) above 0, or None")
        for name, crop in center_crops(extents).items():
            modality, value = self[name], values[name]
            with blame(modality, "crop", value):
                values[name] = modality.crop(value, crop)
        return values

    def tokenize(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Tokens of plain values.

        Args:
            inputs: as for `accept`.

        Returns:
            By stream name: ids (n,) int64, or rows (n, width) float32 of dense streams.

        Raises:
            AnymodalError: a value cannot be read, or a plugin failed.
        """
        tokens: dict[str, np.ndarray] = {}
        for name, value in self.accept(inputs).items():
            modality = self[name]
            with blame(modality, "tokenize", value):
                tokens |= checked_tokens(modality, self.layout, "tokenize", modality.tokenize([value]))
        return tokens

    @takes(values=DICT)
    def condition(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Tokens of accepted values for the encoder, by stream: only those of the `input_streams`."""
        tokens: dict[str, np.ndarray] = {}
        for name, value in values.items():
            modality = self[name]
            with blame(modality, "condition", value):
                streams = modality.condition([value], self.input_streams(name))
                tokens |= checked_tokens(modality, self.layout, "condition", streams)
        return tokens

    def detokenize(self, tokens: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Natural values of tokens.

        Args:
            tokens: ids (n,) by stream name; dense streams are passed over, for they are only read.

        Returns:
            Natural values by stream name.

        Raises:
            SpaceError: a name is no stream of the set.
            PluginError: a plugin failed.
        """
        return {
            name: self.detokenize_stream(name, [np.asarray(ids)])[0]
            for name, ids in tokens.items()
            if not self.layout[name].is_dense
        }

    def detokenize_stream(self, name: str, tokens: Sequence[np.ndarray]) -> list[Any]:
        """Natural values of several samples' ids (n,) of one stream, decoded at once. Raises PluginError."""
        modality = self.owner(name)
        with blame(modality, "detokenize", tokens[0]):
            values = modality.detokenize_stream(name, list(tokens))
            if len(values) != len(tokens):
                raise ValueError(f"it returns {counted(len(values), 'value')} of {len(tokens)}")
        return values
