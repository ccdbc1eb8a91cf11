"""The preset `tiny`, the part of it `tiny-7`, and teachers: folders of weights beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from anymodal.hookspecs import Preset, hookimpl

if TYPE_CHECKING:
    from anymodal import Labeler

SEVEN = ("rgb", "depth", "normal", "semseg", "clip", "det", "caption")  # those of 4M-7 (arXiv 2312.06647)


@hookimpl
def anymodal_presets() -> dict[str, Preset]:
    checkpoint = str(Path(__file__).parent / "checkpoint")
    return {"tiny": Preset(checkpoint), "tiny-7": Preset(checkpoint, SEVEN)}


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    from .teachers import TinyClip, TinyDinov2, TinyDinov2Global, TinyImagebind, TinyImagebindGlobal

    teachers = (TinyClip, TinyDinov2, TinyDinov2Global, TinyImagebind, TinyImagebindGlobal)
    return {f"tiny_{teacher.modality}": teacher for teacher in teachers}
