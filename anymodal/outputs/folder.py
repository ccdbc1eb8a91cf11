"""Outputs in a folder: a file for each value, pictures of them for people, the tokens, and run.json that says it all.

The folder is replaced as one. Whatever it holds when it is read is checked: names, sizes, hashes, forms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.checkpoints.atomic import whole_folder
from anymodal.checkpoints.formats.native.read import instance_of, plain
from anymodal.checkpoints.record import ModalityRecord
from anymodal.checkpoints.weights import tensor_errors
from anymodal.config import plain_config
from anymodal.config.structure import structure
from anymodal.config.validators import between
from anymodal.errors import AnymodalError, ConfigError, DataError, UnknownModality, ValueProblem
from anymodal.families.descriptions import stating
from anymodal.families.in_place import facts_of
from anymodal.files import MAX_BYTES, VIEW, plain_file, read_json, write_json
from anymodal.modality import Modality
from anymodal.outputs.equality import same
from anymodal.outputs.names import EXACT, FILE, GRID, INPUTS, SOURCE, TOKENS
from anymodal.outputs.run import RUN, Run, run_file
from anymodal.outputs.view import view
from anymodal.plugins.guard import blame
from anymodal.plugins.registry import registry
from anymodal.tokens import ModalitySet

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

FORMAT = 1
TAKEN = ".value"  # stands before the ending of a value whose file would have a name of these


def _file_name(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or len(value) > 200 or not FILE.fullmatch(value):
        raise ConfigError(f"{attribute.name} is the name of a file beside it, such as depth.png, got {value!r:.80}")


@attrs.frozen(kw_only=True)
class SavedValue:
    """A value in a folder.

    file: its name.
    sha256: of the file's content.
    scheme: what made it, where it is not what the tokens decode to.
    """

    file: str = attrs.field(validator=_file_name)
    sha256: str = attrs.field(validator=attrs.validators.matches_re("[0-9a-f]{64}"))
    scheme: str = attrs.field(default="", validator=attrs.validators.max_len(40))


@attrs.frozen(kw_only=True)
class SavedOutputs:
    """The content of run.json: which modalities, what lies in which file, and how it was made."""

    format: int = attrs.field(validator=between(1, FORMAT))
    modalities: dict[str, ModalityRecord]
    values: dict[str, SavedValue]
    inputs: dict[str, SavedValue] = attrs.field(factory=dict)
    run: Run | None = None


@attrs.frozen(kw_only=True, eq=False)
class Contents:
    """What outputs are made of: see `Outputs`."""

    modalities: ModalitySet
    values: Mapping[str, Any]
    inputs: Mapping[str, Any]
    tokens: Mapping[str, np.ndarray]
    schemes: Mapping[str, str] = attrs.field(factory=dict)
    run: Run | None = None
    source: Mapping[str, np.ndarray] = attrs.field(factory=dict)
    uncertainty: Mapping[str, np.ndarray] = attrs.field(factory=dict)


def write_contents(contents: Contents, staging: Path, folder: Path) -> list[str]:
    """Write everything but pictures to look at into an empty folder, which `folder` will be; the names of the files.

    Raises PluginError where a modality failed.
    """
    from safetensors.numpy import save_file

    exact = {f"uncertainty/{name}": np.ascontiguousarray(each) for name, each in contents.uncertainty.items()}
    names: list[str] = []
    saved: dict[str, dict[str, SavedValue]] = {"values": {}, "inputs": {}}
    for part, values in (("values", contents.values), ("inputs", contents.inputs)):
        for name, value in values.items():
            modality, scheme = _owner(contents.modalities, name), contents.schemes.get(name, "")
            with blame(modality, "write", value), stating(scheme=scheme if part == "values" else ""):
                file = f"{INPUTS}/{name}{modality.suffixes[0]}" if part == "inputs" else file_of(modality, name)
                modality.write(value, staging / file)
            with blame(modality, "read", value):
                back = modality.read(staging / file)
            if isinstance(value, np.ndarray) and not same(back, value):
                exact[f"{part}/{name}"] = np.ascontiguousarray(value)
            names.append(file)
            saved[part][name] = SavedValue(file=file, sha256=_sha256(staging / file), scheme=scheme)
    for file, arrays in ((TOKENS, contents.tokens), (SOURCE, contents.source), (EXACT, exact)):
        if arrays or file == TOKENS:
            with tensor_errors(folder / file):
                save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, staging / file)
            names.append(file)
    records = {each.name: _record(each) for each in contents.modalities}
    whole = SavedOutputs(format=FORMAT, modalities=records, run=contents.run, **saved)
    write_json(plain(plain_config(whole)), staging / RUN)
    return [*names, RUN]


def file_of(modality: Modality, name: str) -> str:
    """The name of the file of a value, which is that of the value but for names that are taken."""
    usual = f"{name}{modality.suffixes[0]}"
    return usual if usual not in (GRID, RUN) else f"{name}{TAKEN}{modality.suffixes[0]}"


def write_views(contents: Contents, staging: Path) -> list[str]:
    """Write a picture of each value whose file shows people nothing; the names of the files. Raises PluginError."""
    names = []
    for name, value in contents.values.items():
        if not (modality := _owner(contents.modalities, name)).legible:
            with blame(modality, "show", value):
                view(modality, value).save(staging / f"{name}{VIEW}")
            names.append(f"{name}{VIEW}")
    return names


def read_contents(folder: Path) -> Contents:
    """What `write_contents` wrote, with modalities that have no tokenizers.

    Raises:
        DataError: a file is missing, was changed since, or does not say what it should.
        UnknownModality: a plugin is not installed.
    """
    saved, request = _read_saved(folder), read_request(folder)
    values = _read_values(folder, request.modalities, "values", saved.values)
    tokens = _read_tokens(folder, TOKENS)
    schemes = {name: each.scheme for name, each in saved.values.items() if each.scheme}
    exact = _arrays(folder, EXACT) if (whole_folder(folder) / EXACT).exists() else {}
    spread = {key.removeprefix("uncertainty/"): each for key, each in exact.items() if key.startswith("uncertainty/")}
    return attrs.evolve(request, values=values, tokens=tokens, schemes=schemes, uncertainty=spread)


def read_request(folder: Path) -> Contents:
    """What is needed to make the contents of a folder again: modalities, inputs, run, source. Raises as above."""
    saved = _read_saved(folder)
    try:
        modalities = ModalitySet(
            [instance_of(name, record, str(folder / RUN)) for name, record in saved.modalities.items()]
        )
    except UnknownModality:
        raise
    except AnymodalError as error:
        raise DataError(f"{folder / RUN}: {error}") from None
    inputs = _read_values(folder, modalities, "inputs", saved.inputs)
    source = _read_tokens(folder, SOURCE) if saved.run and saved.run.finer else {}
    return Contents(modalities=modalities, values={}, inputs=inputs, tokens={}, run=saved.run, source=source)


def hashes(folder: Path) -> dict[str, str]:
    """The hash of the file of each value that run.json states, by the name of the value. Raises DataError."""
    return {name: each.sha256 for name, each in _read_saved(folder).values.items()}


def _read_saved(folder: Path) -> SavedOutputs:
    path = run_file(folder)
    try:
        return structure(read_json(path), SavedOutputs, str(path))
    except (ConfigError, ValueProblem) as error:
        raise DataError(str(error)) from None


def _read_values(folder: Path, modalities: ModalitySet, part: str, entries: Mapping[str, SavedValue]) -> dict[str, Any]:
    """Values from their files, or the exact ones where files round them. Raises DataError for other files."""
    root, values = whole_folder(folder), {}
    exact = _arrays(folder, EXACT) if (root / EXACT).exists() else {}
    for name, saved in entries.items():
        modality, path = _owner(modalities, name), root / saved.file
        if _sha256(path) != saved.sha256:
            raise DataError(f"{path} was changed after it was saved; let `anymodal repeat` make it again")
        try:
            with blame(modality, "read"):
                values[name] = exact[key] if (key := f"{part}/{name}") in exact else modality.read(path)
        except ValueProblem as error:
            raise DataError(str(error)) from None
    return values


def _read_tokens(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Ids by stream name from a file. Raises DataError."""
    tokens = _arrays(folder, name)
    for stream, ids in tokens.items():
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise DataError(f"{folder / name} holds {ids.dtype} of shape {ids.shape} for {stream!r:.80}, not ids (n,)")
    return tokens


def _owner(modalities: ModalitySet, name: str) -> Modality:
    return modalities[name.split(".")[0]]


def _record(modality: Modality) -> ModalityRecord:
    origin = registry().origin(type(modality))
    return ModalityRecord(
        distribution=origin.distribution if origin else None,
        version=origin.version if origin else None,
        settings=plain(modality.config()),
        members=tuple(modality.members),
        made=plain(facts_of(modality)),
    )


def _sha256(path: Path) -> str:
    """The hash of a file. Raises DataError where there is none, or a very large one."""
    try:
        with plain_file(path, MAX_BYTES).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (AnymodalError, OSError) as error:
        raise DataError(str(error)) from None


def _arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file. Raises DataError."""
    from safetensors.numpy import load_file

    try:
        found: dict[str, np.ndarray] = load_file(plain_file(whole_folder(folder) / name, MAX_BYTES))
        return found
    except Exception as error:  # safetensors raises its own, and KeyError for types that numpy has not
        raise DataError(f"{folder / name} cannot be read: {error}") from None
