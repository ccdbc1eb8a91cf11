"""`anymodal eval` with a model whose predictions are known: everything is real but what the model generates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from anymodal_tiny import anymodal_presets
from small_runs import command

import anymodal as am
from anymodal.data.jobs.model_source import ModelSource

STORED = json.loads(Path(anymodal_presets()["tiny"].folder, "config.json").read_text())
SIDE: int = STORED["modalities"]["rgb"]["settings"]["size"]  # pixels of the square that `tiny` sees
PATCH: int = STORED["modalities"]["rgb"]["settings"]["patch"]  # pixels of a side of the squares that it reads
CELLS = SIDE // PATCH  # of a side of its grid
SHAPE, LEFT = (SIDE, SIDE * 5 // 4), SIDE // 8  # of pictures in whose middle that square lies, and what is beside it
Predict = Callable[[str, int, Mapping[str, Any]], Any]  # of a target, the number of a sample and what is given


class Known(dict):
    """Values by name, as outputs have them."""

    uncertainty: Mapping[str, Any] = {}


class Scored:
    """Runs the command with `tiny`, which is loaded once."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: am.AnyModel) -> None:
        self.patch, self.capsys, self.model = patch, capsys, model

    def __call__(self, task: str, data: Path, predict: Predict, *options: object) -> dict[str, Any]:
        """What the command prints as JSON, where the model predicts these values."""

        def generate(own: Any, inputs: Any, target: str, *, seed: Any, start: Any = None, **how: Any) -> list[Known]:
            numbers = seed if isinstance(seed, list) else [seed + k for k in range(len(inputs))]
            starts = start or [{}] * len(inputs)
            given = [{**each, "start": own} for each, own in zip(inputs, starts, strict=True)]
            return [Known({target: predict(target, *pair)}) for pair in zip(numbers, given, strict=True)]

        with self.patch.context() as patched:
            patched.setattr(ModelSource, "load", lambda *given: self.model)
            patched.setattr(am.AnyModel, "generate_batch", generate)
            code = command("eval", task, data, "--model", "tiny", "--batch", 2, "--json", *options)
        said = self.capsys.readouterr()
        assert code == 0, said.err
        return json.loads(said.out)


@pytest.fixture(scope="session")
def embedded() -> am.AnyModel:
    return am.load("tiny")


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], embedded: am.AnyModel) -> Scored:
    return Scored(monkeypatch, capsys, embedded)
