"""Files as people name them: files, folders, patterns such as photos/*.jpg, and lists of files."""

from __future__ import annotations

import glob
import os
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from anymodal.data.files.index import key_and_suffix
from anymodal.data.files.names import readable, refusal
from anymodal.errors import DataError, ValueProblem, cause
from anymodal.files import MAX_TEXT_BYTES, read_text

MOST = 1_000_000  # files that one word may stand for


@attrs.frozen
class Word:
    """What a word on a command line stands for: files, and the folder that the names of samples start from."""

    text: str
    files: tuple[str, ...]
    base: str


def is_many(text: str) -> bool:
    """Whether a word may stand for several files: a list, a pattern or a folder."""
    return text == "-" or text.startswith("@") or (not _is_file(text) and (has_pattern(text) or _is_folder(text)))


def has_pattern(text: str) -> bool:
    """Whether a word is a pattern, as the shell knows them."""
    return glob.has_magic(text)


def files_of_word(text: str, suffixes: Sequence[str], stdin: bytes = b"") -> Word:
    """The files that a word stands for.

    Args:
        text: a file, a folder, a pattern, "@list.txt" for the files that a text file lists, or "-" for those that the
            standard input lists, one a line.
        suffixes: the endings that files in folders and of patterns may have; others are passed over.
        stdin: what the standard input holds.

    Returns:
        The files in the order of their names; those of a list in its order.

    Raises:
        ValueProblem: there is no such file, or a list cannot be read.
        DataError: a folder or a pattern has no file with one of the endings, or too many.
    """
    if text == "-" or text.startswith("@"):
        return _listed(text, stdin)
    if _is_file(text):
        return Word(text, (text,), str(Path(text).parent))
    if has_pattern(text):
        base, rest = _fixed_part(text)
        found = (path for path in Path(base).glob(rest) if path.is_file() and not _is_hidden(path.relative_to(base)))
        files = _fitting(map(str, found), suffixes, text)
    elif _is_folder(text):
        base, files = text, _fitting(_within(text), suffixes, text)
    else:
        raise ValueProblem(f"no such file: {text}")
    if not files:
        raise DataError(f"{text} has no files that end in {', '.join(suffixes)}")
    return Word(text, tuple(sorted(files)), base)


def samples_of(words: Sequence[Word]) -> dict[str, str]:
    """The files of words by the names of their samples, in the order of these names.

    The name is the path below the folder of the word, or of several words below the folder they share, without its
    ending; folders within folders are joined with "-", for a dataset has one level of them.

    Raises:
        DataError: two files would be one sample, or a name leads elsewhere.
    """
    base = words[0].base if len(words) == 1 else _shared([word.base for word in words])
    named: dict[str, str] = {}
    for path in dict.fromkeys(path for word in words for path in word.files):
        name = _name(path, base)
        if name in named:
            raise DataError(f"{named[name]} and {path} would both be the sample {name!r}; rename one of them")
        if refused := refusal(base, name):
            raise DataError(refused)
        named[name] = path
    return dict(sorted(named.items()))


def _name(path: str, base: str) -> str:
    relative = readable(Path(os.path.relpath(path, base)).as_posix())
    stem = key_and_suffix(relative)[0] or relative
    folder, slash, last = stem.rpartition("/")
    return f"{folder.replace('/', '-')}{slash}{last}"


def _shared(folders: Sequence[str]) -> str:
    try:
        return os.path.commonpath([Path(folder).absolute() for folder in folders])
    except ValueError:  # on several drives
        raise DataError(f"{folders[0]} and {folders[-1]} are on different drives; name one folder") from None


def _fixed_part(pattern: str) -> tuple[str, str]:
    """The folder of a pattern up to its first part that is none of a plain name, and the rest."""
    parts = pattern.split("/")
    fixed = next(k for k, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else "."), "/".join(parts[fixed:])


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_file(text: str) -> bool:
    with suppress(OSError, ValueError):  # too long for a name, or with a NUL in it
        return Path(text).is_file()
    return False


def _is_folder(text: str) -> bool:
    with suppress(OSError, ValueError):
        return bool(text) and Path(text).is_dir()
    return False


def _within(folder: str) -> Iterator[str]:
    """The files of a folder and of those within it, without hidden ones. Raises DataError."""

    def complain(error: OSError) -> None:
        raise DataError(f"{folder} cannot be read: {cause(error)}")

    for place, folders, files in os.walk(folder, onerror=complain):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (f"{place}/{name}" for name in files if not name.startswith("."))


def _fitting(paths: Iterator[str], suffixes: Sequence[str], text: str) -> list[str]:
    found = []
    for path in paths:
        if posixpath.splitext(path)[1].lower() in suffixes:
            found.append(path)
        if len(found) > MOST:
            raise DataError(f"{text} has more than {MOST} files; name parts of it one after the other")
    return found


def _listed(text: str, stdin: bytes) -> Word:
    """The files of a list, one a line; relative ones lie beside the list, those of the standard input here."""
    if text == "-":
        place, beside, lines = "the standard input", Path(), _lines(stdin)
    else:
        place, beside = text[1:], Path(text[1:]).parent
        lines = read_text(Path(place)).splitlines()
    files = []
    for number, line in enumerate(lines, 1):
        if name := line.strip():
            path = str(beside / name)
            if not _is_file(path):
                raise ValueProblem(f"{place}, line {number}: no such file: {path}")
            files.append(path)
    if not files:
        raise ValueProblem(f"{place} lists no files; give one a line")
    return Word(text, tuple(files), _shared([str(Path(path).parent) for path in files]))


def _lines(data: bytes) -> list[str]:
    if len(data) > MAX_TEXT_BYTES:
        raise ValueProblem(f"the standard input has more than {MAX_TEXT_BYTES} bytes; give the list as @FILE in parts")
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueProblem(
            "the standard input is no list of files, one a line; for the content of one file write NAME=-"
        ) from None
