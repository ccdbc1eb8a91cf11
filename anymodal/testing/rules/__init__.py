"""The rules, by topic; importing this package fills `RULES`."""

from anymodal.testing.definition import RULES
from anymodal.testing.rules import (
    augmentation,
    capabilities,
    files,
    model,
    package,
    presentation,
    processes,
    space,
    tokenizer,
    values,
    words,
)

MODULES = (package, capabilities, values, files, words, processes, space, tokenizer, augmentation, model, presentation)

__all__ = ["MODULES", "RULES"]
