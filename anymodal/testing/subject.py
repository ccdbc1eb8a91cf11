"""What is checked: a modality class, a small instance of it with random weights, and its example values."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from anymodal.discovery import Candidate
from anymodal.families import ImageModality, LabelMapModality, StructuredModality
from anymodal.modality import Modality
from anymodal.plugins import registry
from anymodal.testing.examples import Example, examples

SMALL = {"size": 32, "patch": 8, "codebook": 32, "latent": 8, "channels": 8, "codebooks": 4}
NET = {"dim": 32, "depth": 1, "heads": 2}
TEXTS = ["a red car on a road", "a blue cup on a table"] * 3


class Subject:
    """A modality under test, by name or class."""

    def __init__(self, target: str | type[Modality]) -> None:
        self.cls: type[Modality] = registry().modality(target)
        self.origin: Candidate | None = registry().origin(self.cls)

    @cached_property
    def modality(self) -> Any:
        """An instance without weights, small where its numbers allow it."""
        small = {k: v for k, v in SMALL.items() if k in self.cls.numbers} if "patch" in self.cls.numbers else {}
        return self.cls(**small)

    @cached_property
    def examples(self) -> list[Example]:
        return examples(self.modality)

    @cached_property
    def tokenizing(self) -> Any:
        """An instance with a small random tokenizer or a small vocabulary."""
        import torch

        from anymodal.text import Vocabulary
        from anymodal.tokenizers.tokenizer import VQTokenizer

        modality = type(self.modality)(**self.modality.settings())
        if isinstance(modality, StructuredModality):
            modality.vocabulary = Vocabulary.train(TEXTS, size=1200, bins=256, sentinels=16)
        if self.is_grid:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                modality.tokenizer = VQTokenizer(modality.tokenizer_config(NET, NET)).eval()  # type: ignore[attr-defined]
        return modality

    @property
    def is_image(self) -> bool:
        return issubclass(self.cls, ImageModality)

    @property
    def is_grid(self) -> bool:
        return issubclass(self.cls, (ImageModality, LabelMapModality))

    @property
    def has_tokens(self) -> bool:
        plain = issubclass(self.cls, StructuredModality) and not hasattr(self.cls, "tokenizer_config")
        return self.is_grid or plain
