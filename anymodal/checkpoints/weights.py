"""Weights on disk: safetensors, one file or several shards, read piece by piece straight into a model.

Files are mapped into memory and copied in small pieces; the mapping is dropped now and then, so that a file costs no
memory beside the model it fills. Pickles are refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from anymodal.checkpoints.eight_bits import STEPS, ScaledRows, fits, in_eight_bits, without_loss
from anymodal.checkpoints.hub_cache import is_plain
from anymodal.checkpoints.repository import INDEX as INDEX
from anymodal.checkpoints.repository import SHARDS
from anymodal.checkpoints.repository import WEIGHTS as WEIGHTS
from anymodal.errors import CheckpointError, ConfigError, DataError, brief, one_line, system_errors
from anymodal.files import read_object, replacing, write_json

if TYPE_CHECKING:
    from anymodal.checkpoints.repository import Files

FEW = 64  # blocks, which are compared tensor by tensor
PIECE, MAPPED = 1024**2, 4 * 1024**2  # bytes copied at once, and before the file is mapped anew
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
INTEGERS = {f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64)}


def stored_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """As `dtype_of`, or 8 bits, which weights have in files alone."""
    if dtype in ("int8", torch.int8):
        return torch.int8
    try:
        return dtype_of(dtype)
    except ConfigError:
        raise ConfigError(f"files hold {', '.join(DTYPES)} or int8, not {brief(dtype)}") from None


def dtype_of(dtype: str | torch.dtype) -> torch.dtype:
    """The type of that name, or that type. Raises ConfigError for one that models do not come in."""
    for name, known in DTYPES.items():
        if dtype in (name, known):
            return known
    raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, got {brief(dtype)}")


class Rows(Protocol):
    """A tensor of which parts along the first axis can be read: one in a file, or one in memory."""

    @property
    def shape(self) -> torch.Size: ...

    @property
    def dtype(self) -> torch.dtype | str: ...

    def __getitem__(self, part: slice, /) -> Tensor: ...


class WeightFile:
    """The tensors of a checkpoint by name; `read` counts the bytes that were asked for.

    `shards` says in which file each tensor is, `locate` finds that file when one of its tensors is first needed.
    """

    def __init__(self, shards: Mapping[str, str], locate: Callable[[str], Path], source: str) -> None:
        self.source, self.read = source, 0
        self._shards, self._locate = shards, locate
        self._open: dict[str, Any] = {}
        self._mapped = 0

    @classmethod
    def single(cls, path: Path) -> WeightFile:
        """The tensors of one file. Raises CheckpointError."""
        opened = open_file(path)
        self = cls(dict.fromkeys(opened.keys(), path.name), lambda _: path, str(path))
        self._open[path.name] = opened
        return self

    @classmethod
    def sharded(cls, index: Path, locate: Callable[[str], Path]) -> WeightFile:
        """The tensors of the shards that an index names. Raises CheckpointError."""
        return cls(read_index(index), locate, str(index))

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.clear()

    def keys(self) -> list[str]:
        """The names of the tensors, without those of the steps of others."""
        return [
            name for name in self._shards if not (name.endswith(STEPS) and name.removesuffix(STEPS) in self._shards)
        ]

    def __len__(self) -> int:
        return len(self._shards)

    def metadata(self) -> dict[str, str]:
        """The texts in the header of a single file."""
        (shard,) = set(self._shards.values()) or {""}
        return (self._file(shard).metadata() or {}) if shard else {}

    def get_slice(self, name: str) -> FileRows:
        """A tensor whose parts are read on demand; KeyError if there is none."""
        return FileRows(self, name, self._shards[name])

    def get_tensor(self, name: str) -> Tensor:
        """A whole tensor, which stays backed by the file; KeyError if there is none."""
        tensor: Tensor = self._file(self._shards[name]).get_tensor(name)
        self.read += tensor.nbytes
        return tensor

    def rows(self, name: str) -> FileRows | ScaledRows | None:
        """A tensor whose parts are read on demand, as floats if it lies in 8 bits; or None. Raises CheckpointError."""
        if name not in self._shards:
            return None
        rows, steps = self.get_slice(name), f"{name}{STEPS}"
        if steps not in self._shards or rows.dtype != "I8":
            return rows
        return ScaledRows(rows, self.get_slice(steps), name, self.source)

    def _file(self, shard: str) -> Any:
        if shard not in self._open:
            self._open[shard] = open_file(self._locate(shard))
        return self._open[shard]

    def _slice(self, name: str, shard: str) -> Any:
        try:
            return self._file(shard).get_slice(name)
        except SafetensorError:
            raise CheckpointError(f"{self.source} names {shard} for the tensor {name!r}, which is not in it") from None

    def _piece(self, name: str, shard: str, part: slice) -> Tensor:
        if self._mapped > MAPPED:
            self._open.clear()
            self._mapped = 0
        piece: Tensor = self._slice(name, shard)[part]
        self._mapped += piece.nbytes
        self.read += piece.nbytes
        return piece


def open_weights(files: Files) -> WeightFile:
    """The weights of a checkpoint, one file or shards; a shard is fetched when it is needed. Raises CheckpointError."""
    if (path := files.find(WEIGHTS)) is not None:
        return WeightFile.single(path)
    if (index := files.find(INDEX)) is not None:
        return WeightFile.sharded(index, files.path)
    raise CheckpointError(f"no such file: {files}/{WEIGHTS} (weights of other kinds, such as pickles, are not read)")


class FileRows:
    """A tensor in a file, of which parts are read when they are asked for."""

    def __init__(self, file: WeightFile, name: str, shard: str) -> None:
        self._file, self._name, self._shard = file, name, shard

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self._file._slice(self._name, self._shard).get_shape())

    @property
    def dtype(self) -> str:
        """The type of the numbers as the header has it, such as "F32"."""
        return str(self._file._slice(self._name, self._shard).get_dtype())

    def __getitem__(self, part: slice) -> Tensor:
        return self._file._piece(self._name, self._shard, part)

    def whole(self) -> Tensor:
        return self._file.get_tensor(self._name)


def open_file(path: Path) -> Any:
    """An open safetensors file. Raises CheckpointError for a missing, damaged or pickled one."""
    with system_errors(CheckpointError, f"{path} cannot be read"):
        if not path.is_file():
            raise CheckpointError(f"no such file: {path}")
        with path.open("rb") as raw:
            start = raw.read(9)
    if path.suffix in PICKLES or (start.startswith(PICKLE_STARTS) and start[8:] != b"{"):
        raise CheckpointError(f"{path} is a pickle, which may run code when read; use the .safetensors file instead")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {one_line(error, 200)}") from None


def read_index(path: Path) -> dict[str, str]:
    """The file of each tensor as an index of shards has it. Raises CheckpointError."""
    shards = read_object(path).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise CheckpointError(f"{path} must hold a 'weight_map' from names of tensors to files")
    for shard in set(shards.values()):
        if "/" in shard or not is_plain(shard) or not shard.endswith(".safetensors"):
            raise CheckpointError(f"{path} names the file {shard!r:.120}; shards are .safetensors files beside it")
    return shards


def fill(views: Iterable[tuple[str, Tensor]], get: Callable[[str], Rows | None], source: str) -> None:
    """Copy tensors into `views` by name; `get` gives them, or None. Warns of numbers that are not finite.

    Raises CheckpointError that names the first one that is missing or misshapen.
    """
    for name, view in views:
        copy(checked(name, view, get, source), view, name, source)


def checked(name: str, view: Tensor, get: Callable[[str], Rows | None], source: str) -> Rows:
    """The tensor that is to fill `view`, which may be on the meta device; no number of it is read.

    Raises CheckpointError if it is missing, misshapen, or of another kind of numbers.
    """
    rows = get(name)
    if rows is None:
        raise CheckpointError(f"{source} has no tensor {name!r}; it is incomplete or of another model")
    check_shape(rows, view.shape, name, source)
    check_kind(rows, view.dtype, name, source)
    return rows


def check_kind(rows: Rows, dtype: torch.dtype, name: str, source: str) -> None:
    """Raise CheckpointError if a tensor holds no numbers of the kind of `dtype`: floats, integers, or truth values."""
    stated = rows.dtype
    if isinstance(stated, torch.dtype):
        fits = stated.is_floating_point == dtype.is_floating_point and stated.is_complex == dtype.is_complex
    elif dtype.is_floating_point:
        fits = stated in FLOATS
    else:
        fits = stated == "BOOL" if dtype == torch.bool else stated in INTEGERS
    if not fits:
        kind = "floats" if dtype.is_floating_point else "truth values" if dtype == torch.bool else "integers"
        raise CheckpointError(f"tensor {name!r} in {source} holds {stated}, and {kind} are needed; it is damaged")


def check_depth(blocks: int, tensors: int, source: str) -> None:
    """Raise CheckpointError if a file has fewer tensors than its config has blocks, which take long to make if many."""
    if blocks > max(tensors, FEW):
        raise CheckpointError(f"{source} states {blocks} blocks, and the weights are {tensors} tensors")


@contextmanager
def writing_tensors(path: Path) -> Iterator[Path]:
    """As `replacing`, for safetensors."""
    with replacing(path) as temporary, tensor_errors(path):
        yield temporary


@contextmanager
def tensor_errors(path: Path) -> Iterator[None]:
    """What safetensors raises where it cannot write, such as on a full disk, as a DataError about `path`."""
    try:
        yield
    except SafetensorError as error:
        raise DataError(f"cannot write {path}: {one_line(error, 200)}") from None


def check_shape(rows: Rows, shape: Iterable[int], name: str, source: str) -> None:
    """Raise CheckpointError if a tensor has not that shape."""
    if tuple(rows.shape) != tuple(shape):
        raise CheckpointError(
            f"tensor {name!r} in {source} has shape {tuple(rows.shape)}, its config says {tuple(shape)}"
        )


def copy(rows: Rows, view: Tensor, name: str, source: str) -> None:
    """Copy a tensor of the same shape into `view`, piece by piece."""
    finite = True
    for part in _parts(view):
        piece = rows[part] if view.ndim else _whole(rows)
        finite = finite and _is_finite(piece)
        (view[part] if view.ndim else view).copy_(piece)
    if not finite:
        warnings.warn(f"tensor {name!r} in {source} holds NaN or infinity", stacklevel=2)


def _is_finite(piece: Tensor) -> bool:
    """Whether all numbers are finite; their sum tells it in nearly all cases, and is quicker."""
    if not piece.is_floating_point() or bool(torch.isfinite(piece.sum(dtype=torch.float32))):
        return True
    return bool(torch.isfinite(piece).all())


def _parts(view: Tensor) -> Iterable[slice]:
    if not view.ndim:
        return [slice(None)]
    step = max(1, PIECE // max(1, 4 * view[:1].numel()))
    return (slice(start, min(start + step, len(view))) for start in range(0, len(view), step))


def _whole(rows: Rows) -> Tensor:
    return rows.whole() if isinstance(rows, FileRows | ScaledRows) else rows  # type: ignore[return-value]


def size_in_bytes(size: str | int) -> int:
    """Bytes of a size such as 5_000_000, "500MB" or "5GB" (powers of ten). Raises ConfigError."""
    text, factors = str(size).strip().upper(), {"KB": 10**3, "MB": 10**6, "GB": 10**9, "": 1}
    digits = text.rstrip("KMGB")
    try:
        bytes_ = int(float(digits) * factors[text[len(digits) :]])
    except (KeyError, ValueError, OverflowError):
        raise ConfigError(f"a size is a number of bytes or text such as '500MB' or '5GB', got {size!r}") from None
    if bytes_ < 1:
        raise ConfigError(f"a size must be positive, got {size!r}")
    return bytes_


def save_weights(
    views: Iterable[tuple[str, Tensor]],
    folder: Path,
    dtype: torch.dtype | None = None,
    max_shard_size: str | int | None = None,
    header: Mapping[str, str] | None = None,
    exact: Collection[str] = (),
) -> None:
    """Write model.safetensors, or shards of at most `max_shard_size` bytes with an index; whole or not at all.

    Floating-point tensors are written in `dtype`, as they are if None; of torch.int8, see `eight_bits`, and parts whose
    names begin with one of `exact` then lose nothing. What an older checkpoint left is removed.
    """
    limit = size_in_bytes(max_shard_size) if max_shard_size is not None else None
    groups: list[list[tuple[str, Tensor]]] = [[]]
    used = 0
    for name, tensor in views:
        nbytes = tensor.numel() * (_kept(tensor, dtype).itemsize)  # of 8 bits, at most
        if limit is not None and groups[-1] and used + nbytes > limit:
            groups.append([])
            used = 0
        groups[-1].append((name, tensor))
        used += nbytes
    old = [*folder.glob(SHARDS), folder / INDEX, folder / WEIGHTS]
    names = [WEIGHTS] if len(groups) == 1 else [_shard(k, len(groups)) for k in range(len(groups))]
    index: dict[str, str] = {}
    total = 0
    for file, group in zip(names, groups, strict=True):
        state: dict[str, Tensor] = {}
        for name, tensor in group:
            state |= _written(name, tensor.detach(), dtype, name.split(".")[0] in exact)
        with writing_tensors(folder / file) as temporary:
            save_file(state, temporary, {"format": "pt", **(header or {})})
        index |= dict.fromkeys(state, file)
        total += sum(tensor.nbytes for tensor in state.values())
    if len(groups) > 1:
        write_json({"metadata": {"total_size": total}, "weight_map": index}, folder / INDEX)
    for path in old:
        if path.name not in names and not (path.name == INDEX and len(groups) > 1):
            path.unlink(missing_ok=True)


def _written(name: str, tensor: Tensor, dtype: torch.dtype | None, exact: bool) -> dict[str, Tensor]:
    """What a file holds of a tensor. A view of a joint table is copied, so that the file holds its rows alone."""
    if dtype == torch.int8:
        return in_eight_bits(name, tensor) if fits(tensor) and not exact else {name: without_loss(tensor).clone()}
    return {name: tensor.to(_kept(tensor, dtype)).contiguous().clone()}


def _kept(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    return dtype if dtype not in (None, torch.int8) and tensor.is_floating_point() else tensor.dtype


def _shard(index: int, count: int) -> str:
    return f"model-{index + 1:05d}-of-{count:05d}.safetensors"
