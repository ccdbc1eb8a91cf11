"""docs/reference/claims.md: the table of the claims, from what was measured."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anymodal.config.loading import read_config
from anymodal.errors import ConfigError
from anymodal.files import replacing
from benchmarks.claims.base import CLAIMS, NOTES, Ledger, load_claim

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGE = DOCS / "reference" / "claims.md"
HEAD = """---
hide: [toc]
---

# Claims

What the models are said to do, each with a bar that was set before, measured on held-out scenes of `anymodal scenes`:
worlds from a seed that nothing was trained on. `make claims` measures all rows and writes this page; each row has a
command of its own, which goes on where it stopped. Means over seeds stand with their 95 % interval (Student's t).
The sizes are those of `benchmarks/claims/sizes.yaml`, chosen for two processor cores: they say whether a claim holds of
small models, not how good large ones are. `tiny` stands here for its weights of 64 pixels, which those of 128 have
replaced since.
"""


def rows() -> list[str]:
    """The names of all claims, in the order of the table."""
    from benchmarks.claims.rows import ORDER

    return [*ORDER, *(name for name in CLAIMS if name not in ORDER)]


def write_page() -> None:
    """Write the table of all claims, with pictures where there are some."""
    notes = read_config(NOTES)
    today = datetime.datetime.now(datetime.UTC).date()
    lines = [HEAD, f"Written on {today:%Y-%m-%d}.", "", "| claim | bar | measured | met | size of the run | command |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    pictures, told = [], []
    for name in rows():
        claim = load_claim(name)
        ledger = Ledger(name, claim)
        command = f"`python -m benchmarks.claims {name}`"
        measured, met, size = _cells(claim, ledger, command)
        lines.append(f"| {claim.claim} | {claim.bar} | {measured} | {met} | {size} | {command} |")
        if note := notes.get(name):
            told += ["", f"**{name}**: {' '.join(str(note).split())}"]
        if ledger.pieces and claim.page:
            write_table(DOCS / claim.page, name, claim.table(ledger.pieces))
        if ledger.pieces and (draw := claim.figure(ledger.pieces)):
            picture = DOCS / "images" / f"claims-{name}.png"
            draw(picture)
            pictures += ["", f"![{claim.claim}](../images/{picture.name})"]
    if told:
        lines += ["", "## What was tried", *told]
    with replacing(PAGE) as made:
        made.write_text("\n".join([*lines, *pictures]) + "\n")


def write_table(page: Path, name: str, lines: Sequence[str]) -> None:
    """Put the table of a claim between its marks in a page. Raises ConfigError where the page has none."""
    begin, end = f"<!-- table of the claim {name} -->", f"<!-- end of {name} -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ConfigError(f"{page} has no place for a table; mark it by {begin} and {end}")
    with replacing(page) as made:
        made.write_text("\n".join([before + begin, "", *lines, "", end + after]))


def _cells(claim: Any, ledger: Ledger, command: str) -> tuple[str, str, str]:
    """What was measured, whether it meets the bar, and the size of the run."""
    if not ledger.pieces:
        return f"not yet run: {command}", "", ""
    verdict = claim.verdict(ledger.pieces)
    left = sum(name not in ledger.pieces for name, _ in claim.pieces())
    met = {True: "yes", False: "no", None: ""}[verdict.met]
    begun = f" ({left} pieces left to run)" if left else ""
    return verdict.measured + begun, "" if left else met, verdict.size
