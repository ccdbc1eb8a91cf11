"""What `generate` tells of its steps: what each target cost, and a picture that grows."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from anymodal.cli.options import with_options
from anymodal.errors import ConfigError, DataError, counted, system_errors
from anymodal.files import check_file, replacing

if TYPE_CHECKING:
    from PIL.Image import Image

    from anymodal.generation import GenerationStep
    from anymodal.outputs.run import Run
    from anymodal.tokens import ModalitySet

ANIMATED = (".webp", ".gif")
TILE = 256
FRAME, LAST = 120, 1500  # milliseconds
MOST_FRAMES = 256  # which take some 50 MB
WATCH_OPTIONS = (
    click.option("--explain", is_flag=True, help="Tell how each target was made: its steps, passes, tokens and time."),
    click.option("--live", is_flag=True, help="Show pictures while they grow, where the output is a terminal."),
    click.option("--animate", type=click.Path(path_type=Path), help="A .webp or .gif of the pictures while they grow."),
)


@attrs.frozen
class Watch:
    """What is to be told of the steps.

    explain: what each target took.
    live: pictures in the terminal while they grow.
    animate: the file of a picture that grows.
    """

    explain: bool = False
    live: bool = False
    animate: Path | None = None

    @property
    def asked(self) -> dict[str, bool]:
        """Whether each option was given, by its name."""
        return {"explain": self.explain, "live": self.live, "animate": self.animate is not None}

    def __bool__(self) -> bool:
        return any(self.asked.values())

    def check_alone(self, in_tiles: bool) -> None:
        """Raise ConfigError where a picture that is made in tiles should be seen growing."""
        if in_tiles and (self.live or self.animate):
            option = "live" if self.live else "animate"
            raise ConfigError(f"--{option} shows a picture of the model's size growing: leave out --size")


def watch_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --explain, --live and --animate, and pass on a `Watch`.

    Raises ConfigError for another kind of file.
    """

    @functools.wraps(function)
    def command(*arguments: Any, explain: bool, live: bool, animate: Path | None, **options: Any) -> Any:
        if animate is not None and animate.suffix.lower() not in ANIMATED:
            raise ConfigError(f"--animate {animate} is no name of moving pictures: end it in {' or '.join(ANIMATED)}")
        if animate is not None:
            check_file(animate)
        return function(*arguments, watch=Watch(explain, live, animate), **options)

    return with_options(command, WATCH_OPTIONS)


@attrs.define
class TargetCost:
    """What one target took: its steps, the tokens they decided, and seconds."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Explained:
    """Counts the steps of targets while they are made."""

    def __init__(self) -> None:
        self.costs: dict[str, TargetCost] = {}
        self._since = time.perf_counter()

    def __call__(self, step: GenerationStep) -> None:
        cost, now = self.costs.setdefault(step.target, TargetCost()), time.perf_counter()
        cost.steps += 1
        cost.tokens += len(step.decided)
        cost.seconds += now - self._since
        self._since = now

    def table(self, run: Run, inputs: list[str]) -> list[dict[str, Any]]:
        """One row a target: how it was made, from what, and what it took."""
        rows, seen = [], list(run.weights or inputs)  # what has no weight beside what has one is not read
        for name in run.targets:
            how, cost = run.options[name], self.costs.get(name, TargetCost())
            scheme = how["scheme"]["name"] if isinstance(how["scheme"], dict) else how["scheme"]
            weighed = 1 + len(run.weights) if run.weights else 1 if how["guidance"] == 1 or not seen else 2
            rows.append(
                {
                    "target": name,
                    "from": list(seen),
                    "scheme": scheme,
                    "steps": cost.steps,
                    "passes": weighed,
                    "tokens": cost.tokens,
                    "views": how["views"],
                    "draws": how["samples"],
                    "chosen_by": how["choose"],
                    "temperature": how["temperature"],
                    "seconds": round(cost.seconds, 3),
                }
            )
            if run.chain and not run.weights and name not in seen:
                seen.append(name)
        return rows


def sentence(row: dict[str, Any]) -> str:
    """A row of `Explained.table` as one line."""
    chosen = f" (the one that fits {row['chosen_by']} best)" if row["chosen_by"] else ""
    draws = f", {row['draws']} draws{chosen}" if row["draws"] > 1 else ""
    views = f", {row['views']} views" if row["views"] > 1 else ""
    passes = f"{counted(row['passes'], 'pass')} a step"
    seen = ", ".join(row["from"]) or "nothing"
    return (
        f"{row['target']}: from {seen}; {row['scheme']}, {counted(row['steps'], 'step')}, up to {passes}{views},"
        f" {counted(row['tokens'], 'token')} at temperature {row['temperature']:g}{draws}; {row['seconds']:.2f} s"
    )


class Animation:
    """Gathers a picture of every step of the targets that grow as pictures, and of the end of the others.

    Of more than `MOST_FRAMES` steps there is one of every second, fourth, ... step, and of the end of each target.
    """

    def __init__(self, modalities: ModalitySet) -> None:
        self.modalities = modalities
        self.frames: list[tuple[Image, int]] = []
        self._every, self._steps = 1, 0

    def __call__(self, step: GenerationStep) -> None:
        if not step.done and self.modalities.layout[step.target].is_sequence:
            return
        self._steps += not step.done
        if not step.done and self._steps % self._every:
            return
        picture = self.modalities.owner(step.target).show(step.partial if step.done else step.preview, TILE)
        self.frames.append((picture.convert("RGB").resize((TILE, TILE)), LAST if step.done else FRAME))
        growing = [frame for frame in self.frames if frame[1] == FRAME]
        if len(growing) > MOST_FRAMES:
            left_out = {id(frame) for frame in growing[::2]}
            self.frames = [frame for frame in self.frames if id(frame) not in left_out]
            self._every *= 2

    def save(self, path: Path) -> None:
        """Write the pictures into a file. Raises DataError if it cannot be written."""
        pictures, durations = zip(*self.frames, strict=True)
        with system_errors(DataError, f"cannot write {path}"), replacing(path) as temporary:
            pictures[0].save(
                temporary,
                format=path.suffix[1:].upper(),
                save_all=True,
                append_images=pictures[1:],
                duration=list(durations),
                loop=0,
            )
