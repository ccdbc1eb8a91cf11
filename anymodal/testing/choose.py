"""What can be checked: a class, an installed modality, all those of a distribution, or the project in a folder."""

from __future__ import annotations

import re
import sys
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

import attrs

from anymodal.errors import PluginError, UnknownModality, cause, nearest, one_line
from anymodal.hookspecs import GROUP
from anymodal.modality import Modality
from anymodal.plugins.discovery import Candidate, canonical
from anymodal.plugins.registry import Registry, registry
from anymodal.plugins.reinstalled import changed, forget, package_of

NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE)  # of a distribution, by the packaging standards


class Project(Distribution):
    """The distribution that a folder with a pyproject.toml would make, read without building it."""

    def __init__(self, folder: Path) -> None:
        import tomllib

        self.folder = folder
        try:
            self.project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
            self.places: dict[str, str] = self.project["entry-points"][GROUP]
            if not NAME.fullmatch(self.project["name"]):
                raise ValueError(f"{self.project['name']!r} is no name of a distribution")
        except OSError as error:
            raise PluginError(f"{folder} has no pyproject.toml that can be read: {cause(error)}") from None
        except (ValueError, KeyError, TypeError) as error:
            hint = f"it needs [project] with a name, and [project.entry-points.{GROUP}]"
            raise PluginError(f"{folder / 'pyproject.toml'} is not that of a plugin ({error}): {hint}") from None

    def read_text(self, filename: str) -> str | None:
        """The metadata, as a built distribution would have it."""
        if filename != "METADATA":
            return None
        project = self.project
        given = project.get("license", "")
        license = given if isinstance(given, str) else given.get("text") or given.get("file") or ""
        lines = ["Metadata-Version: 2.4", f"Name: {project['name']}", f"Version: {project.get('version', '0')}"]
        lines += [f"Summary: {project['description']}"] if project.get("description") else []
        lines += [f"License-Expression: {license}"] if license else []
        urls = project.get("urls")
        links = urls.items() if isinstance(urls, dict) else ()
        lines += [f"Project-URL: {label}, {one_line(address)}" for label, address in links]
        lines += [f"Requires-Dist: {requirement}" for requirement in project.get("dependencies", [])]
        return "\n".join(lines) + "\n"

    def locate_file(self, path: Any) -> Any:
        return self.folder / path

    def entries(self) -> list[EntryPoint]:
        """The entry points of plugins, which belong to this distribution."""
        return [owned(EntryPoint(name, value, GROUP), self) for name, value in self.places.items()]

    @property
    def roots(self) -> list[str]:
        """Where its modules are imported from."""
        return [str(self.folder / "src"), str(self.folder)] if (self.folder / "src").is_dir() else [str(self.folder)]


def owned(entry: EntryPoint, distribution: Distribution) -> EntryPoint:
    """The entry point as one of a distribution."""
    vars(entry)["dist"] = distribution
    return entry


@attrs.frozen(eq=False, slots=False)
class Target:
    """One modality to check: by `name` from `plugins`, or the class `given`; `roots` are put on the path for it."""

    name: str
    plugins: Registry
    given: type[Modality] | None = None
    folder: Path | None = None
    roots: tuple[str, ...] = ()

    def load(self) -> type[Modality]:
        """The class. Raises PluginError or UnknownModality."""
        sys.path[:0] = [root for root in self.roots if root not in sys.path]
        return self.plugins.modality(self.given or self.name)

    @cached_property
    def candidate(self) -> Candidate | None:
        """What its metadata says; None for a class that comes from no distribution."""
        if self.given is not None:
            return self.plugins.origin(self.given)
        bare = self.name.rpartition(":")[2]
        found = [c for c in self.plugins.candidates() if c.kind == "modality" and self.name in (c.name, c.key)]
        return found[0] if found else self.plugins.modalities().get(bare)

    @property
    def distribution(self) -> Distribution | None:
        """The distribution that announces it."""
        if self.folder is not None:
            return Project(self.folder)
        return Distribution.from_name(self.candidate.distribution) if self.candidate else None


def find(what: str | type[Modality]) -> list[Target]:
    """The modalities that are meant. Raises UnknownModality or PluginError."""
    if not isinstance(what, str):
        return [Target(what.name, registry(), given=what)]
    folder = Path(what)
    if (folder / "pyproject.toml").is_file() or (folder.is_dir() and ("/" in what or what == ".")):
        project = Project(folder.resolve())
        for package in {package_of(value) for value in project.places.values()}:
            if changed(package, tuple(project.roots)):
                forget(package)
        plugins = Registry(project.entries())
        names = [c.name for c in plugins.candidates() if c.kind == "modality"] or _announced(plugins)
        if not names:
            raise PluginError(f"{folder} announces no modality in [project.entry-points.{GROUP}]")
        return [Target(name, plugins, folder=project.folder, roots=tuple(project.roots)) for name in names]
    plugins = registry()
    plugins.refresh()
    known = {c.key: c for c in plugins.candidates() if c.kind == "modality"}
    ours = [c.name for c in known.values() if canonical(c.distribution) == canonical(what)]
    if ours:
        return [Target(name, plugins) for name in ours]
    if what not in plugins.modalities() and ":" not in what and "/" not in what:
        every = {*plugins.modalities(), *(c.distribution for c in known.values())}
        near = nearest(what, every)
        try:
            plugins.modality(what)
        except UnknownModality as error:
            raise UnknownModality(
                f"{what!r} is no installed modality, no distribution of one, and no folder of a plugin{near}"
            ) from error
        except PluginError:
            pass
    return [Target(what, plugins)]


def _announced(plugins: Registry) -> list[str]:
    """The names of modalities whose metadata is refused."""
    return [problem.plugin for problem in plugins.catalog.problems]
