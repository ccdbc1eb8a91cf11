"""`anymodal modalities`: what is installed, from metadata alone; with a name, what that one modality looks like.

With `--json` the list says family and space too, for which the plugins are imported, though nothing heavy.
"""

from __future__ import annotations

from typing import Any

import attrs
import click

from anymodal.cli import completion
from anymodal.cli.output import Output, with_output
from anymodal.errors import AnymodalError
from anymodal.plugins.guard import blame
from anymodal.plugins.registry import Registry, registry, summary
from anymodal.spaces import DenseSpace, Stream


@click.command()
@click.argument("name", required=False, shell_complete=completion.modalities)
@with_output
def modalities(output: Output, name: str | None) -> None:
    """List the installed modalities, or describe the one called NAME.

    \b
    anymodal modalities --json
    anymodal modalities depth
    """
    if name is None:
        rows: list[dict[str, Any]] = list(listing(registry(), "modality"))
        output.table(list(rows[0]) if rows else ["name"], [list(row.values()) for row in rows])
        if output.as_json:
            rows = [{**row, **looks(registry(), row)} for row in rows]
        output.data({"modalities": rows})
    else:
        facts = description(registry(), name)
        streams = facts.pop("streams")
        output.table(["", name], [(key.replace("_", " "), _words(value)) for key, value in facts.items()])
        output.table(list(streams[0]), [[_words(value) for value in stream.values()] for stream in streams])
        output.data({**facts, "streams": streams})


def listing(plugins: Registry, *kinds: str) -> list[dict[str, str]]:
    """One row a plugin of these kinds; its status is installed, broken, ambiguous or disabled, and why."""
    catalog = plugins.catalog
    problems = {(p.plugin, p.distribution): p for p in plugins.problems if p.fatal}
    rows = []
    for candidate in {*catalog.usable.values(), *catalog.disabled, *catalog.broken}:
        if candidate.kind and candidate.kind not in kinds:
            continue
        problem = problems.get((candidate.name, candidate.distribution))
        if candidate in catalog.disabled:
            status = "disabled by ANYMODAL_DISABLE"
        elif problem is None:
            status = "installed" if candidate == catalog.chosen.get(candidate.name) else "not preferred"
        elif problem.stage == "conflict":
            status = f"ambiguous: {problem.hint}"
        else:
            status = f"broken: {problem.message}; {problem.hint}"
        facts = attrs.asdict(candidate, filter=attrs.filters.exclude("value"))
        rows.append({**facts, "status": status})
    return sorted(rows, key=lambda row: (row["name"], row["distribution"]))


def looks(plugins: Registry, row: dict[str, Any]) -> dict[str, Any]:
    """Family and space of a listed modality, for `--json`; imports its plugin, whose status says why it is broken."""
    nothing = {"family": None, "space": None}
    if row["status"] != "installed":
        return nothing
    try:
        facts = description(plugins, row["name"])
    except AnymodalError as error:
        return {**nothing, "status": f"broken: {error}"}
    return {"family": facts["family"], "space": facts["streams"]}


def description(plugins: Registry, name: str) -> dict[str, Any]:
    """Everything about one modality; imports its plugin. Raises as `Registry.modality`."""
    cls = plugins.modality(name)
    origin = plugins.origin(cls)
    with blame(cls, "streams"):
        modality = cls()
        streams = [stream_facts(stream) for stream in modality.streams()]
    return {
        "name": cls.name,
        "summary": summary(cls),
        "distribution": origin.distribution if origin else "",
        "version": origin.version if origin else "",
        "api": cls.api,
        "family": cls.family,
        "settings": modality.config(),
        "files": list(cls.suffixes),
        "covers_the_picture": cls.aligned,
        "derived_from": list(cls.derived_from),
        "streams": streams,
    }


def stream_facts(stream: Stream) -> dict[str, Any]:
    """A stream and its space as plain values."""
    space = stream.space
    dense = isinstance(space, DenseSpace)
    return {
        "stream": stream.name,
        "holds": f"rows of {space.width} numbers" if isinstance(space, DenseSpace) else f"{space.size} ids",
        "dense": dense,
        "length": space.length,
        "shape": list(space.shape) if space.shape else None,
        "order": space.order,
        "input": stream.input,
        "target": stream.target,
    }


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
