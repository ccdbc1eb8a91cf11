"""The program that installs packages for the running Python: its pip, or uv where it has none.

Words are passed on as a list, never through a shell. What it says in many lines when it fails becomes one sentence.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

import attrs

from anymodal.errors import PluginError, legible

QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "LC_ALL": "C", "UV_NO_PROGRESS": "1"}
PATIENCE = {"PIP_RETRIES": "1", "UV_HTTP_RETRIES": "1"}  # unless the user says otherwise
LARGEST = 1 << 20  # bytes of a file of metadata
OFFLINE = re.compile(
    r"(NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|Max retries exceeded"
    r"|[Ff]ailed to establish a new connection|Temporary failure in name resolution|Connection refused"
    r"|Network is unreachable|error sending request|dns error|tcp connect error|Failed to fetch)"
)
ABSENT = re.compile(r"No matching distribution found for (\S+)|Because (\S+) was not found in the package registry")
CONFLICT = re.compile(r"(ResolutionImpossible|conflicting dependencies|your requirements are unsatisfiable)")
CHANGE = re.compile(r"^ ([+-]) (\S+?)==(\S+)", re.MULTILINE)


@attrs.frozen
class Installer:
    """`words` begin a command of it; `is_uv` says which of the two dialects it speaks."""

    words: tuple[str, ...]
    is_uv: bool = False

    def install_words(self, targets: Sequence[str], *, upgrade: bool = False) -> list[str]:
        """The command that installs those requirements and paths."""
        python = ["--python", sys.executable] if self.is_uv else []
        return [*self.words, "install", *python, *(["--upgrade"] if upgrade else []), *targets]

    def fetch(self, target: str, folder: Path) -> Distribution:
        """The distribution of a requirement or a path, put into an empty folder and not installed.

        Of a requirement only a wheel is taken: it says what it holds without running code of its own. Raises
        PluginError.
        """
        only = [] if _is_path(target) else ["--only-binary", ":all:"]
        if self.is_uv:
            self._run([*self.install_words([target]), "--target", str(folder), "--no-deps", *only], target)
            places = [str(folder)]
        else:
            self._run([*self.words, "wheel", "--no-deps", "-q", "-w", str(folder), *only, target], target)
            places = [str(wheel) for wheel in folder.glob("*.whl")]
        _check_sizes(folder)
        found = list(distributions(path=places))
        if len(found) != 1:
            raise PluginError(f"{target} is not one distribution but {len(found)}; install it with pip")
        return found[0]

    def changes(self, targets: Sequence[str], constraint: Path, *, upgrade: bool) -> dict[str, str]:
        """The versions that an installation would bring, by name. Raises PluginError."""
        command = [*self.install_words(targets, upgrade=upgrade), "--dry-run", "-c", str(constraint)]
        if self.is_uv:
            said = self._run(command, " ".join(targets))
            return {name: version for sign, name, version in CHANGE.findall(said) if sign == "+"}
        report = json.loads(self._run([*command, "-q", "--report", "-"], " ".join(targets), out=True))
        told = [each["metadata"] for each in report["install"]]
        return {str(each["name"]): str(each["version"]) for each in told}

    def install(self, targets: Sequence[str], constraint: Path, *, upgrade: bool) -> None:
        """Install. Raises PluginError."""
        command = [*self.install_words(targets, upgrade=upgrade), "-c", str(constraint)]
        self._run(command if self.is_uv else [*command, "-q"], " ".join(targets))

    def _run(self, command: Sequence[str], what: str, *, out: bool = False) -> str:
        """What a command says: its result alone, or all of it. Raises PluginError."""
        done = subprocess.run(
            command, env=_environ(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise PluginError(why(what, done.stdout + done.stderr))
        return done.stdout if out else done.stdout + done.stderr


def installer() -> Installer:
    """The program to install with. Raises PluginError where there is none, or where none may."""
    if is_externally_managed():
        raise PluginError(
            f"{sys.executable} belongs to the operating system, which forbids pip to change it (PEP 668); make an"
            " environment of your own: python3 -m venv env && env/bin/pip install 'anymodal[all]'"
        )
    if importlib.util.find_spec("pip") is not None:
        return Installer((sys.executable, "-m", "pip"))
    if (uv := shutil.which("uv")) is not None:
        return Installer((uv, "pip"), is_uv=True)
    raise PluginError(f"{sys.executable} has no pip, and there is no uv; make one: {sys.executable} -m ensurepip")


def is_externally_managed() -> bool:
    """Whether this Python is one that pip refuses to change, as those of Linux distributions."""
    if sys.prefix != sys.base_prefix or os.environ.get("PIP_BREAK_SYSTEM_PACKAGES", "0") not in ("", "0", "false"):
        return False
    return Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").is_file()


def why(what: str, said: str) -> str:
    """One sentence of what pip or uv says when it fails."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if OFFLINE.search(said):
        return legible(f"{what} cannot be fetched, because no package index answers; with its wheel at hand, name that")
    if (absent := ABSENT.search(said)) is not None:
        missing = absent[1] or absent[2]
        versions = re.search(r"from versions: (?!none)([^)]+)\)", said)
        for_whom = "" if what.startswith(missing) else f", which {what} needs,"
        there = f"there are {versions[1]}" if versions else "look at its spelling"
        return legible(f"no package index in use has a wheel of {missing}{for_whom} for this Python; {there}")
    if CONFLICT.search(said):
        asked = [line for line in lines if re.search(r" depends on | requested |Because | requires ", line)]
        return legible(f"{what} does not go with what is installed: {'; '.join(asked) or lines[-1]}")
    told = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("error:")]
    return legible(f"{what} cannot be installed: {(told or lines or ['no reason is given'])[-1]}")


def _is_path(target: str) -> bool:
    return Path(target).is_absolute()


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program that asks nothing and says things in English."""
    return {**PATIENCE, **environ, **QUIET}


def _check_sizes(folder: Path) -> None:
    """Raise PluginError for a wheel, or what was unpacked from one, whose metadata is no text of a sensible size."""
    for wheel in folder.glob("*.whl"):
        try:
            sizes = [(info.filename, info.file_size) for info in zipfile.ZipFile(wheel).infolist()]
        except zipfile.BadZipFile:
            raise PluginError(f"{wheel.name} is no wheel: it is not a zip file") from None
        _refuse_large(wheel.name, sizes)
    for info in folder.glob("*.dist-info"):
        _refuse_large(info.name, [(f"{info.name}/{path.name}", path.stat().st_size) for path in info.iterdir()])


def _refuse_large(place: str, sizes: Sequence[tuple[str, int]]) -> None:
    for name, size in sizes:
        if re.search(r"\.dist-info/(METADATA|entry_points\.txt)$", name) and size > LARGEST:
            raise PluginError(f"{place} has {size} bytes of {name}, of which more than {LARGEST} are never read")
