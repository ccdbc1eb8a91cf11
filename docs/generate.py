"""Write the pages of the site as plain Markdown, for any builder of sites that reads `mkdocs.yml`.

python docs/generate.py [--out build/docs]

OUT/pages gets what is in `docs`, in which each line ``<!-- generated: NAME -->`` becomes the part of that name, and
OUT/mkdocs.yml the configuration.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

import yaml
from generated import reference

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "docs"
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
PARTS = {
    "commands": reference.commands,
    "configurations": reference.configurations,
    "error_tree": reference.error_tree,
    "kinds_of_files": reference.kinds_of_files,
    "modalities": reference.modalities,
    "public_modules": reference.public_modules,
    "recipes": reference.recipes,
    "rules": reference.rules,
    "tokenizer_recipes": reference.tokenizer_recipes,
}


def filled(markdown: str) -> str:
    """The text of a page with its generated parts."""
    return MARK.sub(lambda match: PARTS[match[1]](), markdown)


def write_site(out: Path) -> None:
    """Write the pages and the configuration into a folder, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    pages = out / "pages"
    shutil.copytree(SOURCES, pages, ignore=shutil.ignore_patterns("*.py", "__pycache__", "generated"))
    for page in pages.rglob("*.md"):
        page.write_text(filled(page.read_text()))
    (out / "mkdocs.yml").write_text(yaml.safe_dump(configuration(), sort_keys=False))


def configuration() -> dict[str, Any]:
    """That of the site, as it is for OUT: paths are those of the checkout."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    for extension in config["markdown_extensions"]:
        if "pymdownx.snippets" in extension:
            extension["pymdownx.snippets"]["base_path"] = [str(ROOT)]
    for plugin in config["plugins"]:
        if "mkdocstrings" in plugin:
            plugin["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    return {**config, "docs_dir": "pages", "site_dir": "site"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    write_site(parser.parse_args().out)
