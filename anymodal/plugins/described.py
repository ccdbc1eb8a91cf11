"""What the metadata of a distribution says of its plugins; nothing of it is imported."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

import attrs

from anymodal.errors import legible
from anymodal.hookspecs import GROUP
from anymodal.plugins.discovery import Candidate, canonical

LONGEST = 300  # characters of a text that is shown
LABELS = ("Homepage", "Documentation", "Source", "Repository", "Issues", "Changelog")
OPEN = ("https://", "http://")


@attrs.frozen
class Described:
    """A distribution of plugins: `needs` is its requirement of anymodal, `links` its addresses by what they lead to."""

    name: str
    version: str = ""
    summary: str = ""
    license: str = ""
    needs: str = ""
    python: str = ""
    provides: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    links: dict[str, str] = attrs.Factory(dict)

    @property
    def does(self) -> str:
        """What it provides, in words: ``modality depth, labeler depth``."""
        return ", ".join(self.provides)


def described(distribution: Distribution) -> Described:
    """What the metadata of a distribution says, its texts on one line each and cut where they are long."""
    facts = distribution.metadata

    def said(key: str) -> str:
        return legible(str(facts[key] or "").strip(), LONGEST) if key in facts else ""

    return Described(
        said("Name"),
        said("Version"),
        said("Summary"),
        said("License-Expression") or said("License"),
        _needs(distribution.requires or ()),
        said("Requires-Python"),
        provided(entries_of(distribution)),
        tuple(word for each in said("Keywords").split(",") if (word := each.strip())),
        _links(facts.get_all("Project-URL") or ()),
    )


def entries_of(distribution: Distribution) -> list[EntryPoint]:
    """The entry points of plugins that a distribution has."""
    return list(distribution.entry_points.select(group=GROUP))


def provided(entries: Iterable[EntryPoint]) -> tuple[str, ...]:
    """What entry points provide, modalities first: ``modality depth``."""
    found = [Candidate(each.name, each.value) for each in entries]
    known = {(c.kind != "modality", c.kind, c.provides) for c in found if c.kind}
    return tuple(f"{kind} {name}" for _, kind, name in sorted(known))


def installed() -> dict[str, Described]:
    """The installed distributions that have plugins, by the names that package indexes compare."""
    found: dict[str, Described] = {}
    for each in distributions():
        try:
            if entries_of(each):
                found.setdefault(canonical(each.metadata["Name"]), described(each))
        except Exception:  # metadata on disk may be damaged in any way; `anymodal doctor` says so
            continue
    return dict(sorted(found.items()))


def read(facts: Any) -> Described:
    """One of `attrs.asdict` after it went through JSON; what is not of its kind is left out."""

    def texts(value: object) -> tuple[str, ...]:
        return tuple(legible(v, LONGEST) for v in value if isinstance(v, str)) if isinstance(value, list) else ()

    def text(key: str) -> str:
        value = facts.get(key)
        return legible(value, LONGEST) if isinstance(value, str) else ""

    links = facts.get("links")
    told = links.items() if isinstance(links, dict) else ()
    return Described(
        text("name"),
        text("version"),
        text("summary"),
        text("license"),
        text("needs"),
        text("python"),
        texts(facts.get("provides")),
        texts(facts.get("keywords")),
        {label: each for label, each in told if label in LABELS and isinstance(each, str) and each.startswith(OPEN)},
    )


def _needs(requirements: Iterable[str]) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    for each in requirements:
        try:
            wanted = Requirement(each)
        except InvalidRequirement:
            continue
        if canonical(wanted.name) == "anymodal" and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            return ",".join(sorted(map(str, wanted.specifier), reverse=True))
    return ""


def _links(stated: Iterable[str]) -> dict[str, str]:
    """Addresses of the usual kinds; others could be anything."""
    pairs = [str(each).partition(",") for each in stated]
    named = {label.strip().capitalize(): address.strip() for label, _, address in pairs}
    return {label: named[label] for label in LABELS if named.get(label, "").startswith(OPEN)}
