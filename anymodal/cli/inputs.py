"""What people name as inputs of a model: values of one sample, or the files of many."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import click

from anymodal.cli.checks import Known
from anymodal.cli.pairs import PAIR
from anymodal.content import file_in_memory, likely_ending
from anymodal.data.files.words import Word, files_of_word, has_pattern, is_many, samples_of
from anymodal.errors import AnymodalError, ConfigError, ValueProblem
from anymodal.families.picture_files import read_picture
from anymodal.files import MAX_BYTES, is_address, is_npy

FORMS = "an input is a file, a folder, a pattern, @LIST or -, or of the form NAME=VALUE, such as rgb=photo.jpg"


@attrs.frozen
class Given:
    """The inputs: `values` of one sample, or `files` by modality and sample, and `texts` that all samples share."""

    values: Mapping[str, str | Path] = attrs.field(factory=dict)
    files: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    texts: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def names(self) -> set[str]:
        return {*self.values, *self.files, *self.texts}


def parse_inputs(words: Sequence[str], known: Known, folder_wanted: bool) -> Given:
    """The inputs that words on a command line stand for.

    Args:
        words: NAME=VALUE, or files without a name, which are pictures.
        known: the modalities there are.
        folder_wanted: whether a folder is to be written, which a file without a name then makes one of many.

    Raises:
        ConfigError: a word is of no known form, or a modality is given twice.
        UnknownModality: the model has none of that name.
        AnymodalError: there is no such file, or it cannot be read.
    """
    named, bare = _split(words, known)
    for name in named:
        known.check(name)
    if bare:
        pictures = known.pictures()
        if pictures in named:
            raise ConfigError(f"{pictures} is given twice: as {bare[0]!r} and as {pictures}={named[pictures]}")
        if len(bare) == 1 and not is_many(bare[0]) and not folder_wanted:
            named[pictures], bare = bare[0], []
    if [*bare, *named.values()].count("-") > 1:
        raise ConfigError("the standard input can be read once; give - once")
    if not bare and not any(_names_many(name, value, known) for name, value in named.items()):
        return Given(values={name: value_of(name, value, known) for name, value in named.items()})
    texts = {n: v for n, v in named.items() if known.is_text(n) and not _names_many(n, v, known)}
    sources = {name: [value] for name, value in named.items() if name not in texts}
    if bare:
        sources = {known.pictures(): bare, **sources}
    files = {name: samples_of([_files(name, each, known) for each in each_of]) for name, each_of in sources.items()}
    return Given(files=files, texts={name: _text(name, value) for name, value in texts.items()})


def _split(words: Sequence[str], known: Known) -> tuple[dict[str, str], list[str]]:
    """The values with a name, and those without."""
    named: dict[str, str] = {}
    bare = []
    for before, word in pairwise(["", *words]):
        if pair := PAIR.fullmatch(word):
            if pair[1] in named:
                raise ConfigError(f"{pair[1]} is given twice; give it once")
            named[pair[1]] = pair[2]
        elif is_many(word) or Path(word).is_file():
            bare.append(word)
        else:
            said = PAIR.fullmatch(before)
            form = (
                f'quote a text of several words: {said[1]}="{said[2]} {word}"'
                if said and known.is_text(said[1])
                else FORMS
            )
            raise ConfigError(f"{word!r} is no file here; {form}")
    return named, bare


def _names_many(name: str, value: str, known: Known) -> bool:
    """Whether a named value stands for files of many samples; text may look like a pattern, and - is a value itself."""
    if value == "-" or is_address(value) or not is_many(value):
        return False
    if not known.is_text(name):
        return True
    if value.startswith("@"):
        return Path(value[1:]).is_file()
    if not has_pattern(value):
        return True
    try:
        return bool(files_of_word(value, known.suffixes(name)))
    except AnymodalError:
        return False


def _files(name: str, text: str, known: Known) -> Word:
    return files_of_word(text, known.suffixes(name), _standard_input() if text == "-" else b"")


def value_of(name: str, text: str, known: Known) -> str | Path:
    """The value of one sample: text for modalities that are text, unless it names a text file; a file for all others.

    "-" is what the standard input holds. Raises ValueProblem for an empty text, or a file that cannot be read.
    """
    if known.is_text(name):
        path = Path(text) if len(text) < 1000 and "\n" not in text else None
        if path is not None and path.suffix.lower() in known.suffixes(name):
            return _readable(path)
        return _text(name, text)
    if text == "-":
        data = _standard_input()
        suffixes = known.suffixes(name)
        suffix = likely_ending(data, suffixes) if suffixes else ""
        return click.get_current_context().with_resource(file_in_memory(data, suffix))
    if is_address(text):
        return text
    path = _readable(Path(text))
    if known.is_photograph(name) and not is_npy(path):
        read_picture(path)  # so that a damaged one is told before anything heavy is loaded
    return path


def starts_of(words: Mapping[str, str], known: Known) -> dict[str, Any]:
    """What sequences begin with, by name: values as those of one sample, or what is written in braces as in YAML.

    Raises:
        UnknownModality: the model has none of that name.
        ConfigError: what is in braces cannot be read.
        ValueProblem: for an empty text, or a file that cannot be read.
    """
    from anymodal.config import parse_yaml

    for name in words:
        known.check(name)
    found = {}
    for name, text in words.items():
        if known.is_text(name) or not text.startswith("{"):
            found[name] = value_of(name, text, known)
            continue
        try:
            found[name] = parse_yaml(text)
        except ConfigError as error:
            raise ConfigError(f"--start {name}={text!s:.80} cannot be read: {error}") from None
    return found


def _readable(path: Path) -> Path:
    try:
        missing = not path.exists()
    except (OSError, ValueError):
        missing = True
    if missing:
        raise ValueProblem(f"no such file: {path}")
    return path


def _text(name: str, text: str) -> str:
    if text == "-":
        try:
            text = _standard_input().decode().strip()
        except UnicodeDecodeError:
            raise ValueProblem(f"the standard input is not UTF-8 text, which {name} is") from None
    if not text.strip():
        raise ValueProblem(f"{name} is empty; give some text")
    return text


def _standard_input() -> bytes:
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueProblem(f"the standard input has more than the limit of {MAX_BYTES} bytes")
    return data
