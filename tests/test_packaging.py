"""What the distributions say of themselves: the core, and every folder in plugins/."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from anymodal.plugins import registry

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
NAMES = [folder.name for folder in FOLDERS]
OTHER_EXTRAS = {
    "all",
    "data",
    "eval",
    "index",
    "label",
    "lora",
    "onnx",
    "probe",
    "quantizers",
    "ray",
    "testing",
    "track",
}  # of the core, not plugins
REPOSITORY = "https://github.com/anymodal/anymodal"
DOCUMENTATION = "https://anymodal.github.io/anymodal"


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def floor_and_ceiling(specifier: SpecifierSet) -> set[str]:
    return {part.operator for part in specifier} & {">=", "~=", "<", "=="}


CORE = project(ROOT)


def test_extras_are_the_folders_of_plugins():
    """To repair it, write the lines that the message shows into pyproject.toml."""
    extras = CORE["optional-dependencies"]
    names = [folder.name.removeprefix("anymodal-") for folder in FOLDERS]
    for folder, name in zip(FOLDERS, names, strict=True):
        assert len(extras.get(name, ())) == (2 if name == "tiny" else 1), (
            f'pyproject.toml lacks {name} = ["{folder.name}>=0.1,<1"]'
        )
        requirement = Requirement(extras[name][0])
        assert requirement.name == folder.name
        assert Version(project(folder)["version"]) in requirement.specifier
        assert floor_and_ceiling(requirement.specifier) == {">=", "<"}
    left = set(extras) - set(names) - OTHER_EXTRAS
    assert not left, f"extras without a folder in plugins/: {', '.join(sorted(left))}"


def test_all_is_every_plugin():
    (everything,) = map(Requirement, CORE["optional-dependencies"]["all"])
    assert everything.name == "anymodal"
    assert everything.extras == {folder.name.removeprefix("anymodal-") for folder in FOLDERS}


def test_tiny_comes_with_the_modalities_it_speaks():
    """Else `pip install 'anymodal[tiny]'` is a model that cannot be loaded."""
    checkpoint = ROOT / "plugins/anymodal-tiny/anymodal_tiny/checkpoint/config.json"
    speaks = {name.replace("_", "-") for name in json.loads(checkpoint.read_text())["modalities"]}
    (modalities,) = [each for each in map(Requirement, CORE["optional-dependencies"]["tiny"]) if each.extras]
    assert modalities.name == "anymodal" and modalities.extras == speaks


def test_test_dependencies_are_those_of_the_extras():
    """What an extra asks for is tested with at least that version."""
    group = {Requirement(each).name for each in groups()["test"]}
    extras = CORE["optional-dependencies"]
    asked = {Requirement(each).name for name in OTHER_EXTRAS - {"all"} for each in extras[name]}
    assert asked <= group


def groups() -> dict[str, list[str]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]


@pytest.mark.parametrize("folder", [ROOT, *FOLDERS], ids=lambda path: path.name if path != ROOT else "anymodal")
class TestMetadata:
    def test_an_index_can_show_it(self, folder):
        said = project(folder)
        assert said["name"] == ("anymodal" if folder == ROOT else folder.name)
        assert 10 < len(said["description"]) <= 120
        assert not said["description"].endswith(".")
        assert "`" not in said["description"]  # indexes and the directory show it as it stands
        assert said["authors"] == [{"name": "The anymodal authors"}]
        assert len(said["keywords"]) >= 3
        readme = folder / said["readme"]
        assert readme.read_text().startswith(f"# {said['name']}\n")

    def test_the_licence_travels_with_it(self, folder):
        said = project(folder)
        assert (said["license"], said["license-files"]) == ("Apache-2.0", ["LICENSE"])
        assert not any(each.startswith("License ::") for each in said["classifiers"])
        assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()

    def test_links_lead_to_the_repository_and_the_documentation(self, folder):
        urls = project(folder)["urls"]
        assert {"Documentation", "Source", "Issues", "Changelog"} <= set(urls)
        for name, url in urls.items():
            assert url.startswith(DOCUMENTATION if name == "Documentation" else REPOSITORY)
        if folder != ROOT:
            assert urls["Source"] == f"{REPOSITORY}/tree/main/{folder.relative_to(ROOT)}"

    def test_it_says_for_whom_it_is(self, folder):
        said = project(folder)
        assert said["requires-python"] == CORE["requires-python"]
        topics = {each.partition(" :: ")[0] for each in said["classifiers"]}
        assert {"Development Status", "Intended Audience", "Programming Language", "Topic"} <= topics

    def test_it_is_built_as_the_core_is(self, folder):
        built = tomllib.loads((folder / "pyproject.toml").read_text())["build-system"]
        assert built == tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_plugin_bounds_what_it_asks_for(folder):
    asked = {each.name: each.specifier for each in map(Requirement, project(folder)["dependencies"])}
    assert floor_and_ceiling(asked["anymodal"]) == {">=", "<"}
    assert all(floor_and_ceiling(specifier) for specifier in asked.values())
    others = {name for name in asked if name.startswith("anymodal-")}
    assert not others, "a plugin asks the registry for other modalities, it does not require them"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_plugin_announces_itself(folder):
    points = project(folder)["entry-points"]["anymodal"]
    assert points
    for value in points.values():
        module = value.partition(":")[0].partition(".")[0]
        assert (folder / f"{module}.py").is_file() or (folder / module / "__init__.py").is_file(), value


OWN = {name: each.distribution for name, each in registry().modalities().items() if each.distribution in NAMES}
ROWS = ("values", "files", "crops and flips", "tokens", "shown as", "score", "tokenizer", "labeler")  # of a README


@pytest.mark.parametrize("name", OWN)
def test_readmes_of_modalities_have_one_form_and_say_what_their_plugins_have(name):
    text = (ROOT / "plugins" / OWN[name] / "README.md").read_text()
    rows = dict(re.findall(r"^\| (\w[a-z ]*) \| (.+) \|$", text, re.MULTILINE))
    assert list(rows) == [row for row in ROWS if row in rows]
    assert {"values", "files", "score", "labeler"} <= set(rows)
    kept = registry().modality(name).repository
    assert rows.get("tokenizer", "").startswith(f"`{kept}`" if kept else "")
    assert bool(kept) == ("tokenizer" in rows)
    made = {known for known, each in registry().labelers().items() if each.distribution == OWN[name]}
    assert set(re.findall(r"`(\w+)`", rows["labeler"])) == made and (made or rows["labeler"] == "none")


def test_citation_names_the_project_and_the_paper_it_follows():
    import yaml

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["title"] == CORE["name"]
    assert (cited["license"], cited["repository-code"]) == (CORE["license"], REPOSITORY)
    identifiers = [each["value"] for reference in cited["references"] for each in reference["identifiers"]]
    assert "arXiv:2406.09406" in identifiers


def test_the_tools_of_pre_commit_are_those_of_the_constraints():
    import yaml

    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (ruff,) = [each["rev"] for each in repositories if each["repo"].endswith("/ruff-pre-commit")]
    assert ruff == f"v{pins['ruff']}"
