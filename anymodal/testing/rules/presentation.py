"""AM6xx: what people see."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from anymodal.testing.definition import rule
from anymodal.testing.outcome import Broken, expect
from anymodal.testing.rules.compare import with_files, with_tokens
from anymodal.testing.subject import Subject


@rule(
    "AM601",
    "show makes an RGB picture of any value",
    fix="return a PIL image of mode RGB, about `size` a side; where nothing varies, divide by no range; return"
    " colors and words from legend",
)
def shows(subject: Subject) -> None:
    """Pictures of all modalities are put side by side; an empty value has one too."""
    seen = set()
    for example in [*subject.examples, *subject.odd]:
        try:
            with np.errstate(divide="raise", invalid="raise"):
                picture = subject.tokenizing.show(example.value, 64)
        except FloatingPointError as error:
            raise Broken(f"show of {example} computes what has no value: {error}") from None
        mode = getattr(picture, "mode", None)
        expect(mode == "RGB", f"show of {example} has the mode {mode!r}")
        seen.add(picture.tobytes())
        expect(max(picture.size) <= 4 * 64, f"show of {example} is {picture.size}, asked for about 64")
        over = subject.tokenizing.show_over(example.value, np.zeros((64, 64, 3), np.uint8), 64)
        expect(getattr(over, "mode", None) == "RGB", f"show_over of {example} has no mode RGB")
        for entry in subject.tokenizing.legend(example.value):
            color, words = entry if isinstance(entry, tuple) and len(entry) == 2 else ((), entry)
            right = isinstance(words, str) and (color is None or len(color) == 3)
            expect(right, f"legend of {example} has {entry!r:.60}, not (a color or None, words)")
    expect(len(seen) > 1 or len(subject.examples) < 2, "show gives the same picture for all examples")


@rule(
    "AM602",
    "Files have a common format",
    fix="write .png, .npy, .txt or .json, whole or not at all (anymodal.files.replacing)",
    applies=with_files,
    after=("AM111", "AM112"),
)
def opens(subject: Subject) -> None:
    """What is saved is opened with other programs."""
    import json

    from PIL import Image

    m = subject.tokenizing
    with tempfile.TemporaryDirectory() as folder:
        for example in subject.examples:
            path = Path(folder) / f"value{m.suffixes[0]}"
            m.write(example.value, path)
            expect(path.is_file(), f"write of {example} makes no file {path.name}")
            if path.suffix == ".npy":
                np.load(path, allow_pickle=False)
            elif path.suffix == ".png":
                with Image.open(path) as picture:
                    picture.verify()
            elif path.suffix == ".json":
                json.loads(path.read_text("utf-8"))
            elif path.suffix == ".txt":
                path.read_text("utf-8")
            left = [p.name for p in Path(folder).iterdir() if p != path]
            expect(not left, f"write of {example} leaves {left} behind")


@rule(
    "AM603",
    "A value scores perfectly against itself",
    fix="compute errors as 0 and shares as 1 for equal values, and look at the truth for what counts",
    applies=with_tokens,
)
def perfect(subject: Subject) -> None:
    """Scores are compared across models; one that a perfect answer does not reach is no measure."""
    for example in subject.examples:
        _is_perfect(subject.tokenizing.score([example.value], [example.value]), f"{example} against itself")
    values = [example.value for example in subject.examples]
    scores = subject.tokenizing.score(values, values)
    _is_perfect(scores, "all examples against themselves")
    if len(values) > 1:
        other = subject.tokenizing.score(values[1:] + values[:1], values)
        expect(other != scores, "another value scores the same as the right one")


def _is_perfect(scores: dict[str, float], what: str) -> None:
    expect(scores, f"score of {what} returns nothing")
    for name, number in scores.items():
        expect(isinstance(number, (int, float)), f"the score {name!r} is {type(number).__name__}, not a number")
        best = abs(number) < 1e-3 or abs(number - 1) < 1e-3 or number >= 99
        expect(best, f"{name} of {what} is {number:g}, neither 0 nor 1")
