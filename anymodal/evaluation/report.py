"""What an evaluation found: JSON, a table in Markdown, and a sheet of its best, middle and worst samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import attrs

from anymodal.data.report import ProblemCounts
from anymodal.errors import counted
from anymodal.files import write_json, write_text
from anymodal.notebook import html_table

RESULTS = REPORT, TABLE, SHEET, FIGURE = "report.json", "report.md", "sheet.png", "calibration.png"
MODEL, BOUND, CONSTANT, SHUFFLED = "model", "bound", "constant", "shuffled"
MEANING = {
    MODEL: "what the model generates",
    BOUND: "the truths through the target's own tokenizer, which no model of these tokens can be expected to beat",
    CONSTANT: "one value for all samples, fitted to the first of these very truths",
    SHUFFLED: "what the model generates, against the truths of other samples",
}


@attrs.frozen
class Evaluation:
    """The scores of a model at a task, by name, beside the bound and the baselines.

    samples: how many were scored.
    scores: by "model", "bound", "constant" and "shuffled", what each of them reaches.
    settings: what the scores depend on.
    problems: samples that were left out, by kind.
    notes: what else one has to know, such as classes that were left out.
    each: the number and the own score of each sample, higher is better.
    reliability: of several draws the expected calibration error and its curve, None where nothing says it.
    """

    task: str
    data: str
    model: str
    samples: int
    scores: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, Any]
    problems: ProblemCounts = attrs.field(factory=ProblemCounts)
    notes: Sequence[str] = ()
    each: Sequence[tuple[int, float]] = ()
    reliability: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs; without the scores of each sample."""
        return {
            "task": self.task,
            "data": self.data,
            "model": self.model,
            "samples": self.samples,
            "scores": {name: dict(each) for name, each in self.scores.items()},
            "settings": dict(self.settings),
            "problems": [attrs.asdict(problem) for problem in self.problems],
            "notes": list(self.notes),
            **({} if self.reliability is None else {"reliability": dict(self.reliability)}),
        }

    def markdown(self) -> str:
        """A table with a row for each score, and what was left out."""
        columns = list(self.scores)
        names = list(dict.fromkeys(name for each in self.scores.values() for name in each))
        lines = [f"# {self.task}: {self.model}", "", f"{counted(self.samples, 'sample')} of {self.data}.", ""]
        lines += [f"| score | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
        lines += [f"| {name} | {' | '.join(self._cell(column, name) for column in columns)} |" for name in names]
        lines += ["", *(f"* {name}: {MEANING[name]}" for name in columns if name in MEANING)]
        if self.reliability is not None:
            lines += ["", f"Expected calibration error of {self.reliability['of']}: {self.reliability['error']:.4f}."]
        lines += ["", *(f"* {note}" for note in self.notes)] if self.notes else []
        left = [
            f"* {counted(each.count, 'sample')} left out, {each.kind}: {'; '.join(each.examples[:2])}"
            for each in self.problems
        ]
        return "\n".join([*lines, *(["", *left] if left else [])]) + "\n"

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for each in self.scores.values() for name in each))
        rows = [(name, *(self._cell(column, name) for column in self.scores)) for name in names]
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        title = f"{self.task}: {self.model}, {counted(self.samples, 'sample')} of {self.data}"
        return html_table(("score", *self.scores), rows, title) + notes

    def _cell(self, column: str, name: str) -> str:
        value = self.scores[column].get(name)
        return "" if value is None else f"{value:.4g}"

    def save(self, folder: Path) -> None:
        """Write the JSON, the table, and where there is one the figure into a folder, and remove those of another.

        Raises DataError.
        """
        for name in RESULTS:
            (folder / name).unlink(missing_ok=True)
        write_json(self.as_json(), folder / REPORT)
        write_text(self.markdown(), folder / TABLE)
        if self.reliability is not None:
            from anymodal.data.sheet import save_sheet
            from anymodal.evaluation.reliability import draw_figure

            save_sheet(draw_figure(self.reliability, self.task), folder / FIGURE)

    def chosen(self, count: int = 2) -> list[tuple[str, int]]:
        """The samples with the best, middle and worst scores of their own: words for each, and its number."""
        ranked = sorted(self.each, key=lambda pair: (-pair[1], pair[0]))
        middle = max(0, len(ranked) // 2 - count // 2)
        parts = {"best": ranked[:count], "median": ranked[middle : middle + count], "worst": ranked[-count:]}
        found: dict[int, str] = {}
        for word, part in parts.items():
            for number, score in part:
                found.setdefault(number, f"{word} {score:.0f}" if abs(score) >= 100 else f"{word} {score:.3g}")
        return [(words, number) for number, words in found.items()]
