"""AM6xx: what people see."""

from __future__ import annotations

from anymodal.testing.rule import expect, rule
from anymodal.testing.subject import Subject


@rule("AM601", "show makes an RGB picture", fix="return a PIL image of mode RGB from show")
def shows(subject: Subject) -> None:
    for example in subject.examples:
        mode = getattr(subject.modality.show(example.value, 64), "mode", None)
        expect(mode == "RGB", f"show of {example} has the mode {mode!r}")
