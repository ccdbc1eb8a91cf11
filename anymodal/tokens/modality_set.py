"""A set of modalities in one token space."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from anymodal.errors import SpaceError, UnknownModality, nearest
from anymodal.modality import Modality
from anymodal.plugins.registry import registry
from anymodal.spaces import Stream
from anymodal.tokens.layout import Layout


class ModalitySet:
    """Modalities composed into one token space.

    `members` are names of installed modalities, classes, or instances with their own settings; `vocabulary` is shared
    by all that write text. `layout` leaves out some of their streams, or uses them in one direction only, as a
    checkpoint has it. Raises UnknownModality or SpaceError.
    """

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

    def __iter__(self) -> Any:
        return iter(self.modalities.values())

    def __len__(self) -> int:
        return len(self.modalities)

    def __repr__(self) -> str:
        return f"ModalitySet({', '.join(self.modalities)})"

    def streams(self, name: str) -> tuple[Stream, ...]:
        """The streams of a modality in this set."""
        return tuple(s for s in self.layout.streams if s.modality == name)

    @property
    def targets(self) -> list[str]:
        """Names of the modalities that can be generated: those whose main stream is a target."""
        return [name for name in self.modalities if name in self.layout and self.layout[name].target]
