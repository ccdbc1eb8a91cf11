"""The manifest of a dataset that is made shard by shard: by which settings, which files, what went wrong.

While it is made, `.jobs/` holds the plan and a completion record for every finished part of a shard; in the end
`manifest.json` and `problems.jsonl` take their place. A part counts as made when its files are as its record or the
manifest says.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from anymodal import __version__
from anymodal.config import structure
from anymodal.data.digest import changes
from anymodal.data.jobs.inputs import Inputs
from anymodal.data.jobs.problems import Problem
from anymodal.data.jobs.receipts import RECORDS, Checksum, CompletionRecord, Outputs, read_record
from anymodal.data.report import ProblemCounts
from anymodal.data.schema import check_book, is_count, read_book
from anymodal.errors import AnymodalError, DataError, cause
from anymodal.files import LOCK, only_writer, replacing, write_json
from anymodal.modality import Modality
from anymodal.plugins.registry import registry

MANIFEST, PROBLEMS = "manifest.json", "problems.jsonl"
LONGEST_LINE = 64 * 1024
MAX_FILES = 50_000  # keeps a manifest below what `read_json` reads


@attrs.frozen
class Plan:
    """What is to be made: `settings` hold for all, `parts` describes each modality; `counts` are the samples by shard.

    Parts may be added later; whatever else differs makes another dataset. `versions` are only written down. `data` is
    the address of what it is made from, `inputs` are the files of a shard there, and `passed_over` those that nobody
    reads.
    """

    kind: str
    format: int
    settings: dict[str, Any]
    modalities: dict[str, dict[str, Any]]
    counts: list[int]
    parts: list[str]
    versions: dict[str, str]
    data: str
    inputs: Callable[[int], Mapping[str, Inputs]] = attrs.field(repr=False, eq=False)
    passed_over: ProblemCounts = attrs.field(factory=ProblemCounts)


def versions(modalities: Iterable[Modality]) -> dict[str, str]:
    """The version of anymodal, and those of the distributions that modalities come from."""
    origins = [registry().origin(type(modality)) for modality in modalities]
    found = {origin.distribution: origin.version for origin in origins if origin and origin.distribution}
    return {"anymodal": __version__, **found}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder. Raises DataError if one is at work there, or if it holds other things."""
    check_empty_or_ours(folder)
    with only_writer(folder):
        yield


def check_empty_or_ours(folder: Path) -> None:
    """Raise DataError if a folder holds something, and no dataset that was made or begun."""
    with _clear_errors(folder):
        if not folder.is_dir() or any((folder / name).exists() for name in (MANIFEST, f"{RECORDS}/plan.json")):
            return
        others = sorted({path.name for path in folder.iterdir()} - {RECORDS, LOCK})
    if others:
        raise DataError(f"{folder} holds other things ({', '.join(others[:3])}); choose another folder for --out")


class Manifest:
    """What has been made of a plan in `folder`. `outputs(shard, part)` names the files of a part and where they are.

    `known` is what `manifest.json` says, empty while there is none. Raises DataError if what is there was made with
    other settings.
    """

    def __init__(self, folder: Path, plan: Plan, outputs: Outputs) -> None:
        self.folder, self.plan, self.outputs = folder, plan, outputs
        if len(plan.counts) * len(plan.parts) > MAX_FILES:
            raise DataError(f"{len(plan.counts)} shards are too many for one dataset; choose a larger --shard-size")
        self.changed: set[int] = set()
        self._touched: dict[int, dict[str, str]] = {}
        self.known: dict[str, Any] = self._read(MANIFEST, folder)
        begun = self._read(f"{RECORDS}/plan.json", folder / RECORDS)
        self._origins = {each["inputs"]["data"] for each in (self.known, begun) if "inputs" in each}

    def _read(self, name: str, culprit: Path) -> dict[str, Any]:
        """What was made earlier, or is being made. Raises DataError if it does not go together with the plan."""
        path = self.folder / name
        if not path.exists():
            return {}
        known = read_book(path)
        if [known.get(k) for k in ("kind", "format")] != [
            self.plan.kind,
            self.plan.format,
        ]:
            raise DataError(
                f"{path} is of another kind or of another version; remove it, or choose another folder for --out"
            )
        check_book(known, path)
        common = known["modalities"].keys() & self.plan.modalities.keys()
        old = {"settings": known["settings"], **{n: known["modalities"][n] for n in sorted(common)}}
        new = {"settings": self.plan.settings, **{n: self.plan.modalities[n] for n in sorted(common)}}
        if found := changes(old, new):
            raise DataError(
                f"{self.folder} was made with other settings: {found}. Choose another folder for --out, or remove"
                f" {culprit}"
            )
        return known

    def missing(self) -> dict[int, list[str]]:
        """The parts of each shard that are still to be made, after a look at every file."""
        missing: dict[int, list[str]] = {}
        files = self.known.get("files", {})
        for shard in range(len(self.plan.counts)):
            inputs = self.plan.inputs(shard)
            for part in self.plan.parts:
                outputs, record = self.outputs(shard, part), read_record(self.folder, shard, part)
                sums = record.files if record else {n: Checksum(**files[n]) for n in outputs if n in files}
                if sums.keys() != outputs.keys() or not all(sums[name].fits(outputs[name]) for name in outputs):
                    missing.setdefault(shard, []).append(part)
                elif self._is_other(shard, inputs, record):
                    self.changed.add(shard)
            if shard in self.changed:
                missing[shard] = list(self.plan.parts)
        self._check_changed()
        return missing

    def _is_other(self, shard: int, inputs: Mapping[str, Inputs], record: CompletionRecord | None) -> bool:
        """Whether a part was made from other files than there are now."""
        old = self._known_inputs(shard) if record is None else record.inputs
        for name, each in inputs.items():
            if name in old and not each.same_times(old[name]):
                if not each.same(old[name]):
                    return True
                self._touched.setdefault(shard, {})[name] = each.state
        return False

    def _known_inputs(self, shard: int) -> dict[str, str]:
        shards = self.known.get("inputs", {}).get("shards", [])
        return dict(shards[shard]) if shard < len(shards) else {}

    def _check_changed(self) -> None:
        """Raise DataError if what changed is another dataset, or if more was made of it than is made now."""
        if not self.changed:
            return
        if others := sorted(self._origins - {self.plan.data}):
            raise DataError(
                f"{self.folder} was made from other data: {others[0]}, not {self.plan.data}, whose files differ. Choose"
                f" another folder for --out, or remove {self.folder / MANIFEST}"
            )
        if more := sorted(self.known.get("modalities", {}).keys() - self.plan.modalities.keys()):
            raise DataError(
                f"files of {self.plan.data} changed since {self.folder} was made, which also holds {', '.join(more)}:"
                " make these again with the others, in one command, or choose another folder for --out"
            )

    @property
    def is_complete(self) -> bool:
        """Whether the manifest knows all modalities of the plan, and nothing waits to be added to it."""
        all_known = self.plan.modalities.keys() <= self.known.get("modalities", {}).keys()
        return all_known and not (self.folder / RECORDS).exists()

    def begin(self) -> None:
        """Write down the plan, and remove what earlier runs left half-written. Raises DataError."""
        with _clear_errors(self.folder):
            folders = {Path(name).parent for part in self.plan.parts for name in self.outputs(0, part)}
            for left in (path for folder in folders for path in (self.folder / folder).rglob(".*")):
                if not left.is_dir():
                    left.unlink(missing_ok=True)
        known = {name: getattr(self.plan, name) for name in ("kind", "format", "settings", "modalities")}
        write_json({**known, "inputs": {"data": self.plan.data}}, self.folder / RECORDS / "plan.json")

    def finish(self, extra: Callable[[dict[str, Any]], Mapping[str, Any]] | None) -> None:
        """Write manifest and problems when all is made; `extra` adds to the manifest, or replaces. Raises DataError."""
        problems = self.write_problems()
        plan, files = self.plan, dict(self.known.get("files", {}))
        inputs = [{**self._known_inputs(k), **self._touched.get(k, {})} for k in range(len(plan.counts))]
        for shard, _, record in self._records():
            files |= {name: attrs.asdict(each) for name, each in record.files.items()}
            inputs[shard] |= record.inputs
        manifest = {
            "kind": plan.kind,
            "format": plan.format,
            "versions": _merged(self.known.get("versions", {}), plan.versions),
            "settings": plan.settings,
            "modalities": _merged(self.known.get("modalities", {}), plan.modalities),
            "problems": sum(map(len, problems.values())),
            "files": _merged(files, {}),
            "inputs": {"data": plan.data, "shards": inputs},
            "shards": [{"samples": count} for count in plan.counts],
        }
        self.known = {**manifest, **(extra(manifest) if extra else {})}
        write_json(self.known, self.folder / MANIFEST)
        shutil.rmtree(self.folder / RECORDS, ignore_errors=True)

    def keep_times(self) -> None:
        """Write down the new times of files whose content is as it was. Raises DataError."""
        if self._touched:
            inputs = [{**self._known_inputs(k), **self._touched.get(k, {})} for k in range(len(self.plan.counts))]
            self.known["inputs"] = {"data": self.plan.data, "shards": inputs}
            write_json(self.known, self.folder / MANIFEST)

    def _records(self) -> Iterator[tuple[int, str, CompletionRecord]]:
        for shard in range(len(self.plan.counts)):
            for part in self.plan.parts:
                if (record := read_record(self.folder, shard, part)) is not None:
                    yield shard, part, record

    def write_problems(self) -> dict[int, list[Problem]]:
        """Write `problems.jsonl`: what is known of what is made so far, also returned by shard. Raises DataError."""
        path = self.folder / PROBLEMS
        lines: dict[tuple[int, str], list[Problem]] = {}
        for shard, part, problem in earlier_problems(path):
            lines.setdefault((shard, part), []).append(problem)
        for shard, part, record in self._records():
            lines[shard, part] = record.problems
        found: dict[int, list[Problem]] = {}
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for (shard, part), problems in sorted(lines.items()):
                found.setdefault(shard, []).extend(problems)
                for each in problems:
                    line = {"shard": shard, "part": part, **attrs.asdict(each)}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return found


def earlier_problems(path: Path) -> Iterator[tuple[int, str, Problem]]:
    """What earlier runs left out, by shard and part; a log that is damaged is read as far as it goes."""
    with suppress(OSError), path.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            with suppress(ValueError, RecursionError, AnymodalError):
                known = json.loads(line)
                shard, part = (known.pop(name, None) if isinstance(known, dict) else None for name in ("shard", "part"))
                if isinstance(shard, int) and is_count(shard) and isinstance(part, str):
                    yield shard, part, structure(known, Problem, str(path))


@contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{folder} cannot be used: {cause(error)}") from None


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted({**old, **new}.items()))
