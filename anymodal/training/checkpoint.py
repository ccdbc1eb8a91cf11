"""The resumable state of a run as a folder: this file decides what is stored and when a checkpoint counts as complete.

    checkpoints/step-00001000/
        shard-*.safetensors   what each process held: model/NAME, optimizer/NAME/KEY, average/NAME, in pieces
        state.json            step, settings, and the size and hash of every file above (`anymodal.training.stored`)

Pieces are written by PyTorch's distributed checkpoints in the safetensors format, so any number of processes can take
up what any other number wrote. A checkpoint is written beside its final name, while training goes on, and renamed when
it is whole and on disk; only then are older ones removed. Only tensors and JSON are read back.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast

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

from anymodal.data.jobs.receipts import Checksum, checksum
from anymodal.durable import make_folder, put, sync
from anymodal.errors import AnymodalError, CheckpointError, cause
from anymodal.files import only_writer, remove_partial
from anymodal.nn.distributed import World
from anymodal.training.log import PICTURES
from anymodal.training.settings import SavingConfig
from anymodal.training.stored import (
    check_any_whole,
    finished,
    identity,
    newest_checkpoint,
    read_state,
    score_of,
    what_is_damaged,
    write_state,
)

BYTES_A_FILE = 2**30  # a file is put together in memory before it is written
STAGING = StagingOptions(False, False, False, False)  # a plain copy in memory
REPLACED = ".replaced"  # what is written anew, until the new one has its name


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
            check_any_whole(out / "checkpoints")
        if world.is_first:
            with suppress(OSError):
                remove_partial(out / PICTURES)
        yield


class CheckpointFolder:
    """Writes, finds and removes the checkpoints of a run. All processes call the same methods in the same order."""

    def __init__(self, folder: Path, config: SavingConfig, world: World) -> None:
        self.folder, self.config, self.world = folder, config, world
        self._writing: Future[dict[str, Checksum]] | None = None
        self._state: dict[str, Any] = {}
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._group = dist.new_group(backend="gloo") if world.size > 1 else None
        self._own: dict[Path, tuple[Any, ...]] = {}  # checkpoints of this process, whose content it knows
        if world.is_first:
            self._recover()

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

    def _write(self, tensors: dict[str, Tensor]) -> dict[str, Checksum]:
        """Write what this process holds; several processes do so together. The checksums of all files, then on disk."""
        files = _files(tensors)
        if self._group is not None:
            writer = HuggingFaceStorageWriter(str(self._partial), files, save_distributed=True)
            save(tensors, storage_writer=writer, process_group=self._group)
            return self._shared_checksums(self._group)
        for number in sorted(set(files.values())):
            part = {name: tensor for name, tensor in tensors.items() if files[name] == number}
            save_file(part, self._partial / f"shard-{number:05d}.safetensors")
        return {path.name: _kept(path) for path in sorted(self._partial.iterdir())}

    def _shared_checksums(self, group: dist.ProcessGroup) -> dict[str, Checksum]:
        """The checksums of the files of all processes, of which each reads its own."""
        own = {path.name: _kept(path) for path in self._partial.glob(f"shard-{self.world.rank + 1:05d}-*")}
        parts: list[Any] = [None] * self.world.size
        dist.all_gather_object(parts, own, group)
        return {name: each for part in parts for name, each in part.items()}

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
            files = writing.result()
        except (Exception, CheckpointException) as error:
            raise self._failed(error) from error
        if self.world.is_first:
            self._complete(files)

    def _prepare(self) -> None:
        try:
            make_folder(self.folder)
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir()
        except OSError as error:
            raise self._failed(error) from error

    def _complete(self, files: Mapping[str, Checksum]) -> None:
        """Give a checkpoint its name, and remove those that are not to stay beside it."""
        final, replaced = self.folder / f"step-{self._state['step']:08d}", self.folder / REPLACED
        try:
            write_state(self._partial, self._state, files)
            sync(self._partial)
            shutil.rmtree(replaced, ignore_errors=True)
            if final.exists():
                replaced.mkdir()
                put(final, replaced / final.name)
            put(self._partial, final)
            self._own[final] = identity(final, read_state(final))
            shutil.rmtree(replaced, ignore_errors=True)
            self._remove(self._superfluous())
        except (OSError, AnymodalError) as error:
            raise self._failed(error) from error

    def make_room(self) -> None:
        """Remove what a run that is taken up would remove after its next checkpoint: on a full disk it gets to none."""
        if not self.world.is_first:
            return
        shutil.rmtree(self._partial, ignore_errors=True)
        if len(finished(self.folder)) > self.config.keep:
            self._remove(self._superfluous())

    def _recover(self) -> None:
        """Give back its name to a checkpoint that was being written anew when the process was killed."""
        for path in finished(self.folder / REPLACED):
            if not (self.folder / path.name).exists():
                with suppress(OSError):
                    put(path, self.folder / path.name)

    def _superfluous(self) -> list[Path]:
        """All but the newest and the best ones that are whole; damaged ones are of no use to anyone."""
        paths = finished(self.folder)
        sound = [path for path in paths if self._is_own(path) or not what_is_damaged(path)]
        scored = [(score, path) for path in sound if (score := score_of(path)) is not None]
        kept = {*sound[-self.config.keep :], *(path for _, path in sorted(scored)[: self.config.best])}
        return [path for path in paths if path not in kept]

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self._own.pop(path, None)
            shutil.rmtree(path, ignore_errors=True)

    def _is_own(self, path: Path) -> bool:
        """Whether a checkpoint is as this process wrote it."""
        try:
            return path in self._own and identity(path, read_state(path)) == self._own[path]
        except (OSError, AnymodalError):
            return False

    def _failed(self, error: BaseException) -> CheckpointError:
        shutil.rmtree(self._partial, ignore_errors=True)
        left = newest_checkpoint(self.folder)
        rest = f"the last good one is {left}" if left else "there is no earlier one"
        return CheckpointError(f"cannot write a checkpoint to {self.folder}: {_reason(error)}; {rest}")


def _kept(path: Path) -> Checksum:
    """The checksum of a file, which is on disk then."""
    sync(path)
    return checksum([path])


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
