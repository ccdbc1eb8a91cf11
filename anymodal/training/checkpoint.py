"""The resumable state of a run as a folder: this file decides what is stored and when a checkpoint counts as complete.

    checkpoints/step-00001000/
        shard-*.safetensors   what each process held: model/NAME, optimizer/NAME/KEY, average/NAME, in pieces
        state.json            step, settings, and the size of every file above

Pieces are written by PyTorch's distributed checkpoints in the safetensors format, so any number of processes can take
up what any other number wrote. A checkpoint is written beside its final name, while training goes on, and renamed when
it is whole. Only tensors and JSON are read back.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, cast

import attrs
import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from anymodal.config.validators import at_least, one_of, whole
from anymodal.errors import CheckpointError, ConfigError, cause
from anymodal.files import only_writer
from anymodal.nn.distributed import World

STATE_FILE = "state.json"
STATE_LIMIT = 2**24  # bytes
BYTES_A_FILE = 2**30  # a file is put together in memory before it is written
STAGING = StagingOptions(False, False, False, False)  # a plain copy in memory
FINISHED = re.compile(r"step-\d{8,12}")


@attrs.frozen(kw_only=True)
class SavingConfig:
    """Which checkpoints stay: the newest `keep`, and the `best` ones by the loss of the evaluation.

    result: what a finished run writes: the weights of the "last" step, or those of the "best" checkpoint.
    background: whether training goes on while a checkpoint is written.
    """

    keep: int = attrs.field(default=2, validator=[whole, at_least(1)])
    best: int = attrs.field(default=0, validator=[whole, at_least(0)])
    result: Literal["last", "best"] = attrs.field(default="last", validator=one_of("last", "best"))
    background: bool = True

    def __attrs_post_init__(self) -> None:
        if self.result == "best" and not self.best:
            raise ConfigError("checkpoints.result is best, and none is kept; set checkpoints.best to 1")


@contextmanager
def claimed(out: Path, world: World, resume: bool) -> Iterator[None]:
    """A run's folder for one run alone.

    Raises DataError if another run is at work there, CheckpointError if it holds a run that is not to be resumed, or
    one that cannot be.
    """
    with only_writer(out) if world.is_first else nullcontext():
        if world.is_first and not resume and newest_checkpoint(out / "checkpoints"):
            raise CheckpointError(f"{out} already holds a run; resume it, or choose another folder.")
        if world.is_first and resume:
            check_any_complete(out / "checkpoints")
        yield


class CheckpointFolder:
    """Writes, finds and removes the checkpoints of a run. All processes call the same methods in the same order."""

    def __init__(self, folder: Path, config: SavingConfig, world: World) -> None:
        self.folder, self.config, self.world = folder, config, world
        self._writing: Future[Any] | None = None
        self._state: dict[str, Any] = {}
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._group = dist.new_group(backend="gloo") if world.size > 1 else None

    @property
    def _partial(self) -> Path:
        return self.folder / ".partial"

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Begin to write the checkpoint of a step; `finish` waits for it. `state` may hold "score", best is lowest.

        Raises CheckpointError if this or the checkpoint before cannot be written; those that are complete stay.
        """
        self.finish()
        self._state = {**state, "step": step}
        if self.world.is_first:
            self._prepare()
        self.world.wait()
        staged = cast("dict[str, Tensor]", DefaultStager(STAGING).stage(_owned(tensors)))
        self._writing = self._thread.submit(self._write, staged)
        if not self.config.background:
            self.finish()

    def _write(self, tensors: dict[str, Tensor]) -> None:
        """Write what this process holds; several processes do so together."""
        files = _files(tensors)
        if self._group is not None:
            writer = HuggingFaceStorageWriter(str(self._partial), files, save_distributed=True)
            save(tensors, storage_writer=writer, process_group=self._group)
            return
        for number in sorted(set(files.values())):
            part = {name: tensor for name, tensor in tensors.items() if files[name] == number}
            save_file(part, self._partial / f"shard-{number:05d}.safetensors")

    def poll(self) -> None:
        """Give a checkpoint its name if it is written by now. The first process decides that alone."""
        if self._writing is not None and self.world.is_first and self._writing.done():
            self.finish()

    def finish(self) -> None:
        """Wait until the checkpoint that is being written is complete."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            writing.result()
        except (Exception, CheckpointException) as error:
            raise self._failed(error) from error
        self._complete()

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir()
        except OSError as error:
            raise self._failed(error) from error

    def _complete(self) -> None:
        if not self.world.is_first:
            return
        final = self.folder / f"step-{self._state['step']:08d}"
        try:
            sizes = {path.name: path.stat().st_size for path in self._partial.iterdir()}
            (self._partial / STATE_FILE).write_text(json.dumps({**self._state, "files": sizes}))
            if final.exists():
                shutil.rmtree(final)
            self._partial.replace(final)
        except OSError as error:
            raise self._failed(error) from error
        for path in self._superfluous():
            shutil.rmtree(path, ignore_errors=True)

    def _superfluous(self) -> list[Path]:
        paths = _finished(self.folder)
        scored = [(score, path) for path in paths if (score := _state(path).get("score")) is not None]
        kept = {*paths[-self.config.keep :], *(path for _, path in sorted(scored)[: self.config.best])}
        return [path for path in paths if path not in kept]

    def _failed(self, error: BaseException) -> CheckpointError:
        shutil.rmtree(self._partial, ignore_errors=True)
        left = newest_checkpoint(self.folder)
        rest = f"the last good one is {left}" if left else "there is no earlier one"
        return CheckpointError(f"cannot write a checkpoint to {self.folder}: {_reason(error)}; {rest}")


def newest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step, or None. Damaged and unfinished ones are passed over."""
    return next((path for path in reversed(_finished(folder)) if _is_complete(path)), None)


def check_any_complete(folder: Path) -> None:
    """Raise CheckpointError if there are checkpoints, and none that is complete."""
    if (found := _finished(folder)) and newest_checkpoint(folder) is None:
        raise CheckpointError(f"{found[-1]} is damaged, and no older one is left; delete {folder} to start anew.")


def best_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the lowest loss in the evaluation, or None if none was evaluated."""
    scored = [(s, path) for path in _finished(folder) if (s := _state(path).get("score")) is not None]
    return next((path for _, path in sorted(scored) if _is_complete(path)), None)


def read_state(path: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint; CheckpointError if it is incomplete."""
    if not _is_complete(path):
        raise CheckpointError(f"the checkpoint {path} is incomplete; delete it to fall back on an older one.")
    return _state(path)


def fill_tensors(path: Path, tensors: Mapping[str, Tensor], world: World) -> None:
    """Fill tensors, whole ones or pieces of split ones, with what a checkpoint has under their names.

    Raises CheckpointError if the checkpoint lacks a name, has one more, or another shape.
    """
    read_state(path)
    reader = HuggingFaceStorageReader(str(path))
    try:
        stored = reader.read_metadata().state_dict_metadata
        _compare({name: tuple(entry.size) for name, entry in stored.items()}, tensors, path)  # type: ignore[union-attr]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(dict(tensors), storage_reader=reader, no_dist=world.size == 1)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"a file of the checkpoint {path} is damaged ({error}); delete it to fall back on an older one."
        ) from error


def optimizer_tensors(optimizers: Iterable[Optimizer], model: nn.Module) -> dict[str, Tensor]:
    """The optimizers' tensors by "PARAMETER/KEY", for example "blocks.0.weight/exp_avg"; they are made if missing."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    tensors: dict[str, Tensor] = {}
    for optimizer in optimizers:
        _make_state(optimizer)
        for parameter, slots in optimizer.state.items():
            tensors |= {f"{names[parameter]}/{key}": value for key, value in slots.items()}
    return tensors


def _make_state(optimizer: Optimizer) -> None:
    """Let an optimizer make the tensors it lacks, as they are before its first step: by a step that moves nothing."""
    rates = [group["lr"] for group in optimizer.param_groups]
    missing = [p for group in optimizer.param_groups for p in group["params"] if p not in optimizer.state]
    if not missing:
        return
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    for parameter in missing:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for parameter in missing:
        for tensor in optimizer.state[parameter].values():
            tensor.zero_()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _owned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that own their memory, as safetensors wants them: tied weights are written once per name."""
    seen: set[int] = set()
    owned: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        if not isinstance(tensor, dist.tensor.DTensor):
            address = tensor.untyped_storage().data_ptr()
            tensor = tensor.clone() if address in seen else tensor.contiguous()
            seen.add(address)
        owned[name] = tensor
    return owned


def _files(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The number of the file (from 1) that each tensor goes to."""
    numbers, number, filled = {}, 1, 0
    for name, tensor in tensors.items():
        if filled and filled + tensor.nbytes > BYTES_A_FILE:
            number, filled = number + 1, 0
        numbers[name] = number
        filled += tensor.nbytes
    return numbers


def _compare(stored: Mapping[str, tuple[int, ...]], wanted: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in wanted.items():
        if stored.get(name) != tuple(tensor.shape):
            has = f"of shape {stored[name]}" if name in stored else "missing"
            raise CheckpointError(
                f"the checkpoint {path} belongs to another model: {name!r} is {has}, not {tuple(tensor.shape)}"
            )
    if extra := sorted(set(stored) - set(wanted)):
        raise CheckpointError(f"the checkpoint {path} belongs to another model: it has {extra[0]!r}, this one has not")


def _reason(error: BaseException) -> str:
    """The first cause in a chain of errors; what failed in any process is wrapped in one of PyTorch's own."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    while error.__cause__ is not None:
        error = error.__cause__
    return cause(error)


def _finished(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if FINISHED.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _state(path: Path) -> dict[str, Any]:
    """What state.json holds, or nothing where it cannot be read."""
    try:
        file = path / STATE_FILE
        state = json.loads(file.read_text()) if file.stat().st_size <= STATE_LIMIT else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def _is_complete(path: Path) -> bool:
    try:
        sizes = _state(path)["files"]
        return all(Path(name).name == name and (path / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, KeyError, TypeError, AttributeError, ValueError):  # of names with a NUL, for example
        return False
