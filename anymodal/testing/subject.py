"""What is checked: a modality class, small instances of it with random weights, and its example values."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from anymodal.modality import Modality
from anymodal.testing.choose import Target
from anymodal.testing.fresh import Facts, inspect
from anymodal.testing.tiny import companion, equip, model_over, shrunk, vocabulary
from anymodal.testing.values import Example, examples, odd_examples

if TYPE_CHECKING:
    from anymodal.anymodel import AnyModel


class Subject:
    """A modality under test; everything is made when first asked for."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @cached_property
    def cls(self) -> type[Modality]:
        """Raises PluginError or UnknownModality."""
        return self.target.load()

    @cached_property
    def fresh(self) -> Facts:
        """What loading does in a process of its own; raises Broken when that hangs or dies."""
        return inspect(self.target)

    @cached_property
    def modality(self) -> Any:
        """An instance without weights, small where its settings allow it."""
        return shrunk(self.cls)

    @cached_property
    def tokenizing(self) -> Any:
        """An instance with a small random tokenizer or a small vocabulary."""
        return equip(shrunk(self.cls))

    @cached_property
    def examples(self) -> list[Example]:
        """Values at the model's size."""
        return examples(self.modality)

    @cached_property
    def odd(self) -> list[Example]:
        """Values of unusual shapes."""
        return odd_examples(self.modality)

    @cached_property
    def model(self) -> AnyModel:
        """A small model over the modality and a companion."""
        from anymodal.tokens import ModalitySet

        return model_over(ModalitySet([companion(), equip(shrunk(self.cls, length=48))], vocabulary()))

    @cached_property
    def tokens(self) -> dict[str, Any]:
        """Tokens by stream of the last example beside a picture, in that model."""
        from anymodal.testing.tiny import COMPANION

        picture = examples(self.model.modalities[COMPANION])[-1].value
        value = examples(self.model.modalities[self.cls.name])[-1].value
        return self.model.tokenize({COMPANION: picture, self.cls.name: value})

    @property
    def is_image(self) -> bool:
        return self.cls.is_picture

    @property
    def is_grid(self) -> bool:
        """Whether values cover the picture, in pixels a side."""
        return bool(self.modality.sizes)

    @property
    def cells(self) -> int:
        """Numbers along one side of a cropped value, which is a pixel each unless the modality says otherwise."""
        return int(getattr(self.modality, "cells", max(self.modality.sizes)))

    @property
    def is_sequence(self) -> bool:
        return self.cls.spelled

    @property
    def is_coded(self) -> bool:
        """Whether parts of a spelled value are tokens of a tokenizer."""
        return self.cls.spelled and self.cls.has_tokenizer

    @property
    def is_target(self) -> bool:
        return any(s.name == self.cls.name and s.target for s in self.modality.streams())

    @property
    def has_tokenizer(self) -> bool:
        return self.cls.has_tokenizer

    @property
    def installed(self) -> bool:
        return self.target.candidate is not None
