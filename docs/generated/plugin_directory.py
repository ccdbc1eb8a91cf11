"""The directory of plugins, from the metadata of distributions: a table for a page, and a file for `plugin search`.

Its names are those of the extras of anymodal, which this project publishes, and of `plugin-names.txt`. Of what is not
installed the newest wheel is fetched from the package index and read; no code of it runs.
"""

from __future__ import annotations

import functools
import logging
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from anymodal.errors import AnymodalError
from anymodal.plugins.described import Described, described, installed
from anymodal.plugins.directory import directory
from anymodal.plugins.discovery import canonical
from anymodal.plugins.installer import installer
from generated.tables import table

NAMES = Path(__file__).parent.parent / "plugin-names.txt"
MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~<>&$:])")
log = logging.getLogger("mkdocs.plugins.directory")


def names(path: Path = NAMES) -> list[str]:
    """The names of the file of names, without its comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line]


@functools.cache
def listed(path: Path = NAMES) -> list[Described]:
    """What the metadata of every plugin says, ours first; one that cannot be had has a name alone."""
    here = installed()
    others = [name for name in map(canonical, names(path)) if name not in directory()]
    return [here.get(name) or _fetched(name) for name in [*sorted(directory()), *sorted(others)]]


def tables() -> str:
    """The directory as tables of Markdown: of this project's plugins, and of those of other people."""
    ours = [plugin for plugin in listed() if canonical(plugin.name) in directory()]
    others = [plugin for plugin in listed() if plugin not in ours]
    parts = ["## Published by this project", markdown(ours), "## Published by others"]
    parts += [markdown(others)] if others else ["Nothing is listed yet. [The first one may be yours](#listed)."]
    return "\n\n".join(parts)


def markdown(plugins: Sequence[Described]) -> str:
    """A table of plugins, a row each; their texts are shown as they stand, whatever markup they hold."""
    rows = [
        [
            _name(plugin),
            ", ".join(map(_plain, plugin.provides)) or "–",
            _plain(plugin.summary) or "–",
            _plain(plugin.version) or "–",
            _plain(plugin.license) or "–",
            _plain(plugin.needs) or "any",
        ]
        for plugin in plugins
    ]
    return table(["plugin", "provides", "what it says of itself", "version", "license", "anymodal"], rows)


def _fetched(name: str) -> Described:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return described(installer().fetch(name, Path(folder)))
        except AnymodalError as error:
            log.info("%s", error)
            return Described(name)


def _name(plugin: Described) -> str:
    """The name, which leads to where its documentation or its code is."""
    places = [plugin.links[label] for label in ("Documentation", "Homepage", "Source") if label in plugin.links]
    safe = [place for place in places if re.fullmatch(r"https?://[\w./~#?=&%:-]+", place)]
    return f"[{_plain(plugin.name)}]({safe[0]})" if safe else _plain(plugin.name)


def _plain(text: str) -> str:
    return MARKUP.sub(lambda found: f"&#{ord(found[1])};", text)
