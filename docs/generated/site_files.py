"""Files of the site for programs: llms.txt and llms-full.txt (https://llmstxt.org), and the directory of plugins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import yaml

from anymodal.files import write_json, write_text
from anymodal.plugins.published import as_json
from generated import plugin_directory

CONFIG = Path(__file__).parents[2] / "mkdocs.yml"
ADDRESS: str = yaml.safe_load(CONFIG.read_text("utf-8"))["site_url"]
LINKED = ("Reference", "Gallery")  # sections of tables by the hundred, which a link serves better than a copy
COMMENT = re.compile(r"<!--.*?-->\n?|\A---\n.*?\n---\n", re.DOTALL)  # and what stands above a page for its builder


@attrs.frozen
class Page:
    """A page of the navigation: its section (empty: none), title, and path below the folder of pages."""

    section: str
    title: str
    path: str

    @property
    def address(self) -> str:
        """Where the site has it."""
        return ADDRESS + re.sub(r"(^|/)index\.md$", r"\1", self.path).replace(".md", "/")


def write(out: Path) -> None:
    """Write the files beside the pages that are in OUT/pages, of which OUT/mkdocs.yml has the navigation."""
    folder, config = out / "pages", yaml.safe_load((out / "mkdocs.yml").read_text("utf-8"))
    pages = [page for page in listed(config["nav"]) if (folder / page.path).is_file()]
    write_text(short(pages, folder), folder / "llms.txt")
    write_text(whole(pages, folder), folder / "llms-full.txt")
    write_json(as_json(plugin_directory.listed()), folder / "plugins.json")


def listed(nav: list[Any], section: str = "", above: str = "") -> Iterator[Page]:
    """The pages of a navigation, in its order, under the sections at its top; `above` names those without a title."""
    for entry in nav:
        for title, where in entry.items() if isinstance(entry, dict) else [("", entry)]:
            if isinstance(where, list):
                yield from listed(where, section or title, title)
            else:
                yield Page(section, title or above, where)


def short(pages: list[Page], folder: Path) -> str:
    """llms.txt: what the project is, and a link to every page with its first sentence."""
    lines = ["# anymodal", "", f"> {first_sentence((folder / 'index.md').read_text('utf-8'))}", ""]
    section = ""
    for page in pages:
        if page.section != section:
            section = page.section
            lines += ["", f"## {section}", ""]
        said = first_sentence((folder / page.path).read_text("utf-8"))
        lines.append(f"- [{page.title}]({page.address}): {said}" if said else f"- [{page.title}]({page.address})")
    return "\n".join([*lines, "", "## Optional", "", f"- [Most pages in one file]({ADDRESS}llms-full.txt)", ""])


def whole(pages: list[Page], folder: Path) -> str:
    """llms-full.txt: the text of every page to be read, in the order of the navigation."""
    parts = []
    for page in pages:
        if page.section not in LINKED:
            text = COMMENT.sub("", (folder / page.path).read_text("utf-8")).strip()
            parts.append(f"<!-- {page.address} -->\n\n{text}\n")
    return "\n\n".join(parts)


def first_sentence(markdown: str) -> str:
    """The first sentence of the first paragraph of prose, without markup of links and code."""
    for paragraph in COMMENT.sub("", markdown).split("\n\n"):
        text = " ".join(paragraph.split())
        if text and not text.startswith(("#", "!", "```", "|", "-", "<", ":::", "**[", "[")):
            text = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text)
            return re.split(r"(?<=[.?])\s(?=[A-Z`])", text)[0].rstrip(":")
    return ""
