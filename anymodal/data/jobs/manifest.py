"""The books of a dataset that is made shard by shard: by which settings, which files, what went wrong.

While it is made, `.jobs/` holds the plan and a receipt for every finished part of a shard; in the end `manifest.json`
and `problems.jsonl` take their place. A part counts as made when its files are as its receipt or the manifest says.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from anymodal.config import structure
from anymodal.errors import AnymodalError, DataError
from anymodal.files import LOCK, only_writer, read_json, replacing, write_json

MANIFEST, PROBLEMS, RECEIPTS = "manifest.json", "problems.jsonl", ".jobs"
MAX_FILES = 60_000  # keeps a manifest below what `read_json` reads
PIECE = 1024**2

Outputs = Callable[[int, str], Mapping[str, Sequence[Path]]]


@attrs.frozen
class Problem:
    """Something of one sample that was left out."""

    sample: str
    modality: str
    problem: str


@attrs.frozen
class Mark:
    """Size in bytes and sha256 of a file; of several, the sum and the hash of their names and hashes."""

    size: int
    sha256: str


@attrs.frozen
class Receipt:
    """What one part of one shard has become."""

    files: dict[str, Mark]
    problems: list[Problem] = attrs.field(factory=list)


@attrs.frozen
class Plan:
    """What is to be made: `settings` hold for all, `parts` describes each modality; `counts` are the samples by shard.

    Parts may be added later; whatever else differs makes another dataset. `versions` are only written down.
    """

    kind: str
    format: int
    settings: dict[str, Any]
    modalities: dict[str, dict[str, Any]]
    counts: list[int]
    parts: list[str]
    versions: dict[str, str]


def mark(paths: Sequence[Path]) -> Mark:
    """The mark of a file, or of several that belong together. Raises OSError."""
    hashes = []
    for path in paths:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    size = sum(path.stat().st_size for path in paths)
    if len(paths) == 1:
        return Mark(size, hashes[0])
    return Mark(size, digest([[path.name, each] for path, each in zip(paths, hashes, strict=True)]))


def digest(value: Any) -> str:
    """The sha256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder. Raises DataError if one is at work there, or if it holds other things."""
    _check_empty_or_ours(folder)
    with only_writer(folder):
        yield


def _check_empty_or_ours(folder: Path) -> None:
    """Raise DataError if a folder holds something, and no dataset that was made or begun."""
    if not folder.is_dir() or any((folder / name).exists() for name in (MANIFEST, f"{RECEIPTS}/plan.json")):
        return
    if others := sorted({path.name for path in folder.iterdir()} - {RECEIPTS, LOCK}):
        raise DataError(f"{folder} holds other things ({', '.join(others[:3])}); choose another folder for --out")


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """What differs between two values that JSON can hold, in words."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*new, *old]):
            yield from differences(old.get(key), new.get(key), f"{place}.{key}".lstrip("."))
    elif old != new and json.dumps(old) != json.dumps(new):  # JSON has no tuples
        yield f"{place} was {_short(old)}, is {_short(new)}"


def changes(old: Any, new: Any) -> str:
    """The first three differences, and how many more there are; an empty string where there are none."""
    found = list(differences(old, new))
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return f"{'; '.join(found[:3])}{more}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}...{text[-4:]}"


class Ledger:
    """What has been made in `folder` of a plan. `outputs(shard, part)` names the files of a part and where they are."""

    def __init__(self, folder: Path, plan: Plan, outputs: Outputs) -> None:
        self.folder, self.plan, self.outputs = folder, plan, outputs
        if len(plan.counts) * len(plan.parts) > MAX_FILES:
            raise DataError(f"{len(plan.counts)} shards are too many for one dataset; choose a larger --shard-size")
        self.manifest: dict[str, Any] = self._read(MANIFEST, folder)
        self._read(f"{RECEIPTS}/plan.json", folder / RECEIPTS)

    def _read(self, name: str, culprit: Path) -> dict[str, Any]:
        """What was made earlier, or is being made. Raises DataError if it does not go together with the plan."""
        path = self.folder / name
        if not path.exists():
            return {}
        known = read_json(path)
        if not isinstance(known, dict) or [known.get(k) for k in ("kind", "format")] != [
            self.plan.kind,
            self.plan.format,
        ]:
            raise DataError(
                f"{path} is of another kind or of another version; remove it, or choose another folder for --out"
            )
        common = known["modalities"].keys() & self.plan.modalities.keys()
        old = {"settings": known["settings"], **{n: known["modalities"][n] for n in sorted(common)}}
        new = {"settings": self.plan.settings, **{n: self.plan.modalities[n] for n in sorted(common)}}
        if told := changes(old, new):
            raise DataError(
                f"{self.folder} was made otherwise: {told}. Choose another folder for --out, or remove {culprit}"
            )
        return known

    def missing(self) -> dict[int, list[str]]:
        """The parts of each shard that are still to be made, after a look at every file."""
        missing: dict[int, list[str]] = {}
        for shard in range(len(self.plan.counts)):
            for part in self.plan.parts:
                outputs, receipt = self.outputs(shard, part), self._receipt(shard, part)
                files = self.manifest.get("files", {})
                marks = receipt.files if receipt else {name: Mark(**files[name]) for name in outputs if name in files}
                if marks.keys() != outputs.keys() or not all(_is_as(outputs[name], marks[name]) for name in outputs):
                    missing.setdefault(shard, []).append(part)
        return missing

    def _receipt(self, shard: int, part: str) -> Receipt | None:
        path = receipt_path(self.folder, shard, part)
        try:
            return structure(read_json(path), Receipt, str(path)) if path.exists() else None
        except AnymodalError:
            return None

    @property
    def is_complete(self) -> bool:
        """Whether the manifest knows all modalities of the plan."""
        return self.plan.modalities.keys() <= self.manifest.get("modalities", {}).keys()

    def begin(self) -> None:
        """Write down the plan, and remove what earlier runs left half-written. Raises DataError."""
        folders = {Path(name).parent for part in self.plan.parts for name in self.outputs(0, part)}
        for left in (path for folder in folders for path in (self.folder / folder).glob(".shard-*")):
            left.unlink(missing_ok=True)
        known = {name: attrs.asdict(self.plan)[name] for name in ("kind", "format", "settings", "modalities")}
        write_json(known, self.folder / RECEIPTS / "plan.json")

    def finish(self, extra: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Write manifest and problems when all is made; `extra` adds to the manifest. Raises DataError."""
        problems = self.write_problems()
        plan, files = self.plan, dict(self.manifest.get("files", {}))
        for _, _, receipt in self._receipts():
            files |= {name: attrs.asdict(each) for name, each in receipt.files.items()}
        manifest = {
            "kind": plan.kind,
            "format": plan.format,
            "versions": _merged(self.manifest.get("versions", {}), plan.versions),
            "settings": plan.settings,
            "modalities": _merged(self.manifest.get("modalities", {}), plan.modalities),
            "problems": len(problems),
            "files": _merged(files, {}),
        }
        self.manifest = {**manifest, **extra(manifest)}
        write_json(self.manifest, self.folder / MANIFEST)
        shutil.rmtree(self.folder / RECEIPTS, ignore_errors=True)

    def _receipts(self) -> Iterator[tuple[int, str, Receipt]]:
        for shard in range(len(self.plan.counts)):
            for part in self.plan.parts:
                if (receipt := self._receipt(shard, part)) is not None:
                    yield shard, part, receipt

    def write_problems(self) -> list[Problem]:
        """Write `problems.jsonl`: what is known of what is made so far. Raises DataError."""
        path = self.folder / PROBLEMS
        lines: dict[tuple[int, str], list[Problem]] = {}
        if path.exists():
            with path.open(encoding="utf-8") as file:
                for line in file:
                    known = json.loads(line)
                    lines.setdefault((known.pop("shard"), known["modality"]), []).append(Problem(**known))
        for shard, part, receipt in self._receipts():
            lines[shard, part] = receipt.problems
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for (shard, _), problems in sorted(lines.items()):
                for each in problems:
                    file.write(json.dumps({"shard": shard, **attrs.asdict(each)}, ensure_ascii=False) + "\n")
        return [each for _, problems in sorted(lines.items()) for each in problems]


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted({**old, **new}.items()))


def receipt_path(folder: Path, shard: int, part: str) -> Path:
    return folder / RECEIPTS / f"{part}-{shard:05d}.json"


def write_receipt(folder: Path, outputs: Outputs, shard: int, part: str, problems: Iterable[Problem]) -> None:
    """Write down that the files of a part are in place. Raises DataError."""
    marks = {name: mark(paths) for name, paths in outputs(shard, part).items()}
    write_json(attrs.asdict(Receipt(marks, list(problems))), receipt_path(folder, shard, part))


def _is_as(paths: Sequence[Path], expected: Mark) -> bool:
    try:
        return sum(path.stat().st_size for path in paths) == expected.size and mark(paths) == expected
    except OSError:
        return False
