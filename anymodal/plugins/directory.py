"""Which packages may be suggested: those that are installed, and those of our own directory of plugins.

The directory is what the extras of this distribution name. A name that only a user's typing error or a stranger's file
states is never suggested: whoever wants to do harm would register it.
"""

from __future__ import annotations

import functools
import re
from importlib.metadata import PackageNotFoundError, distribution, requires

from anymodal.plugins.discovery import canonical

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@functools.cache
def directory() -> frozenset[str]:
    """The distributions of plugins that the extras of this one name, as package indexes compare names."""
    try:
        stated = requires("anymodal") or []
    except PackageNotFoundError:
        return frozenset()
    names = (NAME.match(each) for each in stated if "extra ==" in each)
    return frozenset(canonical(name[0]) for name in names if name and canonical(name[0]).startswith("anymodal-"))


def exists(package: str) -> bool:
    """Whether a package is in the directory, or installed."""
    if not NAME.fullmatch(package):
        return False
    if canonical(package) in directory():
        return True
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def suggestion(*packages: str) -> str:
    """The command that installs those of the packages that exist; an empty string if none does."""
    found = [package for package in dict.fromkeys(packages) if exists(package)]
    return f"pip install {' '.join(found)}" if found else ""


def usual_package(name: str) -> str:
    """The name that the distribution of a plugin with one modality usually has."""
    return f"anymodal-{name.replace('_', '-')}"
