"""Plugins that are installed again, changed or removed while Python runs, as in a notebook: what is noticed, and how.

A package counts as changed when a file of it that was loaded has another time, size or place, or would be found
elsewhere now. It is then forgotten, so that the next import reads it anew; objects of the old classes stay as they are.
"""

from __future__ import annotations

import contextlib
import importlib.util
import site
import sys
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

Stamp = tuple[str, int, int, int]  # file, time of the last change in ns, bytes, inode
_SEEN: dict[str, dict[str, Stamp | None]] = {}  # what was loaded of a package, by module


def package_of(value: str) -> str:
    """The top-level package of an entry point's value, such as ``anymodal_depth:Depth``."""
    return value.partition(":")[0].partition(".")[0]


def remember(package: str) -> None:
    """Note which files the modules of a package were loaded from, for `changed`."""
    _SEEN[package] = {name: _stamp(getattr(sys.modules[name], "__file__", None)) for name in _modules(package)}


def changed(package: str, roots: tuple[str, ...] = ()) -> bool:
    """Whether a package that was loaded is another one on disk now, or, with `roots`, lies in none of these folders."""
    seen = _SEEN.get(package)
    if seen is None or package not in sys.modules:
        return False
    if any(before is not None and _stamp(before[0]) != before for before in seen.values()):
        return True
    here = getattr(sys.modules[package], "__file__", None)
    if here is None:
        return False
    if roots:
        return not any(Path(here).is_relative_to(root) for root in roots)
    found = PathFinder.find_spec(package)
    return found is not None and found.origin is not None and not _same(found.origin, here)


def forget(package: str) -> None:
    """Take the modules of a package out of the process, so that they are imported anew. Never those of this one."""
    if package != __name__.partition(".")[0]:
        for name in _modules(package):
            del sys.modules[name]
    _SEEN.pop(package, None)


def reach(package: str, home: str) -> bool:
    """Let a package be imported that the distribution `home` was installed with, as editable, after Python started.

    Such a distribution brings a .pth file, which Python reads when it starts and never again. Returns whether the
    package could not be found before, and can now.
    """
    if _is_found(package):
        return False
    with contextlib.suppress(PackageNotFoundError):
        for file in distribution(home).files or ():
            if file.suffix == ".pth" and len(file.parts) == 1:
                place = Path(str(file.locate()))
                site.addpackage(str(place.parent), place.name, None)
        importlib.invalidate_caches()
    return _is_found(package)


def _is_found(package: str) -> bool:
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec(package) is not None
    return False


def _modules(package: str) -> list[str]:
    return [name for name in sys.modules if name == package or name.startswith(f"{package}.")]


def _stamp(file: str | None) -> Stamp | None:
    """What tells a file from another one; None where there is none."""
    if file is None:
        return None
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return file, found.st_mtime_ns, found.st_size, found.st_ino


def _same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False
