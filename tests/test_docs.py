"""The documentation tells the truth: its code and commands are right, its links lead somewhere, nothing is left out."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs
import click
import pytest
import yaml
from generate import APP, MARK, PARTS, filled, written
from generated.reference import CONFIGURATIONS
from pages import PAGES, ROOT, blocks, label, run_steps, steps_of
from PIL import Image

import anymodal
from anymodal import errors
from anymodal.cli.main import Commands
from anymodal.config import load_config
from anymodal.config.tables import table_of
from anymodal.errors import AnymodalError
from anymodal.hookspecs import Hooks
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.multimodal.shape import GivenShape
from anymodal.training.teachers.config import TeacherRun
from anymodal.training.tokenizers.config import TokenizerRun
from anymodal.transfer import TransferConfig

LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
BESIDE = sorted([*ROOT.glob("recipes/*/*.md"), *ROOT.glob("examples/*/README.md"), ROOT / "SECURITY.md"])  # on no site


def install(project: str, folder: Path, site: Path) -> None:
    """What pip does with a pyproject.toml, as far as plugins are concerned."""
    folder.mkdir(parents=True)
    facts = tomllib.loads(project)["project"]
    info = site / f"{facts['name'].replace('-', '_')}-{facts['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {facts['name']}\nVersion: {facts['version']}\n")
    entries = [f"{name} = {value}" for name, value in facts["entry-points"]["anymodal"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[anymodal]", *entries]) + "\n")
    (site / f"{folder.name}.pth").write_text(f"{folder}\n")


# Python.


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_python_blocks_say_what_they_are(page):
    for block in blocks(page):
        if block.language == "python":
            place = f"{label(page)}, line {block.line}"
            assert block.is_declared, f"{place}: put <!-- run --> or <!-- not run: REASON --> above"
            ast.parse(block.code)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(b.runs and b.language == "python" for b in blocks(p))], ids=label
)
def test_python_blocks_run(page, tmp_path):
    """Without the commands between them, which `test_docs_run.py` runs too."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "photos").symlink_to(ROOT / "examples" / "photos")
    site = tmp_path / ".site"
    for block in blocks(page):
        if block.is_file and block.title.endswith("pyproject.toml"):
            install(block.code, (tmp_path / block.title).parent, site)
    folders = [site, *(Path(line) for pth in site.glob("*.pth") for line in pth.read_text().splitlines())]
    path = ":".join([*map(str, folders), os.environ.get("PYTHONPATH", "")])
    run_steps(page, steps_of(page, ("python",)), tmp_path, None, {**os.environ, "PYTHONPATH": path})


# Commands and configurations.


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_commands_are_blocks_of_bash(page):
    """So that they are run, and read as what they are."""
    for block in blocks(page):
        assert block.language not in ("", "sh", "console", "shell"), f"{label(page)}, line {block.line}"


def shell_lines(page: Path) -> list[str]:
    """The command lines of a page, continuations joined, prompts and environment variables cut off."""
    shells = [b.code for b in blocks(page) if b.language in ("bash", "") and not b.title]
    lines = "\n".join(shells).replace("\\\n", " ").splitlines()
    return [re.sub(r"^\s*(\$ )?([A-Z_]+=\S+ )*", "", line) for line in lines]


def parse(command: click.Command, name: str, words: list[str]) -> None:
    """Parse as the command line does, without doing anything. Raises click.ClickException."""
    with command.make_context(name, words) as context:
        if isinstance(command, click.Group):
            words = [*context._protected_args, *context.args]
            found, inner, rest = command.resolve_command(context, words)
            assert inner is not None
            parse(inner, str(found), rest)


@pytest.mark.parametrize("page", [p for p in [*PAGES, *BESIDE] if any(shell_lines(p))], ids=label)
def test_commands_parse(page):
    for line in shell_lines(page):
        words = shlex.split(line, comments=True)
        words = words[: words.index(">")] if ">" in words else words
        if words[:1] == ["anymodal"] and words != ["anymodal"]:
            try:
                parse(Commands("anymodal"), "anymodal", words[1:])
            except click.ClickException as error:
                pytest.fail(f"{label(page)}: {line}: {error.format_message()}")
        elif words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line


CONFIGURED = [p for p in PAGES if any(b.language == "yaml" and not b.code.startswith("--8<--") for b in blocks(p))]
STEPS = {"steps": 10, "batch_size": 2, "lr": 0.001}
WHOLE_RUNS = {
    TokenizerRun: {"modality": "rgb", "data": "data", "training": STEPS},
    TransferConfig: {"model": "tiny", "inputs": ["rgb"], "task": {"name": "dense", "to": "depth"}, "data": "data"}
    | {"training": STEPS},
    TrainConfig: {
        "modalities": {"rgb": {}},
        "tokenizers": "tokenizers",
        "data": "tokens",
        "model": {"dim": 64, "encoder_depth": 1, "decoder_depth": 1, "heads": 2},
        "masking": {"components": [{"inputs": {"rgb.pixels": 1}, "targets": {"rgb": 1}}]},
        "training": STEPS,
        "evaluation": {"data": "held-out"},
    },
}


@pytest.mark.parametrize("page", CONFIGURED, ids=label)
def test_configurations_fit_their_schema(page, tmp_path):
    """One with a title is a file and has to be whole; others are parts, which are put over a whole one."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    for block in blocks(page):
        if block.language != "yaml" or block.code.startswith("--8<--"):
            continue
        content, written = yaml.safe_load(block.code), tmp_path / (block.title or f"line-{block.line}.yaml")
        kinds = (TokenizerRun, "modality"), (TransferConfig, "task"), (TransferConfig, "think")
        schema = next((schema for schema, key in kinds if key in content), TrainConfig)
        if not block.title:
            (tmp_path / "whole.yaml").write_text(yaml.safe_dump(WHOLE_RUNS[schema]))
        written.write_text(block.code if block.title else f"base: whole.yaml\n{block.code}")
        load_config(written, schema)


# Links.


def is_written(file: Path) -> bool:
    """Whether it is a page that is written whole, the first picture of one, or of the app, which runs in a tab too."""
    if file.parent.resolve() == ROOT / "docs" / "browser":
        return (APP / file.name).is_file()
    page = file.with_name(f"{file.stem.removesuffix('-value')}.md").resolve()
    return page.is_relative_to(ROOT / "docs") and str(page.relative_to(ROOT / "docs")) in written()


PLANNED = ROOT / "docs" / "reference" / "recipes.md"  # plans all published tokenizers, 20 s of a processor


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=pytest.mark.slow) if p == PLANNED else p for p in [*PAGES, *BESIDE]], ids=label
)
def test_relative_links_lead_somewhere(page):
    for match in LINK.finditer(filled(page.read_text())):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        file = page.parent / target if target else page
        assert file.exists() or is_written(file), f"{label(page)} links to {match['target']}"
        if anchor and file.exists():
            headings = re.findall(r"^#+ (.+)$", filled(file.read_text()), re.MULTILINE)
            slugs = {re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings}
            assert anchor in slugs, f"{label(page)} links to {match['target']}"


def test_the_readme_begins_with_a_sentence_a_line_to_install_five_of_python_and_a_picture():
    text = (ROOT / "README.md").read_text()
    top = text[: text.index("\n## ")]
    install, python = blocks(ROOT / "README.md")[:2]
    assert install.code == "pip install 'anymodal[all]'\n"
    assert python.language == "python" and len([line for line in python.code.splitlines() if line]) <= 5
    (picture,) = re.findall(r"!\[[^]]+\]\((\S+)\)", top)
    with Image.open(ROOT / picture) as opened:
        assert opened.height <= 1000
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    contents = re.findall(r"^- \[([^]]+)\]\(#", top, re.MULTILINE)
    assert contents == headings


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        place = str(page.relative_to(ROOT / "docs"))
        folder = place.removesuffix("index.md") or place
        assert f": {place}\n" in navigation or f": {folder}\n" in navigation


# Nothing is left out.


def reference(name: str) -> str:
    return filled((ROOT / "docs" / "reference" / f"{name}.md").read_text())


def test_every_hook_is_documented():
    hooks = [name for name in vars(Hooks) if not name.startswith("_")]
    assert hooks
    for name in hooks:
        assert f"## {name}\n\n::: anymodal.hookspecs.Hooks.{name}\n" in reference("hooks")


def test_every_error_is_documented():
    tree = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, AnymodalError)]
    assert len(tree) > 1
    for cls in tree:
        assert f"::: anymodal.errors.{cls.__name__}\n" in reference("errors")


def test_every_public_name_is_documented():
    page = reference("api")
    for name in anymodal.__all__:
        documented = f"::: anymodal.{name}\n" in page or f"`anymodal.{name}`" in page
        assert documented or hasattr(errors, name), name


def test_every_command_is_documented():
    group = Commands("anymodal")
    for name in group.list_commands(click.Context(group)):
        assert f"## anymodal {name}" in reference("cli")


def classes_in(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from classes_in(argument)


def test_every_block_of_a_configuration_is_documented():
    found: list[type] = [TrainConfig, TokenizerRun, TeacherRun, TransferConfig]
    for cls in found:
        fields = attrs.fields(attrs.resolve_types(cls)) if attrs.has(cls) else ()
        parts = [each for field in fields for each in classes_in(field.type) if attrs.has(each)]
        parts += [table[name] for table in [table_of(cls)] if table for name in table]
        found += [each for each in dict.fromkeys(parts) if each not in found]
    shapes = [cls for cls in found if table_of(cls) is None and cls is not GivenShape]  # which `ModelConfig` tells
    assert [cls for cls in shapes if cls not in CONFIGURATIONS] == []


def test_every_modality_is_documented():
    ours = [path.parent.name for path in ROOT.glob("plugins/anymodal-*/anymodal_*.py")]
    assert ours
    for name in ours:
        modality = name.removeprefix("anymodal-").replace("-", "_")
        assert f"../gallery/{modality}.md" in reference("modalities")


@pytest.mark.parametrize("page", [p for p in PAGES if MARK.search(p.read_text())], ids=label)
def test_generated_parts_exist(page):
    assert set(MARK.findall(page.read_text())) <= set(PARTS)


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_pages_import_what_is_public(page):
    """What a folder's `__init__` exports is public, and what stands in a module at the top; nothing deeper is shown."""
    for module, names in re.findall(r"^from (anymodal(?:\.\w+)*) import (.+)$", page.read_text(), re.MULTILINE):
        assert module.count(".") < 2, f"{page.name} imports from {module}"
        face = importlib.import_module(module)
        for name in names.split(", "):
            exported = getattr(face, "__all__", dir(face))
            assert name in exported or module == "anymodal", f"{page.name} imports {name}, which {module} hides"
