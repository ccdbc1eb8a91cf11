"""The four hooks a plugin may implement; what plugin authors read first.

A modality class needs none of them: `Modality` carries the implementation of `anymodal_modalities`, so an entry point
may name the class itself. A module with `@hookimpl` functions works as an entry point too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import pluggy

from anymodal.config.validators import as_tuple

if TYPE_CHECKING:
    import click

    from anymodal.labeler import Labeler
    from anymodal.modality import Modality

GROUP = "anymodal"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@attrs.frozen
class Preset:
    """A checkpoint of a plugin, or some modalities of one: presets may share the weights of a folder.

    Attributes:
        folder: of the checkpoint, inside the package.
        modalities: those that are loaded of it; None for all.
    """

    folder: str = attrs.field(converter=str)
    modalities: tuple[str, ...] | None = attrs.field(default=None, converter=attrs.converters.optional(as_tuple))


class Hooks:
    """The names and signatures; each returns a value, nothing is registered by a side effect."""

    @hookspec
    def anymodal_modalities(self) -> Sequence[type[Modality]]:
        """Return modality classes (the classes themselves, not instances)."""
        raise NotImplementedError

    @hookspec
    def anymodal_presets(self) -> Mapping[str, str | Preset]:
        """Return checkpoints by short name: a folder inside the package, or a `Preset`, which says what to load."""
        raise NotImplementedError

    @hookspec
    def anymodal_labelers(self) -> Mapping[str, type[Labeler]]:
        """Return `Labeler` classes by name: they make values of a modality from values of others."""
        raise NotImplementedError

    @hookspec
    def anymodal_commands(self, cli: click.Group) -> None:
        """Add the commands that the entry points announce: `command-NAME` is the command (or group) NAME."""
        raise NotImplementedError
