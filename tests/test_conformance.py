"""The conformance rules: a good plugin passes, each planted defect is caught by the rule meant for it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

import anymodal as am
from anymodal.cli.plugin import plugin
from anymodal.errors import PluginError, UnknownModality
from anymodal.families import CodedModality, EmbeddingModality
from anymodal.testing import RULES, check, conformance
from anymodal.testing.rule import TOPICS, rule
from anymodal.testing.run import Inspection
from anymodal.testing.strategies import modality_sets, packed_batches
from anymodal.testing.target import find

ROOT = Path(am.__file__).parents[1]


class Thermal(am.ImageModality):
    """Long-wave infrared, kelvin."""

    channels, low, high = 1, 233.0, 393.0


class Channel(Thermal):
    """Forgets the axis of channels."""

    def preprocess(self, value: Any) -> np.ndarray:
        return super().preprocess(value)[0]


class Raw(Thermal):
    """Gives the tokenizer kelvin, as far as they go."""

    def preprocess(self, value: Any) -> np.ndarray:
        return (10 * np.asarray(value, np.float32))[None]


class Celsius(Thermal):
    """Comes back in another unit."""

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return super().postprocess(tensor) - 273.15


class Greedy(Thermal):
    """Writes into what it is given."""

    def preprocess(self, value: Any) -> np.ndarray:
        value -= 1
        return super().preprocess(value)


class Dithered(Thermal):
    """Adds noise that is another one every time."""

    def preprocess(self, value: Any) -> np.ndarray:
        noise = np.random.default_rng().random(np.shape(value), np.float32) / 1000
        return np.clip(super().preprocess(value) + noise, -1, 1)


class Noisy(Thermal):
    """Draws from the random numbers of everybody."""

    def preprocess(self, value: Any) -> np.ndarray:
        np.random.rand()
        return super().preprocess(value)


class Gap(Thermal):
    """Lets NaN through."""

    def preprocess(self, value: Any) -> np.ndarray:
        return (2 * (np.asarray(value, np.float32) - self.low) / (self.high - self.low) - 1)[None]


class Pathless(Thermal):
    """Takes arrays and paths, and no str."""

    def accept(self, value: Any) -> Any:
        return self._checked(value) if isinstance(value, (str, np.ndarray)) else super().accept(value)


class Void(Thermal):
    """Takes arrays without a pixel."""

    def accept(self, value: Any) -> Any:
        return value if isinstance(value, np.ndarray) else super().accept(value)


class Lenient(Thermal):
    """Takes anything."""

    def accept(self, value: Any) -> Any:
        return value


class Shifted(Thermal):
    """Reads files with another offset than it writes them."""

    def read(self, path: Path) -> np.ndarray:
        return super().read(path) + 5


class Trusting(Thermal):
    """Gives an empty picture for a file that it cannot read."""

    def read(self, path: Path) -> np.ndarray:
        try:
            return super().read(path)
        except ValueError:
            return np.full((8, 8), self.low, np.float32)


class Unsaid(Thermal):
    """How warm things are."""


class Rounding(Thermal):
    """Rounds what it is given."""

    def accept(self, value: Any) -> Any:
        return np.round(super().accept(value))


class Wide(Thermal):
    """Says that it has more positions than it has."""

    def streams(self) -> tuple[am.Stream, ...]:
        return (am.Stream(self.name, self.name, am.TokenSpace(self.codebook, self.side**2 + 1)),)


class Overflow(Thermal):
    """Counts ids from the end."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {name: [ids + self.codebook for ids in rows] for name, rows in super().tokenize(values).items()}


class Learner(Thermal):
    """Has as many ids as it has seen values."""

    seen = 0

    def accept(self, value: Any) -> Any:
        Learner.seen += 1
        return super().accept(value)

    def streams(self) -> tuple[am.Stream, ...]:
        return (am.Stream(self.name, self.name, am.TokenSpace.grid(self.codebook + self.seen, self.side, self.side)),)


class Scaled(Thermal):
    """Has more ids for larger pictures."""

    def streams(self) -> tuple[am.Stream, ...]:
        size = self.codebook if self.size <= 32 else 2 * self.codebook
        return (am.Stream(self.name, self.name, am.TokenSpace.grid(size, self.side, self.side)),)


class Double(Thermal):
    """Decodes to another type than it takes."""

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return super().postprocess(tensor).astype(np.float64)


class Neighbours(Thermal):
    """Scales by what else is in the batch."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return super().tokenize([v - np.mean(values) + 300 for v in values])


class Brittle(am.TextModality):
    """Text without brackets, and with nothing else if there is one."""

    def parse(self, text: str) -> str:
        if "[" in text or not text.isascii() or len(text.split()) > 20:
            raise RuntimeError("unexpected bracket")
        return text


class Unknown(Thermal):
    """Asks for a loss that there is not."""

    loss = "best"


class Shaken(Thermal):
    """Cuts out another part than it is asked for."""

    def crop(self, value: Any, crop: am.Crop) -> np.ndarray:
        return super().crop(value, am.Crop(0, 0, crop.width, crop.height, crop.flip))


class Tilted(Thermal):
    """Turns upside down when mirrored, and a bit further."""

    def mirror(self, value: np.ndarray) -> np.ndarray:
        return np.roll(super().mirror(value), 1, 0)


class Rigid(Thermal):
    """Says that it is mirrored and is not."""

    def mirror(self, value: np.ndarray) -> np.ndarray:
        return value


class Blended(am.LabelMapModality):
    """Kinds of ground, ids 0 to 9; averages them."""

    classes = tuple(f"ground {k}" for k in range(10))
    nearest = False


class Sideways(Thermal):
    """Takes its height for its width."""

    def extent(self, value: Any) -> tuple[float, float]:
        return float(value.shape[0]), float(value.shape[1])


class Poisoned(Thermal):
    """Gives a picture of noise, another one every time."""

    def detokenize_stream(self, stream: str, tokens: list[np.ndarray]) -> list[Any]:
        drawn = np.random.default_rng()
        return [v + drawn.random(v.shape, np.float32) for v in super().detokenize_stream(stream, tokens)]


class Grey(Thermal):
    """Shows a picture without colours."""

    def show(self, value: Any, size: int = 256) -> Any:
        return super().show(value, size).convert("L")


class Pickled(Thermal):
    """Writes pickles with the ending of pictures."""

    def write(self, value: Any, path: Path) -> None:
        super().write(value, path)
        path.with_suffix(".bak").write_bytes(b"")


class Modest(Thermal):
    """Never gives a full score."""

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        return {"quality": 0.5}


class Endless(Thermal):
    """Has a number without a default."""

    numbers = (*Thermal.numbers, "emissivity")

    def __init__(self, **numbers: Any) -> None:
        super().__init__(**numbers)
        self.emissivity = 1.0

    def settings(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in Thermal.numbers}


class Locked(Thermal):
    """Keeps a lock, which no other process can have."""

    def __init__(self, **numbers: Any) -> None:
        super().__init__(**numbers)
        self.lock = threading.Lock()


class Foreign(am.TextModality):
    """Text with the special tokens of another vocabulary."""

    def streams(self) -> tuple[am.Stream, ...]:
        space = am.TokenSpace.sequence(len(self.vocabulary or "x" * 9000), self.length, sentinels=(4, 200), end=3)
        return (am.Stream(self.name, self.name, space),)


class Unending(am.TextModality):
    """Text that does not say where it ends."""

    def tokenize(self, values: list[Any], rng: Any = None) -> dict[str, list[np.ndarray]]:
        return {name: [ids[:-1] for ids in rows] for name, rows in super().tokenize(values, rng).items()}


class Hollow(EmbeddingModality):
    """Rows with a hole."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return {name: [v * np.float32(np.nan) for v in rows] for name, rows in super().tokenize(values).items()}


class Mean(Thermal):
    """Answers with a list where a picture is expected."""

    def expect(self, probabilities: list[np.ndarray]) -> list[Any]:
        return [value.tolist() for value in super().expect(probabilities)]


class Silent(Thermal):
    channels = 1


PLANTED = {
    "AM002": Silent,
    "AM003": Locked,
    "AM101": Channel,
    "AM102": Raw,
    "AM103": Celsius,
    "AM104": Greedy,
    "AM105": Dithered,
    "AM106": Noisy,
    "AM107": Gap,
    "AM108": Pathless,
    "AM109": Void,
    "AM110": Lenient,
    "AM111": Shifted,
    "AM112": Trusting,
    "AM113": Unsaid,
    "AM114": Rounding,
    "AM201": Wide,
    "AM202": Overflow,
    "AM203": Foreign,
    "AM204": Learner,
    "AM205": Scaled,
    "AM207": Unending,
    "AM208": Endless,
    "AM301": Double,
    "AM303": Neighbours,
    "AM305": Brittle,
    "AM307": Unknown,
    "AM401": Shaken,
    "AM402": Tilted,
    "AM403": Rigid,
    "AM404": Blended,
    "AM405": Sideways,
    "AM503": Hollow,
    "AM504": Mean,
    "AM505": Poisoned,
    "AM601": Grey,
    "AM602": Pickled,
    "AM603": Modest,
}

IN_FOLDERS = {
    "AM000": ("import os\n\nos.kill(os.getpid(), 11)\n", "dies of SIGSEGV"),
    "AM001": ("import numpy\n", "imports numpy"),
    "AM005": ("", "without an upper bound"),
    "AM006": ("from pathlib import Path\n\nPath('seen.txt').write_text('here')\n", "opens seen.txt for writing"),
    "AM007": ("from anymodal.plugins import Registry\n", "imports anymodal.plugins.Registry"),
    "AM008": ("", "has no summary"),
}
MODULE = '''
from anymodal import ImageModality


class Thermal(ImageModality):
    """Long-wave infrared, kelvin."""
    channels, low, high = 1, 233.0, 393.0
'''
PROJECT = """[project]
name = "anymodal-planted"
version = "0.1"
dependencies = ["anymodal"]

[project.entry-points.anymodal]
thermal = "anymodal_planted_NUMBER:Thermal"
"""


def project(folder: Path, number: str, first: str) -> Path:
    """The plugin of thirteen lines, with something before them."""
    (folder / "pyproject.toml").write_text(PROJECT.replace("NUMBER", number.lower()))
    (folder / f"anymodal_planted_{number.lower()}.py").write_text(first + MODULE)
    return folder


def test_a_good_plugin_passes():
    assert not [str(result) for result in check(Thermal, profile="full") if result.status in ("failed", "warned")]


def test_the_smallest_plugin_passes_every_rule_that_must_hold(tmp_path):
    results = check(str(project(tmp_path, "small", "")))
    assert {r.rule.number for r in results if r.status == "warned"} == {"AM005", "AM008"}
    assert not [str(r) for r in results if r.bad] and sum(r.status == "passed" for r in results) >= 45


@pytest.mark.parametrize("number", PLANTED)
def test_a_planted_defect_is_caught_with_its_fix(number):
    (target,) = find(PLANTED[number])
    result = Inspection(target).judge(number)
    assert result.status == ("warned" if RULES[number].level == "should" else "failed"), result
    assert f"fix: {result.rule.fix}" in str(result) and f"#{number.lower()}" in str(result)
    assert len(result.detail) < 400


@pytest.mark.parametrize("number", IN_FOLDERS)
def test_a_defect_in_a_package_is_caught(number, tmp_path, monkeypatch):
    first, message = IN_FOLDERS[number]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (target,) = find(str(project(tmp_path, number, first)))
    result = Inspection(target).judge(number)
    assert result.status in ("failed", "warned") and message in result.detail, result


def test_a_crash_leaves_all_else_out(tmp_path):
    results = check(str(project(tmp_path, "crash", "import os\n\nos.abort()\n")))
    assert "dies of SIGABRT" in results[0].detail
    assert {r.status for r in results[1:]} == {"skipped"}


def test_an_endless_import_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("anymodal.testing.fresh.LIMIT", 1.0)
    first, *_ = check(str(project(tmp_path, "loop", "while True:\n    pass\n")))
    assert first.bad and "not done after 1 second" in first.detail


def test_files_that_a_package_should_not_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (project(tmp_path, "heavy", "") / "weights.pt").write_bytes(b"")
    (target,) = find(str(tmp_path))
    assert "weights.pt" in Inspection(target).judge("AM009").detail


def test_dependent_rules_are_left_out_after_a_failure():
    statuses = {result.rule.number: result for result in check(Channel)}
    assert statuses["AM102"].status == "skipped" and "AM101 comes first" in statuses["AM102"].detail


def test_exceptions_are_declared_with_a_reason_and_must_be_true():
    results = {r.rule.number: r for r in check(Celsius, {"AM103": "shown in another unit"})}
    assert results["AM103"].status == "failed as expected" and not results["AM103"].bad
    with pytest.raises(pytest.xfail.Exception, match="shown in another unit"):
        conformance(Celsius, expected_failures={"AM103": "shown in another unit"})("AM103")
    with pytest.raises(pytest.fail.Exception, match=r"AM103 .*passes, though it is declared to fail"):
        conformance(Thermal, expected_failures={"AM103": "shown in another unit"})("AM103")
    with pytest.raises(ValueError, match="needs a reason"):
        check(Thermal, {"AM103": " "})
    with pytest.raises(ValueError, match="no rule 'AM999'"):
        conformance(Thermal, expected_failures={"AM999": "why"})


def test_unknown_targets_are_errors_that_help(tmp_path):
    with pytest.raises(UnknownModality, match="did you mean 'depth'"):
        check("depht")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(PluginError, match="entry-points"):
        check(str(tmp_path))


def test_the_command_prints_json_and_fails_for_rules_that_must_hold(tmp_path):
    run = CliRunner().invoke(plugin, ["check", "anymodal-depth", "--json"])
    found = json.loads(run.stdout)
    assert run.exit_code == 0 and found["failed"] == 0 and found["passed"] > 45
    assert {"rule", "status", "fix", "page", "detail"} <= set(found["results"][0])
    run = CliRunner().invoke(plugin, ["check", str(project(tmp_path, "numpy", "import numpy\n"))])
    assert run.exit_code == 1 and "AM001" in run.stdout and "fix:" in run.stdout


def test_rules_are_whole():
    assert len(RULES) >= 50
    for number, each in RULES.items():
        assert number == each.number and each.topic in TOPICS and each.title and each.fix and each.why, number
        assert each.scope, f"{number} does not say which modalities it is for"
        assert all(other in RULES for other in each.after)
    with pytest.raises(ValueError, match="AM101 already"):
        rule("AM101", "again", fix="")(lambda subject: None)


def test_every_rule_has_its_place_on_its_page():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    page = generate.on_page_markdown((ROOT / "docs" / "reference" / "rules.md").read_text())
    for number, each in RULES.items():
        assert f"\n### {number}\n" in page and each.title in page and each.fix in page
        assert each.page.partition("#")[0] == "docs/reference/rules.md"


# Fixtures and strategies.


def test_the_registry_is_isolated(registry):
    assert not registry.modalities()
    registry.add(Thermal)
    assert am.ModalitySet(["thermal"])["thermal"].low == 233
    with pytest.raises(UnknownModality):
        am.ModalitySet(["depth"])


@pytest.mark.parametrize("name", ["depth", "caption", "det", "human_poses", "metadata_image", "clip"])
def test_sample_values_are_natural(sample_values, name):
    values = sample_values(name)
    assert len(values) > 1
    for value in values:
        am.registry().modality(name)(**({"channels": 8} if name == "clip" else {})).accept(value)


def test_a_tiny_model_generates(tiny_model, sample_values):
    model = tiny_model("depth", "caption", Thermal)
    out = model.generate({"thermal": sample_values(Thermal)[0]}, ["depth", "caption"], seed=0)
    assert out["depth"].shape == (32, 32) and isinstance(out["caption"], str)


def test_there_is_no_network(no_network):
    import socket

    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(packed_batches())
def test_packed_batches_hold_tokens_of_their_set(drawn):
    modalities, packed = drawn
    layout = modalities.layout
    assert int(packed.inputs.ids.max()) < layout.rows("inputs")
    assert int(packed.inputs.streams.max()) < len(layout.streams)


@settings(max_examples=25, deadline=None)
@given(modality_sets())
def test_sets_lay_their_streams_side_by_side(modalities):
    assert 1 <= len(modalities) <= 4 and modalities.layout.rows("outputs") >= 2


def test_the_pytest_plugin_imports_nothing_heavy():
    code = "import sys, anymodal.testing.pytest_plugin; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "hypothesis", "anymodal.modality"} & set(done.stdout.split())


def test_coded_modalities_have_examples_of_their_own():
    for name in am.modalities():
        cls = am.registry().modality(name)
        assert not issubclass(cls, CodedModality) or cls.examples is not am.Modality.examples
