"""What `anymodal plugin new` writes: a whole distribution, from templates that travel with the API they fit.

The files beside this one are `string.Template`s; `families/` has the module of a plugin for every family.
"""

from __future__ import annotations

import json
import keyword
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from anymodal.errors import ConfigError, DataError, cause, nearest
from anymodal.modality import NAME

HERE = files("anymodal.plugins.template")
SUFFIX = ".tmpl"
WRITTEN = {
    "pyproject.toml": "pyproject.toml",
    "test.py": "test_{name}.py",
    "readme.md": "README.md",
    "license.txt": "LICENSE",
    "workflow.yml": ".github/workflows/test.yml",
    "gitignore.txt": ".gitignore",
}
LONGEST = 64
VERSIONS = {"floor": "0.1", "ceiling": "1"}


def families() -> tuple[str, ...]:
    """The families that a plugin can be written for, sorted."""
    found = (each.name for each in HERE.joinpath("families").iterdir())
    return tuple(sorted(name.removesuffix(f".py{SUFFIX}") for name in found if name.endswith(SUFFIX)))


def write_plugin(name: str, family: str, out: Path, *, author: str | None = None) -> Path:
    """Write the distribution anymodal-NAME into a new folder of `out`, and return that folder.

    `author` is taken from the settings of git if it is not given. Raises ConfigError for a name or a family that
    cannot be, and DataError when the folder is there already or cannot be written; nothing is left behind then.
    """
    texts = filled(name, family, author or git_author())
    folder = out / f"anymodal-{name.replace('_', '-')}"
    if folder.exists():
        raise DataError(f"{folder} is there already; choose another --out, or remove it first")
    try:
        out.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out, prefix=f".{folder.name}-"))
        try:
            for path, text in texts.items():
                (temporary / path).parent.mkdir(parents=True, exist_ok=True)
                (temporary / path).write_text(text, encoding="utf-8")
            temporary.chmod(0o755)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {cause(error)}") from None
    return folder


def filled(name: str, family: str, author: str) -> dict[str, str]:
    """The text of every file of the distribution, by its path in it. Raises ConfigError."""
    if family not in families():
        known = ", ".join(families())
        raise ConfigError(f"there is no family {family!r}{nearest(family, families())}; families: {known}")
    words = names(name) | VERSIONS | {"author": author, "author_quoted": json.dumps(author, ensure_ascii=False)}
    words |= {"family": family, "year": str(datetime.now(UTC).year)}
    module = _template(HERE.joinpath("families", f"{family}.py{SUFFIX}"))
    parts = {f"{words['module']}.py": module}
    parts |= {path.format(name=name): _template(HERE.joinpath(part + SUFFIX)) for part, path in WRITTEN.items()}
    if words["class"] in re.findall(r"\w+", module):
        raise ConfigError(f"a class {words['class']!r} would hide what the plugin imports; choose another name")
    return {path: Template(text).substitute(words) for path, text in parts.items()}


def names(name: str) -> dict[str, str]:
    """What a modality's name becomes: distribution, module, class and title. Raises ConfigError for none."""
    if not NAME.fullmatch(name):
        better = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
        better = better.removeprefix("anymodal_")
        hint = f"; did you mean {better!r}?" if NAME.fullmatch(better) else ""
        raise ConfigError(f"the name {name!r} of a modality must match [a-z][a-z0-9_]*{hint}")
    if name.endswith("_") or len(name) > LONGEST:
        raise ConfigError(f"the name {name:.64} of a plugin needs a letter or digit at its end, and at most {LONGEST}")
    title = "".join(part.capitalize() for part in name.split("_"))
    if keyword.iskeyword(title):
        raise ConfigError(f"the name {name!r} makes the class {title!r}, which Python keeps for itself; choose another")
    implied = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", title).lower()
    return {
        "name": name,
        "distribution": f"anymodal-{name.replace('_', '-')}",
        "module": f"anymodal_{name}",
        "class": title,
        "words": " ".join(name.split("_")).strip(),
        "named": "" if implied == name else f'    name = "{name}"\n',
    }


def git_author() -> str:
    """The name in the settings of git, or words that stand for it."""
    try:
        found = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return "its authors"
    return " ".join(found.stdout.split()) or "its authors"


def _template(part: Traversable) -> str:
    return part.read_text(encoding="utf-8")
