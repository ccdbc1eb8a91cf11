"""The preset `tiny`: a folder of weights beside this file."""

from __future__ import annotations

from pathlib import Path

from anymodal.hookspecs import hookimpl


@hookimpl
def anymodal_presets() -> dict[str, str]:
    return {"tiny": str(Path(__file__).parent / "checkpoint")}
