"""What can be wrong with a request, told before torch is imported and before the Hub is asked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from anymodal.checkpoints.presets import resolve
from anymodal.checkpoints.raw_config import read_raw_config
from anymodal.checkpoints.repository import Folder
from anymodal.errors import (
    ConfigError,
    DataError,
    GenerationError,
    UnknownModality,
    ValueProblem,
    nearest,
)
from anymodal.files import check_folder
from anymodal.modality import Modality
from anymodal.plugins.registry import registry
from anymodal.sampling import Sampling

DEVICE = re.compile(r"[a-z]+(:\d+)?")


@attrs.frozen
class Known:
    """The modalities of a model as far as its files here tell, or else those that are installed."""

    model: str
    names: Collection[str]
    from_model: bool
    made: Mapping[str, Any] = attrs.field(factory=dict)  # facts of those that were made in place, by name

    @classmethod
    def of(cls, model: str, revision: str | None = None, chosen: Collection[str] | None = None) -> Known:
        """Those of a model, of which only those that are `chosen` are loaded.

        Raises CheckpointError if there is no such model, ConfigError for a revision of what has none, and
        UnknownModality for a chosen one that the model does not have.
        """
        files = resolve(model, revision)
        if revision is not None and isinstance(files, Folder):
            raise ConfigError(
                f"revision {revision!r} is given for {files}; only repositories on the Hub have revisions"
            )
        stated = read_raw_config(files).values.get("modalities") if isinstance(files, Folder) else None
        names = list(stated) if isinstance(stated, Mapping) else list(registry().modalities())
        if isinstance(files, Folder) and files.modalities is not None:
            names = list(files.modalities)
        known = cls(model, names, isinstance(stated, Mapping), _made(stated))
        for name in chosen or ():
            known.check(name)
        return attrs.evolve(known, names=list(chosen)) if chosen else known

    def check(self, name: str) -> None:
        """Raise UnknownModality for a name that is none of theirs."""
        if name not in self.names:
            whose = f"{self.model} has no modality" if self.from_model else "there is no modality"
            raise UnknownModality(
                f"{whose} {name!r}{nearest(name, self.names)} (there are: {', '.join(map(str, self.names))})"
            )

    def pictures(self, way: str = "name the modality of each input: NAME=VALUE") -> str:
        """The modality that inputs without a name are. Raises GenerationError, which says the way to name them."""
        for name in self.names:
            if (found := self._kind(name)) and found.photographic:
                return name
        raise GenerationError(f"{self.model} reads no photographs; {way}")

    def is_text(self, name: str) -> bool:
        found = self._kind(name)
        return found is not None and found.is_text

    def is_photograph(self, name: str) -> bool:
        found = self._kind(name)
        return found is not None and found.photographic

    def may_be_vector(self, name: str) -> bool:
        """Whether it is a vector; True for a modality that is not installed."""
        found = self._kind(name)
        return found is None or found.family == "vector"

    def may_be_grid(self, name: str) -> bool:
        """Whether its values are grids of tensors; True for a modality that is not installed."""
        found = self._kind(name)
        return found is None or found.reads_tensors

    def suffixes(self, name: str) -> tuple[str, ...]:
        """The endings that files of a modality have; none for one that is not installed."""
        found = self._kind(name)
        return found.suffixes if found else ()

    def _kind(self, name: str) -> type[Modality] | None:
        if name in self.made:
            from anymodal.families.in_place import remade

            return remade(self.made[name], name, f"{self.model}: modalities.{name}.made")
        return registry().modality(name) if name in registry().modalities() else None


def _made(stated: object) -> dict[str, Any]:
    """The facts of modalities made in place, in what a config says of modalities."""
    records = stated.values() if isinstance(stated, Mapping) else ()
    facts = [made for each in records if isinstance(each, Mapping) and isinstance(made := each.get("made"), Mapping)]
    return {str(name): fact for each in facts for name, fact in each.items()}


def check_targets(
    targets: Sequence[str], given: Collection[str], options: Mapping[str, Mapping[str, Any]], known: Known
) -> None:
    """Raise an error for targets and their options that no model can have, or that this one has not."""
    if not targets:
        raise GenerationError("--to names no modality; give names with commas between, or all")
    named = _named(targets)
    for name in targets:
        if name != "all":
            known.check(name.removeprefix("-").partition(".")[0])
    for name in named:
        if name in given:
            raise GenerationError(
                f"{name!r} is both an input and a target; leave out one, or say with --keep what stays"
            )
    for name, own in options.items():
        if "all" not in targets and name not in named:
            raise UnknownModality(f"options name {name!r}, which is not a target{nearest(name, named)}")
        check_sampling(own)


def check_truths(truths: Collection[str], targets: Sequence[str], given: Collection[str]) -> None:
    """Raise GenerationError for a truth of what is neither an input nor a target, beside which it would be shown."""
    for name in truths:
        if name not in given and not _is_asked(name, targets):
            near = nearest(name, [*given, *_named(targets)])
            raise GenerationError(f"--truth names {name!r}, which is neither an input nor a target{near}")


def _named(targets: Sequence[str]) -> list[str]:
    """The names among the words of --to."""
    return [name for name in targets if name != "all" and not name.startswith("-")]


def _is_asked(name: str, targets: Collection[str]) -> bool:
    """Whether --to names a target, or all of them without leaving out this one."""
    return f"-{name}" not in targets and ("all" in targets or name in targets)


def check_starts(start: Collection[str], targets: Sequence[str], keep: Collection[str], sized: bool) -> None:
    """Raise GenerationError for what is no target and cannot begin with something, or is kept or made in tiles."""
    for name in start:
        if not _is_asked(name, targets):
            raise GenerationError(f"--start names {name!r}, which is not a target{nearest(name, _named(targets))}")
        if name in keep:
            raise GenerationError(
                f"{name!r} is kept in part and cannot begin with something too: leave out one of them"
            )
    if start and sized:
        raise GenerationError("--start is for pictures of the model's size: leave out --size")


def check_conditions(
    weights: Collection[str], keep: Mapping[str, Any], given: Collection[str], many: bool = False
) -> None:
    """Raise an error for a weight or a part to keep of what is no input, and for masks that are no files."""
    for option, names in (("weights", weights), ("keep", keep)):
        for name in names:
            if name not in given:
                raise GenerationError(f"--{option} names {name!r}, which is not an input{nearest(name, given)}")
    from anymodal.data.files.words import is_many

    for mask in keep.values():
        if isinstance(mask, Path) and not mask.is_file() and not (many and is_many(str(mask))):
            raise ValueProblem(f"no such file: {mask}")


def needed(targets: Sequence[str], others: Collection[str]) -> list[str] | None:
    """The modalities of a request, which are enough to load: of targets as --to has them, and others.

    None where they are all.
    """
    if any(name == "all" or name.startswith("-") for name in targets):
        return None
    return list(dict.fromkeys(name.partition(".")[0] for name in [*others, *targets]))


def check_sampling(options: Mapping[str, Any]) -> None:
    """Raise ConfigError for sampling options that do not exist or cannot have their value."""
    names = [field.name for field in attrs.fields(Sampling)]
    for name in options:
        if name not in names:
            raise ConfigError(
                f"there is no sampling option {name!r}{nearest(name, names)}; options: {', '.join(names)}"
            )
    Sampling(**options)


def check_device(device: str | None) -> None:
    """Raise ConfigError for what is no name of a device."""
    if device is not None and not DEVICE.fullmatch(device):
        raise ConfigError(f"{device!r} is no device; name one such as cpu, cuda or cuda:1")


def check_modalities(names: Collection[str]) -> None:
    """Raise UnknownModality for a name that nothing installed provides."""
    for name in names:
        registry().modality(name)


def check_data(place: str) -> None:
    """Raise DataError if there is no such place, as far as that can be told without asking for an address."""
    from anymodal.data.files.storage import is_remote
    from anymodal.data.sources.aligned_layout import AlignedFiles
    from anymodal.data.sources.open import layout_of_dataset

    if is_remote(place) or Path(place).exists():
        return
    if isinstance(layout_of_dataset(place), AlignedFiles):  # of all that no other layout recognizes
        raise DataError(f"no such folder: {place}")


def check_outputs_folder(out: Path, given: Mapping[str, str | Path]) -> None:
    """As `check_folder`, and raise DataError for a folder of data or of a model, or an input that would be replaced."""
    from anymodal.checkpoints.repository import CONFIG
    from anymodal.data.jobs.manifest import MANIFEST
    from anymodal.data.jobs.receipts import RECORDS
    from anymodal.outputs.names import check_not_replaced

    check_folder(out)
    if taken := next((name for name in (MANIFEST, RECORDS, CONFIG) if (out / name).exists()), ""):
        raise DataError(f"{out} holds a dataset or a model ({taken}); choose another folder for --out")
    check_not_replaced((value for value in given.values() if isinstance(value, Path)), out)


def check_dataset_folder(out: Path) -> None:
    """As `check_folder`, and raise DataError for a folder that holds something else than a dataset that was begun."""
    from anymodal.data.jobs.manifest import check_empty_or_ours

    check_folder(out)
    check_empty_or_ours(out)
