"""Where the recorded numbers of the published code are: a small set in the repository, the full ones beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

SMALL = Path(__file__).parent / "golden" / "fourm"
FULL = Path(__file__).resolve().parents[2] / "shared"  # golden/ and golden2/, too large for a repository

needs_full_sets = pytest.mark.skipif(
    not (FULL / "golden").is_dir() or not (FULL / "golden2").is_dir(),
    reason="needs the full recordings, golden/ and golden2/ in a folder shared/ beside the repository",
)
