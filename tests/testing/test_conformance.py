"""The conformance rules: a good plugin passes, each planted defect is caught by the rule meant for it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from planted import PLANTED, Celsius, Channel, Thermal
from planted_more import MORE, Large, Letters

import anymodal as am
from anymodal.cli.plugin import plugin
from anymodal.errors import PluginError, UnknownModality
from anymodal.families import CodedModality
from anymodal.testing import RULES, check, conformance
from anymodal.testing.choose import find
from anymodal.testing.definition import TOPICS, rule
from anymodal.testing.run import Inspection
from anymodal.testing.summary import causes, summary

ROOT = Path(am.__file__).parents[1]


IN_FOLDERS = {
    "AM000": ("import os\n\nos.kill(os.getpid(), 11)\n", "dies of SIGSEGV"),
    "AM001": ("import numpy\n", "imports numpy"),
    "AM005": ("", "without an upper bound"),
    "AM006": ("from pathlib import Path\n\nPath('seen.txt').write_text('here')\n", "opens seen.txt for writing"),
    "AM007": ("from anymodal.plugins.registry import Registry\n", "imports anymodal.plugins.registry.Registry"),
    "AM008": ("", "has no summary"),
    "AM012": ("", "no address of its source"),
}
BUSY = "import time\n\nend = time.process_time() + 0.3\nwhile time.process_time() < end:\n    pass\n"
THREAD = "import threading as t\n\nt.Thread(target=t.Event().wait, daemon=True).start()\n"
DESCRIPTOR = "import os\n\nos.fdopen(os.open('seen.txt', os.O_CREAT | os.O_WRONLY), 'w').close()\n"
LATE = "def late():\n    from anymodal.tokens import Layout\n\n    return Layout\n"
OTHER = "def late():\n    import anymodal_depth\n\n    return anymodal_depth\n"
MORE_IN_FOLDERS = {
    "AM001 busy": (BUSY, "keeps a core busy"),
    "AM006 descriptor": (DESCRIPTOR, "opens seen.txt for writing"),
    "AM006 seed": ("import random\n\nrandom.seed(0)\n", "changes the random state of Python"),
    "AM006 variable": ("import os\n\nos.environ['HIDDEN'] = '1'\n", "changes the environment variable HIDDEN"),
    "AM006 thread": (THREAD, "starts a thread"),
    "AM007 late": (LATE, "imports anymodal.tokens"),
    "AM007 other": (OTHER, "of another plugin"),
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


REMEMBERING = (
    MODULE
    + """
    def preprocess(self, value):
        return super().preprocess(value) / remembered(float(value.max()))


SEEN = []


def remembered(number):
    SEEN.append(number)
    return KEPT / 300
"""
)


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """What is checked in a folder is imported from there, as long as a test lasts."""
    monkeypatch.setattr(sys, "path", [*sys.path])


def project(folder: Path, number: str, first: str) -> Path:
    """The plugin of thirteen lines, with something before them."""
    (folder / "pyproject.toml").write_text(PROJECT.replace("NUMBER", number.lower()))
    (folder / f"anymodal_planted_{number.lower()}.py").write_text(first + MODULE)
    return folder


def test_a_good_plugin_passes():
    assert not [str(result) for result in check(Thermal, profile="full") if result.status in ("failed", "warned")]


def test_a_class_made_in_place_passes():
    results = check(am.image("planet", channels=6, low=0, high=1e4))
    assert not [str(result) for result in results if result.status in ("failed", "warned")]


def test_the_smallest_plugin_passes_every_rule_that_must_hold(tmp_path):
    results = check(str(project(tmp_path, "small", "")))
    assert {r.rule.number for r in results if r.status == "warned"} == {"AM005", "AM008", "AM012"}
    assert not [str(r) for r in results if r.bad] and sum(r.status == "passed" for r in results) >= 45


@pytest.mark.parametrize(
    ("urls", "status"),
    [
        ('Source = "https://example.org/code"', "passed"),
        ('repository = "https://example.org/code"', "passed"),
        ('Documentation = "https://example.org"', "warned"),
        ('Source = "file:///code"', "warned"),
        ('Source = ""', "warned"),
    ],
)
def test_a_link_to_the_source_is_asked_for(tmp_path, urls, status):
    folder = project(tmp_path, "linked", "")
    with (folder / "pyproject.toml").open("a") as file:
        file.write(f"\n[project.urls]\n{urls}\n")
    (target,) = find(str(folder))
    result = Inspection(target).judge("AM012")
    assert result.status == status
    assert status == "passed" or "no address of its source" in result.detail
    assert "Documentation" not in urls or "its links are Documentation" in result.detail


def test_bytecode_that_python_writes_is_nothing_that_a_plugin_changes(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (target,) = find(str(project(tmp_path, "compiled", "")))
    assert Inspection(target).judge("AM006").status == "passed"
    assert list(tmp_path.glob("__pycache__/*.pyc"))


@pytest.mark.parametrize("step", [0, 1], ids=["smallest", "grown"])
def test_the_plugin_of_the_tutorial_keeps_what_must_hold(tmp_path, monkeypatch, step):
    page = (ROOT / "docs" / "tutorial" / "your-own-modality.md").read_text()
    blocks = re.findall(r'```\w+ title="anymodal-thermal/(\S+)"\n(.*?)```', page, re.DOTALL)
    modules = [text for name, text in blocks if name.endswith(".py")]
    (tmp_path / "pyproject.toml").write_text(dict(blocks)["pyproject.toml"])
    (tmp_path / "anymodal_thermal.py").write_text(modules[step])
    monkeypatch.delitem(sys.modules, "anymodal_thermal", raising=False)
    results = check(str(tmp_path))
    sys.modules.pop("anymodal_thermal", None)
    assert [str(r) for r in results if r.bad] == []
    assert {r.rule.number for r in results if r.status == "warned"} == {"AM005", "AM008", "AM012"}


@pytest.mark.parametrize("number", PLANTED)
def test_a_planted_defect_is_caught_with_its_fix(number):
    (target,) = find(PLANTED[number])
    result = Inspection(target).judge(number)
    assert result.status == ("warned" if RULES[number].level == "should" else "failed"), result
    assert f"fix: {result.rule.fix}" in str(result) and f"#{number.lower()}" in str(result)
    assert len(result.detail) < 400


@pytest.mark.parametrize("case", MORE)
def test_a_defect_is_blamed_on_what_is_wrong_with_the_smallest_example(case):
    cls, words = MORE[case]
    results = check(cls)
    (found,) = [r for r in results if r.rule.number == case.partition(" ")[0]]
    assert found.status == "failed" and words in found.detail, found
    others = [str(r) for r in results if r.status in ("failed", "warned") and r is not found]
    assert not others, others


def test_letters_are_a_good_plugin():
    """That from which the defective ones differ."""
    assert not [str(result) for result in check(Letters, profile="full") if result.status in ("failed", "warned")]


@pytest.mark.parametrize("number", IN_FOLDERS)
def test_a_defect_in_a_package_is_caught(number, tmp_path, monkeypatch):
    first, message = IN_FOLDERS[number]
    monkeypatch.chdir(tmp_path)
    (target,) = find(str(project(tmp_path, number, first)))
    result = Inspection(target).judge(number)
    assert result.status in ("failed", "warned") and message in result.detail, result


@pytest.mark.parametrize(("kept", "seen"), [("max(SEEN)", "before"), ("SEEN[0]", "after")])
def test_what_a_module_remembers_of_values_is_found(kept, seen, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    place = project(tmp_path, "AM117", "")
    module = tmp_path / "anymodal_planted_am117.py"
    module.write_text(REMEMBERING.replace("KEPT", kept))
    monkeypatch.delitem(sys.modules, module.stem, raising=False)
    (target,) = find(str(place))
    inspection = Inspection(target)
    for example in inspection.subject.examples:  # as other rules have done by then
        inspection.subject.modality.preprocess(example.value)
    first, second = (inspection.judge(number) for number in ("AM105", "AM117"))
    sys.modules.pop(module.stem, None)
    assert first.status == "passed", "what has been seen by now hides it"
    assert second.status == "failed" and f"that has seen the examples {seen} it alone" in second.detail, second


@pytest.mark.parametrize("case", MORE_IN_FOLDERS)
def test_another_defect_in_a_package_is_caught(case, tmp_path, monkeypatch):
    number, (first, message) = case.partition(" ")[0], MORE_IN_FOLDERS[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, f"anymodal_planted_{number.lower()}", raising=False)
    (target,) = find(str(project(tmp_path, number, first)))
    result = Inspection(target).judge(number)
    sys.modules.pop(f"anymodal_planted_{number.lower()}", None)
    assert result.status == "failed" and message in result.detail, result


def test_a_package_may_have_a_module_beside(tmp_path):
    (project(tmp_path, "whole", "from anymodal_beside import LOW\n") / "anymodal_beside.py").write_text("LOW = 233.0\n")
    (target,) = find(str(tmp_path))
    assert Inspection(target).judge("AM007").status == "passed"


def test_a_private_name_deep_in_a_package_is_found(tmp_path):
    folder = tmp_path / "src" / "anymodal_planted_deep"
    folder.mkdir(parents=True)
    (project(tmp_path, "deep", "") / "anymodal_planted_deep.py").rename(folder / "core.py")
    (folder / "__init__.py").write_text("from anymodal_planted_deep.core import Thermal as Thermal\n")
    (folder / "core.py").write_text("from anymodal.tokens import Layout as Layout\n" + (folder / "core.py").read_text())
    (target,) = find(str(tmp_path))
    assert "anymodal_planted_deep.core imports anymodal.tokens.Layout" in Inspection(target).judge("AM007").detail


def test_what_else_a_distribution_announces_is_loaded_too(tmp_path):
    with (project(tmp_path, "lab", "") / "pyproject.toml").open("a") as file:
        file.write('labeler-thermal = "anymodal_planted_lab"\n')
    (target,) = find(str(tmp_path))
    result = Inspection(target).judge("AM000")
    assert "also announces labeler-thermal" in result.detail and "provides nothing of its kind" in result.detail


@pytest.mark.parametrize("name", ["thermal-", "-thermal", "thermal camera", ""])
def test_names_that_no_distribution_can_have(tmp_path, name):
    folder = project(tmp_path, "named", "")
    (folder / "pyproject.toml").write_text(PROJECT.replace("anymodal-planted", name))
    with pytest.raises(PluginError, match="no name of a distribution"):
        check(str(folder))


def test_a_crash_leaves_all_else_out(tmp_path):
    results = check(str(project(tmp_path, "crash", "import os\n\nos.abort()\n")))
    assert "dies of SIGABRT" in results[0].detail
    assert {r.status for r in results[1:]} == {"skipped"}


def test_an_endless_import_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("anymodal.testing.fresh.LIMIT", 1.0)
    first, *_ = check(str(project(tmp_path, "loop", "while True:\n    pass\n")))
    assert first.bad and "not done after 1 second" in first.detail


def test_files_that_a_package_should_not_hold(tmp_path):
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


class Excused(Celsius):
    """Celsius; its tensors are those of another unit, and it says why."""

    exceptions = {"AM103": "shown in another unit"}


def test_exceptions_of_a_class_are_known_wherever_it_is_checked():
    (target,) = find(Excused)
    result = Inspection(target).judge("AM103")
    assert result.status == "failed as expected" and result.detail == "shown in another unit"
    assert "failed, as declared: shown in another unit" in "\n".join(summary([result]))
    with pytest.raises(pytest.xfail.Exception, match="shown in another unit"):
        conformance(Excused)("AM103")
    true = type("True", (Thermal,), {"__doc__": "Kelvin.", "exceptions": {"AM103": "it was so once"}})
    assert "passes, though it is declared to fail" in Inspection(find(true)[0]).judge("AM103").detail


class Raises(Thermal):
    """Kelvin; one line is wrong."""

    def preprocess(self, value):
        return super().preprocess(value)[self.nothing]


def test_failures_are_told_by_their_cause():
    results = check(Raises)
    failed = {r.rule.number for r in results if r.bad}
    assert len(failed) > 4
    groups = causes(results)
    assert len(groups) == 1 and {r.rule.number for r in groups[0]} == failed
    text = "\n".join(summary(results))
    assert f"{len(failed)} rules for one cause (raises): raises AttributeError" in text
    assert text.count("fix:") == 1 and "in line" in text.splitlines()[0]


def test_a_number_that_no_vocabulary_has_is_told_once():
    groups = causes(check(Large))
    text = "\n".join(summary(check(Large)))
    assert len(groups) == 1 and "AM302" in {r.rule.number for r in groups[0]}
    assert "large writes v0=3000, and its vocabulary has 1000 value tokens of v0" in text and text.count("fix:") == 1


def test_skipped_rules_are_named_with_the_reason():
    text = "\n".join(summary(check(Channel)))
    assert re.search(r"skipped AM102, .*AM103.*: AM101 comes first", text)
    assert re.search(r"skipped .*AM404.*: only for label maps", text)
    assert re.search(r"skipped .*AM302.*: only for structured sequences; plain text", text)


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
    assert {"rule", "status", "fix", "page", "detail"} <= set(found["results"][0]) and found["causes"] == []
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
    page = generate.filled((ROOT / "docs" / "reference" / "rules.md").read_text())
    for number, each in RULES.items():
        assert f"\n### {number}\n" in page and each.title in page and each.fix in page
        assert each.page == f"https://anymodal.github.io/anymodal/reference/rules/#{number.lower()}"


def test_public_names_are_never_modules():
    """The names of `anymodal.testing` are resolved late: a module of the same name would take their place."""
    code = (
        "import importlib, pkgutil, anymodal.testing as testing\n"
        "for found in pkgutil.iter_modules(testing.__path__):\n"
        "    importlib.import_module(f'anymodal.testing.{found.name}')\n"
        "from anymodal.testing import *\n"
        "print(*(type(getattr(testing, name)).__name__ for name in testing.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "function" in done.stdout and "module" not in done.stdout.split()


def test_coded_modalities_have_examples_of_their_own():
    for name in am.modalities():
        cls = am.registry().modality(name)
        assert not issubclass(cls, CodedModality) or cls.examples is not am.Modality.examples
