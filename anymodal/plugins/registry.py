"""The registry: what is installed by name, loaded one by one, and the problems of what cannot be used.

A broken plugin is recorded and left out, and asking for it says why; the others do not notice. ANYMODAL_STRICT=1 raises
at once, ANYMODAL_TRACE=1 writes every hook call to stderr, ANYMODAL_DISABLE=name,distribution,... switches off (``*``:
all), and ANYMODAL_PREFER=name=distribution,... chooses between two that provide the same name.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from anymodal.errors import PluginError, UnknownModality, nearest
from anymodal.hookspecs import Preset
from anymodal.labeler import Labeler
from anymodal.modality import Modality
from anymodal.plugins.directory import directory, suggestion, usual_package
from anymodal.plugins.discovery import Candidate, Catalog, Problem, canonical, catalog
from anymodal.plugins.loader import Loaded, Refusal, check_class, check_labeler, check_modality, check_preset, load
from anymodal.plugins.reinstalled import changed, forget, package_of, reach, remember
from anymodal.plugins.side_effects import watched

if TYPE_CHECKING:
    import click

HOOKS = {
    "modality": "anymodal_modalities",
    "preset": "anymodal_presets",
    "labeler": "anymodal_labelers",
    "command": "anymodal_commands",
}
log = logging.getLogger("anymodal")


class Registry:
    """All plugins of a process; usually the one that `registry()` returns.

    `entries` replaces what is installed, `environ` the environment variables; both are for tests and tools.
    """

    def __init__(self, entries: Iterable[EntryPoint] | None = None, environ: Mapping[str, str] | None = None) -> None:
        self.problems: list[Problem] = []
        self._environ = os.environ if environ is None else environ
        self._entries = entries
        self._provided: dict[Candidate, Mapping[str, Any]] = {}
        self._broken: dict[Candidate, Problem] = {}
        self._added: dict[str, type[Modality]] = {}
        self._lock = threading.RLock()

    @functools.cached_property
    def catalog(self) -> Catalog:
        """What the metadata of the installed packages says."""
        found = catalog(self._entries, self._environ)
        for problem in found.problems:
            self._record(problem)
        return found

    def refresh(self) -> bool:
        """Notice plugins that were installed, changed or removed since they were looked for; whether there are any.

        Classes of changed ones are loaded anew when they are asked for; what was made of the old ones stays as it is.
        """
        with self._lock:
            importlib.invalidate_caches()
            directory.cache_clear()
            before, found = self.catalog, catalog(self._entries, self._environ)
            usable = set(found.usable.values())
            stale = self._stale(usable)
            for candidate in stale:
                self._provided.pop(candidate, None)
                self._broken.pop(candidate, None)
            old = {*before.problems} - {*found.problems}
            self.problems[:] = [p for p in self.problems if p not in old and not any(_is_of(p, c) for c in stale)]
            vars(self)["catalog"] = found
            for problem in found.problems:
                if problem not in before.problems:
                    self._record(problem)
            for candidate in usable - {*before.usable.values()}:
                reach(package_of(candidate.value), candidate.distribution)
            return found != before or bool(stale)

    def _stale(self, usable: set[Candidate]) -> set[Candidate]:
        """What is loaded and to be loaded anew, or was broken; changed packages are forgotten."""
        loaded = (*self._provided, *self._broken)
        packages = {package_of(c.value) for c in loaded if c not in usable or changed(package_of(c.value))}
        for package in packages:
            forget(package)
        return {c for c in loaded if c in self._broken or package_of(c.value) in packages}

    def modalities(self) -> dict[str, Candidate]:
        """The modalities that can be asked for by name, sorted; imports none of them."""
        added = {name: _described(cls) for name, cls in self._added.items()}
        return dict(sorted({**self._chosen("modality"), **added}.items()))

    def candidates(self) -> tuple[Candidate, ...]:
        """Every plugin in use, of whatever kind, sorted; imports none of them."""
        return tuple(self.catalog.chosen.values())

    def presets(self) -> dict[str, Preset]:
        """The named checkpoints, sorted; imports their plugins and leaves broken ones out."""
        found = {}
        for name in self._chosen("preset"):
            try:
                found[name] = self.preset(name)
            except PluginError as error:
                log.warning("%s", error)
        return found

    def labelers(self) -> dict[str, Candidate]:
        """The pseudo-labelers, sorted; imports none of them."""
        return self._chosen("labeler")

    def commands(self) -> dict[str, Candidate]:
        """The names that plugins add to the command line, sorted; imports none of them."""
        return self._chosen("command")

    def modality(self, which: str | type[Modality]) -> type[Modality]:
        """The class of a modality: by name, by ``distribution:name``, or the class itself.

        Imports that one plugin. Raises UnknownModality when nothing provides the name, and PluginError when what
        provides it is broken, switched off, or not the only one.
        """
        if not isinstance(which, str):
            return self._checked(which)
        added = self._added.get(which)
        return added if added is not None else self._get("modality", which)

    def preset(self, name: str) -> Preset:
        """That checkpoint: its folder, and what is loaded of it. Raises as `modality`."""
        found = self._get("preset", name)
        return found if isinstance(found, Preset) else Preset(found)

    def labeler(self, name: str) -> type[Labeler]:
        """The class of the pseudo-labeler of that name. Raises as `modality`."""
        return self._get("labeler", name)

    def command(self, name: str) -> click.Command:
        """The command of that name, which the plugin ``command-NAME`` adds. Raises as `modality`."""
        return self._get("command", name)

    def add(self, cls: type[Modality], *, replace: bool = False) -> type[Modality]:
        """Register a class by its name, as in a notebook; works as a decorator and may be repeated.

        Raises PluginError when the class is not usable, or when an installed plugin provides the name already and
        `replace` is false.
        """
        self._checked(cls)
        installed = self._chosen("modality").get(cls.name)
        if installed and not replace:
            origin = f"{installed.distribution} {installed.version}"
            raise PluginError(f"modality {cls.name!r} is provided by {origin}; rename the class, or pass replace=True")
        self._added[cls.name] = cls
        return cls

    def check(self, candidate: Candidate) -> tuple[Problem, ...]:
        """Load one plugin, of whatever kind, and return its problems."""
        self._provide(candidate)
        return tuple(problem for problem in self.problems if _is_of(problem, candidate))

    def origin(self, cls: type[Modality]) -> Candidate | None:
        """The installed plugin that a loaded class came from, or None for a class of the user's own."""
        return next((c for c, provided in self._provided.items() if provided.get(cls.name) is cls), None)

    def _chosen(self, kind: str) -> dict[str, Candidate]:
        return {c.provides: c for c in self.catalog.chosen.values() if c.kind == kind}

    def _checked(self, cls: object) -> type[Modality]:
        try:
            return check_modality(check_class(cls), "")
        except Refusal as refusal:
            raise PluginError(str(refusal)) from refusal.__cause__

    def _get(self, kind: str, name: str) -> Any:
        candidate = self._find(kind, name)
        provided = self._provide(candidate)
        self._raise_if_broken(candidate)
        return provided[candidate.provides]

    def _find(self, kind: str, name: str) -> Candidate:
        """The candidate for a name or ``distribution:name``; the error says why there is none."""
        distribution, _, bare = name.rpartition(":")
        entry = bare if kind == "modality" else f"{kind}-{bare}"
        key = f"{canonical(distribution)}:{entry}"
        found = self.catalog.usable.get(key) if distribution else self.catalog.chosen.get(entry)
        if found is not None and found.kind == kind:
            return found
        if rivals := self.catalog.rivals.get(entry, ()):
            names = " and ".join(c.distribution for c in rivals)
            choices = " or ".join(repr(f"{c.distribution}:{bare}") for c in rivals)
            prefer = f"ANYMODAL_PREFER={entry}={rivals[0].distribution}"
            raise PluginError(f"{kind} {bare!r} is provided by {names}; choose one: ask for {choices}, or set {prefer}")
        for problem in self.catalog.problems:
            if problem.plugin == entry and canonical(distribution) in ("", canonical(problem.distribution)):
                raise PluginError(f"{kind} {problem}")
        if any(c.name == entry and (not distribution or c.key == key) for c in self.catalog.disabled):
            raise PluginError(f"{kind} {name!r} is switched off by ANYMODAL_DISABLE")
        if self._entries is None and self.refresh():
            return self._find(kind, name)
        near, command = nearest(bare, self._chosen(kind)), suggestion(distribution or usual_package(bare))
        hint = f"{near} Or try" if near else "; try"
        way_out = f"{hint}: {command}" if command else near or "; `anymodal plugin list` shows what there is"
        raise UnknownModality(f"no installed plugin provides the {kind} {name!r}{way_out}")

    def _provide(self, candidate: Candidate) -> Mapping[str, Any]:
        """By name what an entry point provides, loaded once; empty when it is broken."""
        with self._lock:
            if candidate not in self._provided and candidate not in self._broken:
                with self._recording(candidate):
                    self._provided[candidate] = self._validated(candidate, self._called(candidate))
                remember(package_of(candidate.value))
            return self._provided.get(candidate, {})

    def _called(self, candidate: Candidate) -> object:
        """What the hook of a plugin returns; for commands, which it adds to a group, those of the group."""
        loaded = self._load(candidate)
        if candidate.kind != "command":
            return loaded.call(HOOKS[candidate.kind])
        import click

        group = click.Group()
        loaded.call(HOOKS["command"], cli=group)
        return group.commands

    def _validated(self, candidate: Candidate, result: object) -> Mapping[str, Any]:
        """What a hook returned, by name. Raises Refusal when it is not what the entry points announce."""
        hook = HOOKS[candidate.kind]
        if candidate.kind != "modality":
            if not isinstance(result, Mapping):
                raise Refusal("call", f"{hook} returns {type(result).__name__}", "return a dict by name")
            provided: Mapping[str, Any] = result
        else:
            if not isinstance(result, (list, tuple)):
                raise Refusal("call", f"{hook} returns {type(result).__name__}", "return a list of Modality classes")
            provided = {cls.name: cls for cls in map(check_class, result)}
        if candidate.provides not in provided:
            listed = " and ".join(sorted(map(str, provided))) or "nothing"
            hint = "the entry point and what it provides need the same name"
            raise Refusal("validate", f"announces {candidate.provides} but provides {listed}", hint)
        if candidate.kind == "modality":
            check_modality(provided[candidate.provides], candidate.distribution)
        if candidate.kind == "labeler":
            check_labeler(provided[candidate.provides])
        if candidate.kind == "preset":
            check_preset(provided[candidate.provides])
        return provided

    def _load(self, candidate: Candidate) -> Loaded:
        return load(candidate, _to_stderr if self._environ.get("ANYMODAL_TRACE") == "1" else None)

    def _raise_if_broken(self, candidate: Candidate) -> None:
        if candidate in self._broken:
            raise PluginError(f"{candidate.kind} {self._broken[candidate]}")

    @contextlib.contextmanager
    def _recording(self, candidate: Candidate) -> Iterator[None]:
        """Record what goes wrong in the body as problems of the candidate."""

        def report(message: str, hint: str) -> None:
            self._record(candidate.problem("load", message, hint, fatal=False))

        try:
            with watched(report):
                yield
        except Refusal as refusal:
            error = refusal.__cause__
            problem = candidate.problem(refusal.stage, refusal.message, refusal.hint, error=error)
            self._broken[candidate] = problem
            self._record(problem)

    def _record(self, problem: Problem) -> None:
        self.problems.append(problem)
        if self._environ.get("ANYMODAL_STRICT") == "1":
            raise PluginError(str(problem))
        if problem.stage in ("metadata", "conflict") or not problem.fatal:  # the others are raised when asked for
            log.warning("plugin %s", problem)


@functools.cache
def _installed() -> Registry:
    return Registry()


_in_use: ContextVar[Registry | None] = ContextVar("anymodal_registry", default=None)


def registry() -> Registry:
    """The registry in use: that of this process, or the one of the innermost `use`."""
    return _in_use.get() or _installed()


@contextlib.contextmanager
def use(other: Registry) -> Iterator[Registry]:
    """Let `registry()` return `other` in the body, for all code of this thread or task."""
    token = _in_use.set(other)
    try:
        yield other
    finally:
        _in_use.reset(token)


def modalities() -> dict[str, Candidate]:
    """The installed modalities by name, with distribution, version and summary; imports none of them."""
    return registry().modalities()


def _is_of(problem: Problem, candidate: Candidate) -> bool:
    return (problem.plugin, problem.distribution) == (candidate.name, candidate.distribution)


def _described(cls: type[Modality]) -> Candidate:
    """An added class as if it were installed; it has no distribution."""
    return Candidate(cls.name, f"{cls.__module__}:{cls.__qualname__}", summary=summary(cls))


def summary(cls: type[Modality]) -> str:
    """The first line of a docstring, where that is a text."""
    said: object = cls.__doc__
    return said.partition("\n")[0] if isinstance(said, str) else ""


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"anymodal: {line}\n")
