"""Which plugins are installed: read from package metadata alone, nothing is imported.

The name of an entry point in the group `anymodal` says what it provides: `depth` the modality depth, `preset-tiny` the
preset tiny, likewise `labeler-NAME` and `command-NAME`. Of two distributions that provide one name neither is chosen.
"""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import Distribution, EntryPoint, entry_points
from itertools import groupby

import attrs

import anymodal
from anymodal.errors import ConfigError
from anymodal.hookspecs import GROUP
from anymodal.modality import NAME

PARTS = ("preset", "labeler", "command")
Told = tuple[str, str, str, tuple[str, ...]]  # name, version, summary and requirements of a distribution
NOTHING: Told = ("", "", "", ())
VALUE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")


@attrs.frozen
class Problem:
    """Why a plugin is left out, or, where `fatal` is false, what it does that it should not.

    `stage` is one of metadata, conflict, load, register, call, validate.
    """

    plugin: str
    distribution: str
    version: str
    stage: str
    message: str
    hint: str = ""
    trace: str = attrs.field(default="", repr=False)
    fatal: bool = True

    def __str__(self) -> str:
        origin = " ".join(filter(None, (self.distribution, self.version))) or "unknown distribution"
        return f"{self.plugin} ({origin}, {self.stage}): {self.message}" + (f"; {self.hint}" if self.hint else "")


@attrs.frozen
class Candidate:
    """An entry point: what is known of a plugin without importing it."""

    name: str
    value: str
    distribution: str = ""
    version: str = ""
    summary: str = ""

    @property
    def kind(self) -> str:
        """``modality``, ``preset``, ``labeler`` or ``command``; empty when the name is none of these."""
        if NAME.fullmatch(self.name):
            return "modality"
        part, _, rest = self.name.partition("-")
        return part if part in PARTS and rest else ""

    @property
    def provides(self) -> str:
        """The name without the kind: ``tiny`` for the entry point ``preset-tiny``."""
        return self.name if self.kind == "modality" else self.name.partition("-")[2]

    @property
    def key(self) -> str:
        """``distribution:name``, which is never ambiguous."""
        return f"{canonical(self.distribution)}:{self.name}"

    def problem(
        self, stage: str, message: str, hint: str = "", *, error: BaseException | None = None, fatal: bool = True
    ) -> Problem:
        trace = "".join(traceback.format_exception(error)) if error else ""
        return Problem(self.name, self.distribution, self.version, stage, message, hint, trace, fatal)


@attrs.frozen
class Catalog:
    """The installed plugins, sorted out.

    `usable` ones by key and `chosen` ones by name; the `rivals` for a name, of which none is chosen; those switched
    off, and those whose metadata is `broken`.
    """

    usable: Mapping[str, Candidate]
    chosen: Mapping[str, Candidate]
    rivals: Mapping[str, tuple[Candidate, ...]]
    disabled: tuple[Candidate, ...]
    broken: tuple[Candidate, ...]
    problems: tuple[Problem, ...]


def canonical(distribution: str) -> str:
    """The name of a distribution as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def catalog(entries: Iterable[EntryPoint] | None, environ: Mapping[str, str]) -> Catalog:
    """Sort out `entries` (default: everything installed), as ANYMODAL_DISABLE and ANYMODAL_PREFER ask.

    Raises ConfigError when ANYMODAL_PREFER is not a list of ``name=distribution``.
    """
    preferred, off = _preferences(environ), _switched_off(environ)
    told = functools.cache(_told)  # once for each distribution: most bring several plugins
    read = [_facts(entry, told) for entry in (entry_points(group=GROUP) if entries is None else entries)]
    read.sort(key=lambda pair: (pair[0].name, pair[0].distribution, pair[0].value))
    disabled = tuple(c for c, _ in read if off & {"*", c.name, canonical(c.distribution), c.key})
    usable, problems = _judge([pair for pair in read if pair[0] not in disabled])
    chosen, rivals = {}, {}
    for name, providers in groupby(usable.values(), key=lambda c: c.name):
        group = tuple(providers)
        wanted = [c for c in group if canonical(c.distribution) == preferred.get(name)]
        if len(group) == 1 or wanted:
            chosen[name] = (wanted or group)[0]
        else:
            rivals[name] = group
            problems += [c.problem("conflict", *_conflict(name, group, preferred.get(name))) for c in group]
    broken = tuple({c for c, _ in read} - {*disabled, *usable.values()})
    return Catalog(usable, chosen, rivals, disabled, broken, tuple(problems))


def _facts(entry: EntryPoint, told: Callable[[Distribution], Told]) -> tuple[Candidate, tuple[str, ...]]:
    """The candidate and the requirements of its distribution, which has no name when its metadata cannot be read."""
    name, version, summary, requirements = told(entry.dist) if entry.dist is not None else NOTHING
    return Candidate(entry.name, entry.value.strip(), name, version, summary), requirements


def _told(distribution: Distribution) -> Told:
    """Name, version, summary and requirements of a distribution; nothing of one whose metadata cannot be read."""
    try:
        facts, keys = distribution.metadata, ("Name", "Version", "Summary")
        name, version, summary = (str(facts[key] or "") if key in facts else "" for key in keys)
        # `requires` reads the metadata anew, for what is not said in them
        return name, version, summary, tuple(facts.get_all("Requires-Dist") or distribution.requires or ())
    except Exception:  # metadata on disk may be damaged in any way
        return NOTHING


def _judge(read: list[tuple[Candidate, tuple[str, ...]]]) -> tuple[dict[str, Candidate], list[Problem]]:
    """The usable candidates by key, and the problems of the others."""
    usable, problems, unmet = {}, {}, functools.cache(_unmet)
    for candidate, requirements in read:
        complaint = _complaint(candidate, requirements, unmet)
        values = {c.value for c, _ in read if c.key == candidate.key}
        if complaint is None and len(values) > 1:
            complaint = (f"is declared {len(values)} times, as {' and '.join(sorted(values))}", "keep one of them")
        if complaint is None:
            usable[candidate.key] = candidate
        else:
            problems[candidate.key] = candidate.problem("metadata", *complaint)
    return usable, list(problems.values())


def _complaint(
    candidate: Candidate, requirements: Iterable[str], unmet: Callable[[str], tuple[str, str] | None]
) -> tuple[str, str] | None:
    if not candidate.distribution:
        return "belongs to no installed distribution", "reinstall the package that ships it"
    if not VALUE.fullmatch(candidate.value):
        return f"has the malformed value {candidate.value!r}", "write it as `module:Class`"
    if not candidate.kind:
        return "has a name of no known kind", f"a modality is [a-z][a-z0-9_]*, others begin with {'-, '.join(PARTS)}-"
    return next(filter(None, map(unmet, requirements)), None)


def _unmet(requirement: str) -> tuple[str, str] | None:
    """The complaint about a requirement on this package that this version does not meet."""
    if not re.match(r"\s*anymodal\b(?![-_.])", requirement, re.IGNORECASE):
        return None
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(requirement)
    except InvalidRequirement:
        return f"has the malformed requirement {requirement!r}", "write it as `anymodal>=0.1,<1`"
    applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
    if not applies or wanted.specifier.contains(anymodal.__version__, prereleases=True):
        return None
    hint = "upgrade or downgrade one of the two with pip"
    return f"requires anymodal {wanted.specifier}, and this is {anymodal.__version__}", hint


def _conflict(name: str, group: tuple[Candidate, ...], preferred: str | None) -> tuple[str, str]:
    names = " and ".join(c.distribution for c in group)
    if preferred is not None:
        names += f", and not by {preferred!r} that ANYMODAL_PREFER names"
    hint = f"ask for {group[0].key!r}, or set ANYMODAL_PREFER={name}={group[0].distribution}"
    return f"is provided by {names}, so none of them is used", hint


def _words(environ: Mapping[str, str], variable: str) -> list[str]:
    return [word.strip() for word in environ.get(variable, "").split(",") if word.strip()]


def _switched_off(environ: Mapping[str, str]) -> set[str]:
    words = _words(environ, "ANYMODAL_DISABLE")
    return {*words, *map(canonical, words)}


def _preferences(environ: Mapping[str, str]) -> dict[str, str]:
    preferred = {}
    for word in _words(environ, "ANYMODAL_PREFER"):
        name, _, distribution = word.partition("=")
        if not (name and distribution):
            raise ConfigError(f"ANYMODAL_PREFER needs name=distribution, got {word!r}")
        preferred[name.strip()] = canonical(distribution.strip())
    return preferred
