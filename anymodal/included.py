"""What comes with the package beside its code: recipes, and photographs to try things on.

Both lie at the top of a checkout, and in the folder `share` of an installed package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from anymodal.errors import ConfigError, DataError, nearest
from anymodal.files import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

PACKAGE = Path(__file__).parent
SUFFIXES = (".yaml", ".md")
SAMPLE_ROW = re.compile(r"^\| `([\w-]+)\.jpg` \| (.+) \| (.+) \|$", re.MULTILINE)
BASE = re.compile(r"^base: \.\./([\w-]+)/", re.MULTILINE)


def _folder(name: str, in_checkout: str) -> Path:
    shared = PACKAGE / "share" / name
    return shared if shared.is_dir() else PACKAGE.parent / in_checkout


def samples() -> dict[str, Path]:
    """The sample pictures by name, sorted."""
    return {path.stem: path for path in sorted(_folder("samples", "examples/photos").glob("*.jpg"))}


def sample(name: str) -> Image:
    """A photograph to try things on, as a PIL picture: `am.sample("coffee")`.

    Raises DataError with the names there are. `anymodal samples copy` writes them all as files.
    """
    known = samples()
    if not isinstance(name, str) or name not in known:
        raise DataError(f"no sample picture {name!r:.80}{nearest(str(name), known)} (there are: {', '.join(known)})")
    from PIL import Image, ImageOps

    with Image.open(known[name]) as picture:  # a file of ours, stored sideways or not
        return ImageOps.exif_transpose(picture)


def sample_sources() -> dict[str, tuple[str, str]]:
    """What each sample picture shows, and whose it is with its license."""
    page = _folder("samples", "examples/photos") / "README.md"
    return {name: (what, source) for name, what, source in SAMPLE_ROW.findall(page.read_text(encoding="utf-8"))}


def copy_samples(out: Path) -> list[Path]:
    """Write the sample pictures into a folder, and return the files there. Raises DataError as `_copy`."""
    return _copy(_folder("samples", "examples/photos"), samples().values(), out)


def recipes() -> dict[str, str]:
    """The folders of recipes by name, sorted, each with the title of its page."""
    folder = _folder("recipes", "recipes")
    return {path.name: _about(path) for path in sorted(folder.iterdir()) if path.is_dir()}


def copy_recipes(name: str, out: Path) -> list[Path]:
    """Write the recipes of one name into `out`/`name`, and those they build on beside it; return the files there.

    Raises ConfigError for an unknown name, DataError as `_copy`.
    """
    folder, known = _folder("recipes", "recipes"), recipes()
    if name not in known:
        raise ConfigError(f"no recipes {name!r}{nearest(name, known)} (there are: {', '.join(known)})")
    return _copy(folder, [file for each in _with_bases(folder, name) for file in _files(folder / each)], out)


def _about(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()


def way_to(path: Path) -> str:
    """How to get a recipe that is not at its usual place, RECIPES/NAME/...; empty for a file that is no recipe."""
    folder = _folder("recipes", "recipes")
    for name in set(recipes()) & {*path.parts}:
        if not path.exists() and (folder / Path(*path.parts[path.parts.index(name) :])).is_file():
            return f"; `anymodal recipes copy {name}` writes it into recipes/{name}"
    return ""


def _with_bases(folder: Path, name: str) -> list[str]:
    """A folder of recipes, and those that its files name as their base, and these theirs."""
    found = [name]
    for each in found:
        texts = [file.read_text(encoding="utf-8") for file in _files(folder / each)]
        found += sorted({base for text in texts for base in BASE.findall(text)} - {*found})
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in SUFFIXES]


def _copy(source: Path, files: Iterable[Path], out: Path) -> list[Path]:
    """Copy files below `source` to the same places below `out`; those that are there already stay as they are.

    Raises DataError before anything is written if one that is there differs, or if a file cannot be written.
    """
    copies = {file: out / file.relative_to(source) for file in files}
    missing = [file for file in copies if not _is_there(file, copies[file])]
    for file in missing:
        with replacing(copies[file]) as temporary:
            temporary.write_bytes(file.read_bytes())
    return list(copies.values())


def _is_there(file: Path, copy: Path) -> bool:
    if not copy.exists():
        return False
    if not copy.is_file() or copy.read_bytes() != file.read_bytes():
        raise DataError(f"{copy} is there already and is not the file that comes with anymodal; choose another folder")
    return True
