"""Claims and their table. A claim is made of pieces of work whose results are kept, so that a stopped run goes on."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from anymodal.config import structure
from anymodal.config.loading import read_config
from anymodal.config.tables import Table
from anymodal.evaluation.intervals import half_width
from anymodal.files import read_object, write_json
from benchmarks.claims.worlds import weights

HERE = Path(__file__).parent
SIZES, NOTES = HERE / "sizes.yaml", HERE / "notes.yaml"
RESULTS = HERE.parent / "results" / "claims"
TRAIN_SEED, HELD_OUT_SEED = 0, 1_000_003  # the model never saw a scene of the second
PAIRS_SEED = 2_000_003  # of what is learned after the model, neither trained on before nor scored on
LOWER = ("abs_rel", "mean_angle", "delta_e", "mae", "error", "loss")  # scores of which less is better

Piece = tuple[str, Callable[[], Any]]


@attrs.frozen
class Verdict:
    """What came of a claim: figures in words, whether they meet the bar, and how much was run."""

    measured: str
    met: bool | None
    size: str


class Claim(ABC):
    """A row of the table. Its settings are the sizes of its run; results of other settings are not mixed with them."""

    model: str  # by its name; results of other weights are not mixed either
    claim: ClassVar[str]
    bar: ClassVar[str]
    page: ClassVar[str] = ""  # in docs/, which holds its table between marks

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """What is to be done, by name; each gives what JSON can hold."""

    @abstractmethod
    def verdict(self, found: Mapping[str, Any]) -> Verdict:
        """What the pieces that are done say. Called with one piece at least."""

    def table(self, found: Mapping[str, Any]) -> list[str]:
        """The lines of its table in `page`. Called with one piece at least."""
        return []

    def figure(self, found: Mapping[str, Any]) -> Callable[[Path], None] | None:
        """What draws a picture of the results to a file, if there is one to draw."""
        return None


CLAIMS: Table[type[Claim]] = Table("claim", {})


class Ledger:
    """The results of a claim in a file, written anew after each piece.

    `weights` are those that results have to be of (`worlds.weights`); None takes what was measured, to tell it.
    """

    def __init__(self, name: str, claim: Claim, folder: Path = RESULTS, weights: str | None = None) -> None:
        self.path, self.of = folder / f"{name}.json", json.loads(json.dumps(attrs.asdict(claim)))  # type: ignore[call-overload]
        kept = read_object(self.path) if self.path.is_file() else {}
        self.weights = kept.get("weights", "") if weights is None else weights
        same = kept.get("of") == self.of and kept.get("weights", "") == self.weights
        self.pieces: dict[str, Any] = kept["pieces"] if same else {}

    def keep(self, piece: str, result: Any) -> None:
        self.pieces[piece] = result
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json({"of": self.of, "weights": self.weights, "pieces": self.pieces}, self.path)


def load_claim(name: str, changed: Mapping[str, Any] | None = None) -> Claim:
    """A claim with the sizes of the committed recipe, some of them changed. Raises ConfigError for unknown ones."""
    import benchmarks.claims.rows  # noqa: F401  # fills the table

    sizes = read_config(SIZES)
    kind = CLAIMS.choose(name)
    return structure({**sizes.get(name, {}), **(changed or {})}, kind, f"the settings of {name}")


def work_off(name: str, claim: Claim, say: Callable[[str], None], folder: Path = RESULTS) -> Ledger:
    """Do what is left of a claim."""
    ledger = Ledger(name, claim, folder, weights(claim.model))
    for piece, run in claim.pieces():
        if piece not in ledger.pieces:
            say(f"{name}: {piece}")
            ledger.keep(piece, run())
    return ledger


def better(score: str, one: float, other: float) -> bool:
    """Whether one value of a score is better than another."""
    return one < other if lower(score) else one > other


def lower(score: str) -> bool:
    """Whether less of a score is better."""
    return any(part in score for part in LOWER)


def interval(values: Sequence[float], digits: int = 3) -> str:
    """The mean with half its 95 % interval, in words."""
    half = half_width(values)
    mean = f"{float(np.mean(values)):.{digits}f}"
    return f"{mean} ± {half:.{digits}f}" if math.isfinite(half) else mean
