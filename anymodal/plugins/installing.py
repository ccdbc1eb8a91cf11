"""Installing plugins: what is meant, what would come, whether it goes with what is there, and whether it loads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path

import attrs

import anymodal
from anymodal.errors import PluginError, nearest
from anymodal.hookspecs import GROUP
from anymodal.modality import NAME
from anymodal.plugins.described import Described, described, entries_of
from anymodal.plugins.directory import directory, usual_package
from anymodal.plugins.discovery import Candidate, Problem, canonical, catalog
from anymodal.plugins.installer import Installer, installer
from anymodal.plugins.isolated import probed

SECONDS = 120.0  # in which a plugin has to load


@attrs.frozen
class Plan:
    """What would be done: `targets` are what the installer is given, in the order of `plugins`.

    `comes` are the versions by name that would be installed, and `was` those that are there of the same names.
    """

    program: Installer
    targets: tuple[str, ...]
    plugins: tuple[Described, ...]
    candidates: tuple[Candidate, ...]
    comes: dict[str, str]
    was: dict[str, str]
    upgrade: bool

    @property
    def command(self) -> list[str]:
        """The command that is run, but for options that make it quiet and keep the version of anymodal."""
        return self.program.install_words(self.targets, upgrade=self.upgrade)

    @property
    def strangers(self) -> list[str]:
        """The distributions that are not of our own directory."""
        own = directory()
        return [
            plugin.name
            for plugin, target in zip(self.plugins, self.targets, strict=True)
            if canonical(plugin.name) not in own or Path(target).is_absolute()
        ]

    @property
    def replaced(self) -> dict[str, tuple[str, str]]:
        """What is installed and would get another version, but for the plugins themselves: (old, new) by name."""
        own = {canonical(plugin.name) for plugin in self.plugins}
        return {n: (self.was[n], new) for n, new in self.comes.items() if n in self.was and canonical(n) not in own}


def target_of(word: str) -> str:
    """What an installer is given for a word of the user's: an absolute path, or a requirement.

    A folder of a project or a wheel is itself. A name without hyphens, such as ``depth``, stands for
    ``anymodal-depth``. Raises PluginError for anything else, addresses among them.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    path = Path(word).expanduser()
    if not word.strip():
        raise PluginError("an empty word is no name of a plugin; write it as depth")
    if "://" not in word and (path.suffix == ".whl" or (path / "pyproject.toml").is_file()):
        if not path.exists():
            raise PluginError(f"no such file: {word}")
        return str(path.absolute())
    if "/" in word or os.sep in word or word in (".", ".."):
        raise PluginError(f"{word} is no wheel, and no folder with a pyproject.toml; an address is for pip itself")
    try:
        wanted = Requirement(word)
    except InvalidRequirement:
        raise PluginError(f"{word!r} is no name of a plugin; write it as depth, or as anymodal-depth>=0.1") from None
    if wanted.url or wanted.marker:
        raise PluginError(f"{word!r} is more than a name with a version; it is for pip itself")
    usual = usual_package(wanted.name)
    if NAME.fullmatch(wanted.name) or canonical(usual) in directory():
        wanted.name = wanted.name if canonical(wanted.name) in directory() else usual
    return str(wanted)


def planned(words: Sequence[str], *, upgrade: bool = False) -> Plan:
    """What an installation of these words would do; nothing is installed. Raises PluginError."""
    asked = [target_of(word) for word in words]
    program = installer()
    with tempfile.TemporaryDirectory(prefix="anymodal-") as temporary:
        targets, plugins, entries = [], [], []
        for number, target in enumerate(asked):
            found = None if upgrade else already(target)
            if found is None:
                found = _fetched(program, target, Path(temporary) / str(number))
            mine, facts = entries_of(found), described(found)
            if not mine:
                raise PluginError(
                    f"{facts.name} {facts.version} is no plugin: it has no entry point in the group {GROUP!r}; nothing"
                    " was installed"
                )
            targets.append(target if Path(target).is_absolute() else _pinned(target, facts))
            plugins.append(facts)
            entries += mine
        candidates = checked(entries)
        comes = program.changes(targets, core_stays(Path(temporary)), upgrade=upgrade)
        was = {name: there for name in comes if (there := _version(name)) is not None}
        return Plan(program, tuple(targets), tuple(plugins), candidates, comes, was, upgrade)


def already(target: str) -> Distribution | None:
    """The installed distribution that meets a requirement; None where there is none, or for a path."""
    from packaging.requirements import Requirement

    if Path(target).is_absolute():
        return None
    wanted = Requirement(target)
    try:
        found = Distribution.from_name(wanted.name)
    except PackageNotFoundError:
        return None
    return found if wanted.specifier.contains(found.version, prereleases=True) else None


def checked(entries: Sequence[EntryPoint]) -> tuple[Candidate, ...]:
    """The plugins that entry points announce, which go with each other and with those that are installed.

    Raises PluginError for what is malformed, needs another version of anymodal, or has a name that is taken.
    """
    alone = catalog(entries, {})
    for problem in alone.problems:
        raise PluginError(f"nothing was installed: {problem}")
    homes = {canonical(candidate.distribution) for candidate in alone.usable.values()}
    others = [e for e in entry_points(group=GROUP) if e.dist is None or canonical(e.dist.metadata["Name"]) not in homes]
    taken = {c.name: c for c in catalog(others, {}).usable.values()}
    for candidate in alone.usable.values():
        if (rival := taken.get(candidate.name)) is not None:
            raise PluginError(
                f"{candidate.distribution} brings the {candidate.kind} {candidate.provides!r}, which is there from"
                f" {rival.distribution}, and of two none is used; first: pip uninstall {rival.distribution}"
            )
    return tuple(alone.usable.values())


def core_stays(folder: Path) -> Path:
    """A file of constraints in `folder` by which no installation changes this package."""
    path = folder / "constraints.txt"
    path.write_text(f"anymodal=={anymodal.__version__}\n")
    return path


def carry_out(plan: Plan) -> list[Problem]:
    """Install, and load what was installed in a fresh process; its problems, fatal or not. Raises PluginError."""
    if plan.comes:
        with tempfile.TemporaryDirectory(prefix="anymodal-") as temporary:
            plan.program.install(plan.targets, core_stays(Path(temporary)), upgrade=plan.upgrade)
    findings = probed(plan.candidates, SECONDS)
    return [problem for finding in findings for problem in finding.problems]


def _fetched(program: Installer, target: str, folder: Path) -> Distribution:
    """The distribution of a target; a name that does not exist is told with the nearest one that does."""
    folder.mkdir()
    try:
        return program.fetch(target, folder)
    except PluginError as error:
        raise PluginError(f"{error}{_nearest_of_ours(target)}") from None


def _nearest_of_ours(target: str) -> str:
    """A hint at the plugin of ours with the name most like that of a target; none for a path, or one of ours."""
    from packaging.requirements import Requirement

    if Path(target).is_absolute() or canonical(name := Requirement(target).name) in directory():
        return ""
    return nearest(name.removeprefix("anymodal-"), [each.removeprefix("anymodal-") for each in directory()])


def _pinned(target: str, facts: Described) -> str:
    """The requirement of exactly the version that was looked at."""
    from packaging.requirements import Requirement

    wanted = Requirement(target)
    extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
    return f"{facts.name}{extras}=={facts.version}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
