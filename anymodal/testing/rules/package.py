"""AM0xx: what a plugin is from outside."""

from __future__ import annotations

import ast
import contextlib
import inspect
import pickle
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, packages_distributions
from pathlib import Path
from typing import Any

import anymodal
from anymodal.hookspecs import GROUP
from anymodal.plugins.described import described as stated
from anymodal.plugins.discovery import canonical
from anymodal.plugins.public import PUBLIC_MODULES
from anymodal.plugins.registry import Registry
from anymodal.testing.choose import owned
from anymodal.testing.definition import rule
from anymodal.testing.fresh import revived
from anymodal.testing.outcome import expect
from anymodal.testing.rules.compare import distributed
from anymodal.testing.subject import Subject

SOURCES = ("Source", "Repository")  # labels of links
SECONDS = 0.1  # of one core
LARGEST = 50 * 1024**2  # bytes
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib")


@rule(
    "AM000",
    "The plugin loads",
    fix="run `python -X dev -c 'import MODULE'` and repair what it shows; look for endless loops and at native code",
)
def loads(subject: Subject) -> None:
    """Loading comes first, in a process of its own with a time limit, so that a crash or a hang is only reported."""
    if distributed(subject):
        expect(not subject.fresh.error, subject.fresh.error)
        expect(not subject.fresh.others, f"its distribution also announces {' and '.join(subject.fresh.others)}")
    subject.cls.validate()


@rule(
    "AM001",
    "Loading imports neither torch nor numpy",
    fix="take them from anymodal.lazy: `if TYPE_CHECKING: import numpy as np`, `else: from anymodal.lazy import np`",
    applies=distributed,
)
def light(subject: Subject) -> None:
    """Twenty plugins are listed and described without waiting for a framework that none of them needs yet."""
    heavy = subject.fresh.heavy
    expect(not heavy, f"loading it imports {' and '.join(heavy)}")
    expect(
        subject.fresh.seconds < SECONDS,
        f"loading it keeps a core busy for {subject.fresh.seconds:.2f} s, more than {SECONDS} s",
    )


@rule("AM002", "The class says in one line what it holds", fix="give the class a docstring with a first line")
def described(subject: Subject) -> None:
    """The line is shown where modalities are described, and is all that many users read."""
    own = subject.cls.__dict__.get("__doc__") or ""
    expect(own.partition("\n")[0].strip(), f"{subject.cls.__name__} has no docstring of its own")


def importable(subject: Subject) -> bool:
    """Classes at the top of a module that can be imported."""
    module = sys.modules.get(subject.cls.__module__)
    there = getattr(module, "__spec__", None) is not None and getattr(module, subject.cls.__name__, None) is subject.cls
    return subject.installed or there


@rule(
    "AM003",
    "Instances survive pickling into another process",
    fix="define the class at the top of its module, and keep no open files, locks or lambdas in an instance",
    applies=importable,
)
def pickles(subject: Subject) -> None:
    """Data workers are started with a pickled copy of the modality."""
    again = pickle.loads(pickle.dumps(subject.modality))
    expect(again.config() == subject.modality.config(), "a pickled instance has other numbers")
    if distributed(subject):
        expect(revived(subject.modality) == repr(subject.modality), "an instance is another one in a new process")


@rule(
    "AM004",
    "The entry point has the modality's name",
    fix="give both the same name: small letters, digits and underscores",
)
def named(subject: Subject) -> None:
    """The name of the entry point is the name of the modality, so that listing imports nothing."""
    name = subject.target.name.rpartition(":")[2]
    expect(subject.cls.name == name, f"the entry point {name!r} leads to the modality {subject.cls.name!r}")
    for stream in subject.cls().streams():
        expect(stream.modality == name, f"its stream {stream.name!r} says it is of {stream.modality!r}")


@rule(
    "AM005",
    "The requirement on anymodal has a ceiling",
    fix='write dependencies = ["anymodal>=0.1,<1"]',
    level="should",
    applies=distributed,
)
def bounded(subject: Subject) -> None:
    """A release that changes the plugin API is then not installed beside a plugin that does not know it."""
    from packaging.requirements import Requirement

    distribution = subject.target.distribution
    wanted = [Requirement(r) for r in (distribution.requires if distribution else None) or ()]
    ours = [r for r in wanted if re.sub(r"[-_.]+", "-", r.name).lower() == "anymodal"]
    expect(ours, "the distribution does not require anymodal")
    capped = any(s.operator in ("<", "<=", "==", "~=") for r in ours for s in r.specifier)
    expect(capped, f"it requires {str(ours[0])!r}, without an upper bound")


@rule(
    "AM006",
    "Loading changes nothing outside the module",
    fix="move it into a function that runs when it is needed; use the module logging in place of print",
    applies=distributed,
)
def quiet(subject: Subject) -> None:
    """No seeds, default types, warning filters, log handlers, files or connections: they belong to the user."""
    found = [*subject.fresh.changes, *subject.fresh.touched]
    expect(not found, f"it {found[0] if found else ''}")


@rule(
    "AM007",
    "Only public names of anymodal are imported",
    fix="import from `anymodal` itself, or from its modules " + ", ".join(PUBLIC_MODULES),
    applies=distributed,
)
def public(subject: Subject) -> None:
    """What is not public may change in any release."""
    for module, source in _sources(subject.cls.__module__):
        for name in imported(source):
            package, _, rest = name.partition(".")
            if package == "anymodal" and rest:
                known = rest in dir(anymodal) or rest.partition(".")[0] in PUBLIC_MODULES or rest == "*"
                private = any(part.startswith("_") for part in rest.split("."))
                expect(known and not private, f"the module {module} imports {name}")
            if package.startswith("anymodal_"):
                expect(_beside(package, subject), f"the module {module} imports {name}, of another plugin")


def _sources(module: str) -> Iterator[tuple[str, str]]:
    """The loaded modules of the package that a module is in, with their source."""
    package = module.partition(".")[0]
    for name, each in sorted(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            with contextlib.suppress(OSError, TypeError):
                yield name, inspect.getsource(each)


def _beside(package: str, subject: Subject) -> bool:
    """Whether the distribution of a modality brings that package too."""
    own, distribution = subject.cls.__module__.partition(".")[0], subject.target.distribution
    known = packages_distributions().get(package, [])
    if known and distribution is not None:
        return canonical(distribution.name) in map(canonical, known)
    home = Path(getattr(sys.modules.get(own), "__file__", None) or "")
    folder = home.parent.parent if home.name == "__init__.py" else home.parent
    return package == own or (folder / f"{package}.py").is_file() or (folder / package).is_dir()


def imported(source: str) -> list[str]:
    """The absolute names that a module imports, at its top or later; those for type checkers alone are left out."""
    names: list[str] = []
    nodes: list[ast.AST] = [ast.parse(source)]
    for node in nodes:  # grows while it is walked
        types_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        nodes += node.orelse if types_only else ast.iter_child_nodes(node)  # type: ignore[attr-defined]
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@rule(
    "AM008",
    "The distribution has a summary and a license",
    fix="set description and license in pyproject.toml",
    level="should",
    applies=distributed,
)
def summarized(subject: Subject) -> None:
    """The summary is shown in lists of modalities; without a license nobody may use the plugin."""
    distribution = subject.target.distribution
    facts: Any = distribution.metadata if distribution else {}
    licenses = ("License-Expression", "License", "License-File")
    expect("Summary" in facts, "the distribution has no summary")
    expect(any(key in facts for key in licenses), "the distribution says nothing of its license")


@rule(
    "AM009",
    "The package holds no pickles and no file over 50 MB",
    fix="keep weights in a repository of the Hub, as safetensors, and name it in `repository`",
)
def slim(subject: Subject) -> None:
    """Pickles run code when they are read, and large files make every installation slow."""
    module = sys.modules.get(subject.cls.__module__.partition(".")[0])
    roots = [Path(root) for root in getattr(module, "__path__", [])]
    if subject.target.folder is not None:
        roots.append(subject.target.folder)
    hidden = {".git", ".venv", "__pycache__", "node_modules"}
    for path in sorted(p for root in roots for p in root.rglob("*") if not hidden & set(p.parts)):
        if path.is_file():
            expect(path.suffix not in PICKLES, f"the package holds {path.name}, which may be a pickle")
            expect(path.stat().st_size <= LARGEST, f"the package holds {path.name}, of {path.stat().st_size} bytes")


@rule(
    "AM010",
    "It works beside a broken plugin",
    fix="ask the registry for no other modality while the module is loaded or the class is validated",
    applies=distributed,
)
def independent(subject: Subject) -> None:
    """A broken plugin is left out; the others must not notice."""
    candidate, distribution = subject.target.candidate, subject.target.distribution
    assert candidate is not None and distribution is not None
    broken = EntryPoint("broken_neighbor", "anymodal_broken_neighbor:Nothing", GROUP)
    mine = EntryPoint(candidate.name, candidate.value, GROUP)
    plugins = Registry([owned(mine, distribution), owned(broken, distribution)], {})
    usable = plugins.catalog.usable.values()
    problems = [p for c in usable if c.name == "broken_neighbor" for p in plugins.check(c)]
    expect(problems, "the broken neighbor was not noticed")
    plugins.modality(candidate.name)().streams()


@rule(
    "AM012",
    "The distribution links to its source",
    fix="give the address of the code as `Source` in [project.urls] of pyproject.toml",
    level="should",
    applies=distributed,
)
def linked(subject: Subject) -> None:
    """Who installs a plugin runs its code, and looks at it before; the directory of plugins asks for the link."""
    distribution = subject.target.distribution
    links = stated(distribution).links if distribution else {}
    there = f"; its links are {' and '.join(links)}" if links else ""
    expect(links.keys() & set(SOURCES), f"the metadata has no address of its source{there}")
