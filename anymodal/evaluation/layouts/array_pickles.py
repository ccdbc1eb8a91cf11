"""Pickles of numpy arrays in plain lists and dicts, as some data sets were published in, without running them.

A pickle is a program that names functions to call. This reads its instructions and follows those few that plain values
and arrays of numbers need; the functions that numpy's arrays name each stand for one of our own, which checks what it
is given. Anything else ends the reading.
"""

from __future__ import annotations

import codecs
import math
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np

from anymodal.errors import ValueProblem, one_line
from anymodal.files import plain_file

MOST_BYTES = 2**28
DEEPEST, MOST_VALUES = 16, 50_000
MOST_INSTRUCTIONS = 1_000_000  # each may put down a value that takes far more memory than the byte it is written with
DTYPES = {f"{kind}{size}" for kind, sizes in (("f", "248"), ("iu", "1248")) for kind in kind for size in sizes} | {"b1"}
MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "_codecs")
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
FIXED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE")
NUMBERS = ("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT")
STATED = {*TEXTS, *NUMBERS, "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINUNICODE8"}


@attrs.define(eq=False)
class _Dtype:
    """A type of numbers; what it is built with says the order of their bytes."""

    value: np.dtype

    def build(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


@attrs.define(eq=False)
class _Array:
    """An array, whose numbers come when it is built."""

    value: Any = None

    def build(self, state: Any) -> None:
        _, shape, dtype, by_columns, data = state
        content = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes) or not isinstance(shape, tuple):
            raise ValueProblem("it holds an array that is not of numbers")
        if len(shape) > 8 or not all(type(n) is int and 0 <= n <= MOST_BYTES for n in shape):
            raise ValueProblem(f"it holds an array of shape {shape!r:.80}")
        if math.prod(shape) * dtype.value.itemsize != len(content):
            raise ValueProblem(f"it holds an array of shape {shape!r:.80} in {len(content)} bytes")
        self.value = np.frombuffer(content, dtype.value).reshape(shape, order="F" if by_columns else "C")


def _dtype(code: Any, *_: Any) -> _Dtype:
    if not isinstance(code, str) or code not in DTYPES:
        raise ValueProblem(f"it holds numbers of the type {code!r:.40}")
    return _Dtype(np.dtype("?" if code == "b1" else code))


def _scalar(dtype: Any, data: Any) -> _Array:
    made = _Array()
    made.build((1, (), dtype, False, data))
    return made


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueProblem("it holds bytes in another encoding than latin1")
    return text.encode("latin1")


def _array_class(*_: Any) -> None:
    raise ValueProblem("it makes an array in a way that is not known")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "_reconstruct": lambda *_: _Array(),
    "scalar": _scalar,
    "dtype": _dtype,
    "encode": _encode,
    "ndarray": _array_class,
}


class _Reader:
    """What a pickle has put down so far."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0  # letters of texts that were read as bytes

    def follow(self, name: str, given: Any) -> None:
        """One instruction. Raises ValueProblem for one that plain values and arrays do not need."""
        stack = self.stack
        if name in STATED:
            stack.append(given)
        elif name in FIXED:
            stack.append(FIXED[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if given is None else given] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[given])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._last(int(name[-1]))))
        elif name in ("TUPLE", "LIST", "DICT"):
            parts = self._marked()
            stack.append(COLLECTED[name](parts))
        elif name in ("APPEND", "APPENDS"):
            parts = self._last(1) if name == "APPEND" else self._marked()
            _only(stack[-1], list).extend(parts)
        elif name in ("SETITEM", "SETITEMS"):
            parts = self._last(2) if name == "SETITEM" else self._marked()
            _only(stack[-1], dict).update(_pairs(parts))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_function(*(given.split(" ") if given is not None else self._last(2))))
        elif name == "REDUCE":
            function, arguments = self._last(2)
            if not any(function is known for known in FUNCTIONS.values()):
                raise ValueProblem("it calls what is no function")
            self._count(_only(arguments, tuple))
            stack.append(function(*arguments))
        elif name == "BUILD":
            (state,) = self._last(1)
            self._count(state)
            _only(stack[-1], (_Array, _Dtype)).build(state)
        elif name not in ("PROTO", "FRAME"):
            raise ValueProblem(f"it has the instruction {name}, and only arrays of numbers are read")

    def _count(self, given: Any) -> None:
        """Bound what is copied, for one text can be handed to many functions."""
        self.copied += sum(len(each) for each in given if isinstance(each, str)) if isinstance(given, tuple) else 0
        if self.copied > MOST_BYTES:
            raise ValueProblem(f"it holds texts of more than {MOST_BYTES} letters in arrays")

    def _last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("nothing is there to be taken")
        parts = self.stack[-count:]
        del self.stack[-count:]
        return parts

    def _marked(self) -> list[Any]:
        start = self.marks.pop()
        parts = self.stack[start:]
        del self.stack[start:]
        return parts


def _pairs(parts: list[Any]) -> dict[Any, Any]:
    if not all(isinstance(key, (str, bytes, int, float)) for key in parts[::2]):  # others may be nested without end
        raise ValueProblem("it holds a dict whose keys are no texts or numbers")
    return dict(zip(parts[::2], parts[1::2], strict=True))


COLLECTED: dict[str, Callable[[list[Any]], Any]] = {"TUPLE": tuple, "LIST": list, "DICT": _pairs}


def _only(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueProblem(f"it changes a {type(value).__name__} in a way that is not known")
    return value


def _function(module: Any, name: Any) -> Callable[..., Any]:
    if not isinstance(module, str) or not isinstance(name, str):  # others may be nested without end
        raise ValueProblem("it names a function by what is no text")
    if module not in MODULES or name not in FUNCTIONS:
        raise ValueProblem(f"it holds {module:.80}.{name:.80}, and only arrays of numbers are read")
    return FUNCTIONS[name]


def read_array_pickle(path: Path) -> Any:
    """Lists, dicts, texts, numbers and arrays in a pickle, of Python 2 too, whose texts are read as latin1.

    Raises ValueProblem for anything else, such as other classes and arrays of objects.
    """
    reader = _Reader()
    with plain_file(path, MOST_BYTES).open("rb") as file:
        try:
            for _ in range(MOST_INSTRUCTIONS):
                name, given = _instruction(file)
                if name == "STOP":
                    break
                reader.follow(name, given)
            else:
                raise ValueProblem(f"it has more than {MOST_INSTRUCTIONS} instructions")
            return _plain(reader.stack[-1], [MOST_VALUES])
        except ValueProblem as error:
            raise ValueProblem(f"{path} cannot be read: {error}") from None
        except Exception as error:  # a damaged file leads the reader to many kinds
            reason = one_line(f"{type(error).__name__}: {error}", 150)
            raise ValueProblem(f"{path} is no pickle that can be read: {reason}") from None


def _instruction(file: IO[bytes]) -> tuple[str, Any]:
    code = file.read(1)
    known = pickletools.code2op[code.decode("latin1")]  # type: ignore[attr-defined]
    if known.name == "STRING":  # pickletools takes letters of ASCII alone
        line = file.readline().strip()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise ValueProblem("it holds a text without quotes")
        raw, _ = codecs.escape_decode(line[1:-1])  # type: ignore[attr-defined]
        return known.name, raw.decode("latin1")
    return known.name, None if known.arg is None else known.arg.reader(file)


def _plain(value: Any, left: list[int], depth: int = 0) -> Any:
    """The values with arrays in their places. Raises ValueProblem for what is no plain value, and for too many."""
    left[0] -= 1
    if depth > DEEPEST or left[0] < 0:
        raise ValueProblem(f"it is nested more than {DEEPEST} deep, or holds more than {MOST_VALUES} values")
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(each, left, depth + 1) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each, left, depth + 1) for key, each in value.items() if isinstance(key, str)}
    if value is None or isinstance(value, (str, bytes, int, float)):
        return value
    raise ValueProblem(f"it holds a {type(value).__name__}")
