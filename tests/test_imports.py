"""Who may import whom, and that nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import anymodal
from anymodal.testing.rules.package import PUBLIC

ROOT = Path(anymodal.__file__).parent
PLUGINS = sorted((ROOT.parent / "plugins").glob("*/anymodal_*.py")) + sorted((ROOT.parent / "plugins").glob("*/*/*.py"))

# A module imports from its own layer and from those before it; what is named apart stands apart from its package.
LAYERS = [
    {"attention", "errors", "initial", "lazy", "sincos"},
    {"files", "remote", "spaces", "weights"},
    {"config", "hookspecs"},
    {"modality", "text"},
    {"tokenizers", "families", "discovery", "footprint", "labeler", "loading", "plugins", "teachers"},
    {"tokens"},
    {"border", "masking", "model", "outputs"},
    {"generation", "data", "evaluation"},
    {"anymodel", "card", "checkpoint", "convert", "formats", "hub", "tokenizer_files"},
    {
        "training",
        "tokenizers.train",
        "tokenizers.batches",
        "tokenizers.recipe",
        "teachers.train",
        "transfer",
        "retrieval",
    },
    {"testing", "template", "cli", "app"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


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


def part(name: str) -> str:
    """The part of the core that a dotted name below `anymodal` belongs to, as LAYERS names it."""
    first, _, rest = name.partition(".")
    inner = f"{first}.{rest.partition('.')[0]}"
    return inner if inner in RANK else first


def test_every_module_has_a_layer():
    unplaced = {part(dotted(path)) for path in core_modules()} - set(RANK)
    assert not unplaced, f"give {sorted(unplaced)} a place in LAYERS"


@pytest.mark.parametrize("path", core_modules(), ids=dotted)
def test_imports_go_downwards(path):
    mine = part(dotted(path))
    for name in imports(path):
        package, _, rest = name.partition(".")
        theirs = part(rest)
        if package == "anymodal" and theirs in RANK:
            assert RANK[theirs] <= RANK.get(mine, 99), f"{mine} imports {theirs}, which is above it"


@pytest.mark.parametrize("path", core_modules(), ids=dotted)
def test_core_imports_no_plugin(path):
    assert not [name for name in imports(path) if name.startswith("anymodal_")]


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.parent.name)
def test_plugins_import_only_what_is_public(path):
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "anymodal":
            assert rest in anymodal._HOMES or rest.partition(".")[0] in PUBLIC, f"{path.name} imports {name}"
            assert not any(part.startswith("_") for part in rest.split(".")), f"{path.name} imports {name}"
        own = (path.parent / f"{package}.py").exists()
        assert own or not package.startswith("anymodal_"), f"{path.name} imports another plugin, {package}"


def test_lazy_names_are_those_declared_for_types():
    """The table that works at run time and the imports that type checkers read say the same."""
    (block,) = [node for node in ast.parse((ROOT / "__init__.py").read_text()).body if is_for_types(node)]
    declared = {alias.asname: node.module for node in block.body for alias in node.names}
    assert declared == {name: f"anymodal.{home}" for name, home in anymodal._HOMES.items()}


@pytest.mark.parametrize("name", anymodal._HOMES)
def test_lazy_name_resolves(name):
    assert getattr(anymodal, name) is not None
    assert name in dir(anymodal)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'anymodal' has no attribute 'nothing'"):
        anymodal.nothing  # noqa: B018


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    script = f"{code}\nimport sys, json; sys.stdout.write(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def import_costs() -> dict[str, int]:
    """Microseconds that `import anymodal` takes in a fresh interpreter, by module."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import anymodal"], capture_output=True, text=True, check=True
    )
    lines = [line.split("|") for line in done.stderr.splitlines()]
    return {name.strip(): int(total) for _, total, name in lines if re.fullmatch(r"\s*\d+\s*", total)}


def test_importing_the_package_costs_nothing():
    tries = [import_costs() for _ in range(3)]
    assert not {"numpy", "torch", "attrs", "pluggy", "click"} & set(tries[0])
    assert min(cost["anymodal"] for cost in tries) < 50_000, "microseconds"


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
