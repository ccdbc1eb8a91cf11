"""A command as the pages print it, with the numbers that make it long replaced by small ones, and nothing else changed.

short_command.py PROGRAM WORDS...  runs PROGRAM, which is `anymodal` or `torchrun`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SCENES = 20  # the fewest from which an index can be calibrated
TRAINING = ("training.batch_size=8", "training.max_minutes=2")
STEPS, MORE_STEPS = 3, 5  # where the page says nothing, and where it asks for a number of its own
WITHOUT_WORK = {"--dry-run", "--print-config", "--help"}


def shortened(words: list[str]) -> list[str]:
    """The words of `anymodal`, made short; of options that are given twice the last one counts."""
    command, rest = (words[0], words[1:]) if words else ("", [])
    if WITHOUT_WORK & set(rest):
        return words
    if command == "scenes" and "--count" in rest:
        count = int(rest[rest.index("--count") + 1])
        return [*words, "--count", str(min(count, SCENES))]
    if command.startswith(("train", "transfer")) and "vocabulary" not in Path(rest[0]).stem:
        own = any(word.startswith("training.steps=") for word in rest)
        values = [f"training.steps={MORE_STEPS if own else STEPS}", "training.schedule.warmup_steps=1", *TRAINING]
        kept = _without(words, {value.partition("=")[0] for value in values})
        return [*kept, *(each for value in values for each in ("--set", value))]
    return words


def _without(words: list[str], keys: set[str]) -> list[str]:
    """The words without each `--set` of one of the keys, which may be given only once."""
    overrides = [k for k in range(1, len(words)) if words[k - 1] == "--set" and words[k].partition("=")[0] in keys]
    gone = {*overrides, *(k - 1 for k in overrides)}
    return [word for k, word in enumerate(words) if k not in gone]


def shortened_torchrun(words: list[str]) -> list[str]:
    """The words of `torchrun`, with two processes for any number."""
    at = words.index("anymodal") + 1
    launched = [f"{option}" for option in words[:at]]
    launched[launched.index("--nproc-per-node") + 1] = "2"
    return [*launched, *shortened(words[at:])]


if __name__ == "__main__":
    program, *given = sys.argv[1:]
    short = shortened_torchrun(given) if Path(program).name == "torchrun" else shortened(given)
    os.execv(program, [program, *short])
