"""Who may import whom, and that nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import anymodal
from anymodal.plugins.public import PUBLIC_MODULES

ROOT = Path(anymodal.__file__).parent
PLUGINS = sorted((ROOT.parent / "plugins").glob("*/anymodal_*.py")) + sorted((ROOT.parent / "plugins").glob("*/*/*.py"))

# From foundations to the command line. A module imports only from what stands before its own folder, and from its own
# folder without circles; imports inside functions count, imports for types alone do not.
ORDER = [
    *("errors", "lazy", "deprecated", "durable", "files", "content", "included", "config", "progress", "spaces"),
    *("hookspecs", "sampling", "crops", "partial", "modality", "labeler", "vocabulary_file", "text", "notebook"),
    *("nn", "tokenizers", "families", "plugins", "tokens", "masking", "model", "sessions", "generation", "checkpoints"),
    *("outputs", "anymodel", "teachers", "data", "training", "retrieval", "evaluation", "transfer", "export"),
    *("testing", "cli", "__main__"),
]
RANK = {name: rank for rank, name in enumerate(ORDER)}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path: Path) -> Iterator[str]:
    """What a file imports, as absolute names of modules or of things in them; imports for types alone are left out."""

    def visit(node: ast.AST) -> Iterator[ast.AST]:
        yield node
        children = node.orelse if is_for_types(node) else ast.iter_child_nodes(node)
        for child in children:
            yield from visit(child)

    package = path.parent.relative_to(ROOT.parent).parts if path.is_relative_to(ROOT) else ()
    for node in visit(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def core_modules() -> list[Path]:
    return [
        path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py" and "template" not in path.parts
    ]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def graph() -> dict[str, set[str]]:
    """Which module of the core imports which, by dotted names below `anymodal`."""
    modules = {dotted(path).removesuffix(".__init__"): path for path in core_modules()}
    return {
        name: {found for each in imports(path) if (found := owner(each, modules))} for name, path in modules.items()
    }


def owner(name: str, modules: Collection[str]) -> str | None:
    """The module of the core that an imported name is, or is in."""
    package, _, rest = name.partition(".")
    if package != "anymodal":
        return None
    return rest if rest in modules else (rest.rpartition(".")[0] if rest.rpartition(".")[0] in modules else None)


def upwards(arrows: Mapping[str, Collection[str]]) -> list[str]:
    """The imports that go to a folder above the importing one."""

    def rank(name: str) -> int:
        return RANK[name.partition(".")[0]]

    return [f"{a} -> {b}" for a, found in arrows.items() for b in found if rank(b) > rank(a)]


def circles(arrows: Mapping[str, Collection[str]]) -> list[tuple[str, ...]]:
    """Groups of modules that import one another, however far around."""
    sorter = TopologicalSorter(arrows)
    try:
        sorter.prepare()
    except CycleError as error:
        return [tuple(error.args[1])]
    return []


def test_every_module_has_a_place():
    unplaced = {dotted(path).partition(".")[0] for path in core_modules()} - set(RANK)
    assert not unplaced, f"give {sorted(unplaced)} a place in ORDER"
    gone = set(RANK) - {dotted(path).partition(".")[0] for path in core_modules()}
    assert not gone, f"take {sorted(gone)} out of ORDER"


def test_imports_go_downwards():
    assert not upwards(graph())


def test_imports_have_no_circles():
    assert not circles(graph())


def test_planted_faults_are_found():
    arrows = graph()
    assert upwards({**arrows, "files": {*arrows["files"], "model.config"}}) == ["files -> model.config"]
    assert circles({**arrows, "errors": {"files"}})


@pytest.mark.parametrize("path", core_modules(), ids=dotted)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    functions = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert not [f"{f.name} has {size} lines" for f in functions if (size := (f.end_lineno or 0) - f.lineno + 1) > 60]


@pytest.mark.parametrize("path", core_modules(), ids=dotted)
def test_docstrings_explain_one_argument_of_the_function_a_line(path):
    """As the reference reads them, which is built from these."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            told = re.search(r"^Args:\n((?:    .*\n?|\n)*)", ast.get_docstring(function) or "", re.MULTILINE)
            names = re.findall(r"^    (\S[^:]*?):", told[1], re.MULTILINE) if told else []
            given = function.args
            known = {
                a.arg for a in [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg] if a
            }
            assert {name.strip("*") for name in names} <= known, function.name


@pytest.mark.parametrize("path", core_modules(), ids=dotted)
def test_core_imports_no_plugin(path):
    assert not [name for name in imports(path) if name.startswith("anymodal_")]


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.parent.name)
def test_plugins_import_only_what_is_public(path):
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "anymodal":
            assert rest in anymodal.__all__ or rest.partition(".")[0] in PUBLIC_MODULES, f"{path.name} imports {name}"
            assert not any(part.startswith("_") for part in rest.split(".")), f"{path.name} imports {name}"
        own = (path.parent / f"{package}.py").exists() or package == path.parent.name
        assert own or not package.startswith("anymodal_"), f"{path.name} imports another plugin, {package}"


@pytest.mark.parametrize("name", anymodal.__all__)
def test_lazy_name_resolves(name):
    assert getattr(anymodal, name) is not None
    assert name in dir(anymodal)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="No anymodal attribute nothing"):
        anymodal.nothing  # noqa: B018


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    script = f"{code}\nimport sys, json; sys.stdout.write(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_the_package_costs_nothing():
    assert len(loaded_after("import anymodal") - loaded_after("")) < 20


@pytest.mark.parametrize(
    "code",
    [
        "import anymodal; anymodal.Modality; anymodal.TokenSpace; anymodal.hookimpl; anymodal.Labeler",
        "import anymodal; anymodal.ImageModality; anymodal.TextModality; anymodal.StructuredModality",
        "import anymodal; anymodal.modalities()",
        "import anymodal; [anymodal.registry().modality(name) for name in anymodal.modalities()]",
        "import anymodal.cli",
    ],
)
def test_neither_numpy_nor_torch(code):
    assert not {"numpy", "torch", "cv2", "PIL"} & loaded_after(code)
