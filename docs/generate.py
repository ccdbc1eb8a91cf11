"""Write the pages of the site as plain Markdown, for any builder of sites that reads `mkdocs.yml`.

python docs/generate.py [--out build/docs]

OUT/pages gets what is in `docs`, in which each line ``<!-- generated: NAME -->`` becomes the part of that name, and the
pages that are written whole, with their pictures; OUT/mkdocs.yml is the configuration for it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from pathlib import Path
from typing import Any

import yaml
from generated import families, gallery, house, plugin_directory, reference, site_files

import anymodal as am

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "docs"
APP = ROOT / "plugins/anymodal-app/anymodal_app/page"  # runs in a tab, too, where docs/browser/build.py adds the model
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
PARTS = {
    "commands": reference.commands,
    "configurations": reference.configurations,
    "families": families.overview,
    "error_tree": reference.error_tree,
    "gallery": gallery.thumbnails,
    "house": house.drawing,
    "kinds_of_files": reference.kinds_of_files,
    "modalities": reference.modalities,
    "plugin_directory": plugin_directory.tables,
    "public_modules": reference.public_modules,
    "recipes": reference.recipes,
    "rules": reference.rules,
    "tokenizer_recipes": reference.tokenizer_recipes,
}
FOLDERS = {"gallery": gallery.write_gallery, "families": families.write_families}  # of pages that are written whole


def written() -> set[str]:
    """The pages that are written whole, as paths below those that are filled."""
    gallery_pages = {f"gallery/{name}.md" for name in am.modalities()}
    return gallery_pages | {f"families/{cls.__name__}.md" for cls in families.family_classes()}


def filled(markdown: str) -> str:
    """The text of a page with its generated parts."""
    return MARK.sub(lambda match: PARTS[match[1]](), markdown)


def write_site(out: Path) -> None:
    """Write the pages and the configuration into a folder, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    pages = out / "pages"
    shutil.copytree(SOURCES, pages, ignore=shutil.ignore_patterns("*.py", "__pycache__", "generated"))
    shutil.copytree(APP, pages / "browser", dirs_exist_ok=True)
    for page in pages.rglob("*.md"):
        page.write_text(filled(page.read_text()))
    for folder, write in FOLDERS.items():
        write(pages / folder)
    (out / "mkdocs.yml").write_text(yaml.safe_dump(configuration(pages), sort_keys=False))
    site_files.write(out)


def configuration(pages: Path) -> dict[str, Any]:
    """That of the site: paths are those of the checkout, and a folder in the navigation stands for its pages."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    for extension in config["markdown_extensions"]:
        if "pymdownx.snippets" in extension:
            extension["pymdownx.snippets"]["base_path"] = [str(ROOT)]
    for plugin in config["plugins"]:
        if "mkdocstrings" in plugin:
            plugin["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    return {**config, "nav": navigation(config["nav"], pages), "docs_dir": "pages", "site_dir": "site"}


def navigation(entries: list[Any], pages: Path) -> list[Any]:
    """Entries of the navigation in which each folder became the list of its pages."""

    def listed(where: Any) -> Any:
        if isinstance(where, list):
            return navigation(where, pages)
        if not where.endswith("/"):
            return where
        others = sorted(page.stem for page in (pages / where).glob("*.md") if page.stem != "index")
        return [f"{where}index.md", *({name: f"{where}{name}.md"} for name in others)]

    return [{title: listed(where) for title, where in entry.items()} for entry in entries]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    os.environ["HF_HUB_OFFLINE"] = "1"  # labelers whose weights are not here are passed over
    write_site(parser.parse_args().out)
