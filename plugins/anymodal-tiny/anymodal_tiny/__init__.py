"""The preset `tiny` and its teachers: folders of weights beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from anymodal.hookspecs import hookimpl

if TYPE_CHECKING:
    from anymodal import Labeler


@hookimpl
def anymodal_presets() -> dict[str, str]:
    return {"tiny": str(Path(__file__).parent / "checkpoint")}


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    from .teachers import TinyClip, TinyDinov2, TinyDinov2Global, TinyImagebind, TinyImagebindGlobal

    teachers = (TinyClip, TinyDinov2, TinyDinov2Global, TinyImagebind, TinyImagebindGlobal)
    return {f"tiny_{teacher.modality}": teacher for teacher in teachers}
