"""What loading a modality does in a process of its own, which may hang, or bring the interpreter down.

`python -m anymodal.testing.fresh` is that process.
"""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.plugins.isolated import EndedBadlyError, answer, ask
from anymodal.testing.outcome import Broken

if TYPE_CHECKING:
    from anymodal.testing.choose import Target

LIMIT = 60.0  # seconds
WATCHED = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.mkdir")
HEAVY = ("torch", "numpy", "cv2", "PIL", "transformers", "scipy")


@attrs.frozen
class Facts:
    """What was seen: `error` in place of a class, heavy modules, seconds, global changes, and what was opened.

    `others` says what is wrong with the labelers, presets and commands of the same distribution.
    """

    error: str = ""
    heavy: tuple[str, ...] = ()
    seconds: float = 0.0
    changes: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def inspect(target: Target) -> Facts:
    """Load a modality in a child process. Raises Broken when that ends otherwise than by returning."""
    place = str(target.folder) if target.folder else ""
    return Facts(**_ask({"do": "load", "name": target.name, "folder": place}))


def revived(value: Any) -> str:
    """The `repr` of a pickled value that a child process unpickles; Broken when it cannot."""
    return str(_ask({"do": "revive", "pickle": base64.b64encode(pickle.dumps(value)).decode()})["repr"])


def unlike(target: Target, made: Sequence[Any], backwards: bool) -> list[int]:
    """The numbers of the examples of which a child process makes something else than `made`, tensors or texts.

    It begins with the first of them, or `backwards` with the last. Broken when it ends otherwise than by answering.
    """
    place, given = str(target.folder) if target.folder else "", base64.b64encode(pickle.dumps(list(made))).decode()
    return list(
        _ask({"do": "make", "name": target.name, "folder": place, "made": given, "backwards": backwards})["unlike"]
    )


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("ANYMODAL_")}
    environ["PYTHONPATH"] = os.pathsep.join([*map(os.path.abspath, filter(None, sys.path))])
    with tempfile.TemporaryDirectory() as folder:
        try:
            return ask("anymodal.testing.fresh", request, seconds=LIMIT, environ=environ, folder=Path(folder))
        except subprocess.TimeoutExpired:
            raise Broken(f"the process that loads it is not done after {LIMIT:g} seconds") from None
        except EndedBadlyError as ended:
            raise Broken(f"the process that loads it {ended}") from None


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked, in the child."""
    if request["do"] == "revive":
        return {"repr": repr(pickle.loads(base64.b64decode(request["pickle"])))}
    from anymodal import families, hookspecs
    from anymodal.plugins import loader as loading
    from anymodal.testing.choose import find

    assert families and hookspecs and loading  # loaded before the clock starts
    (target,) = [t for t in find(request["folder"] or request["name"]) if t.name == request["name"]]
    if request["do"] == "make":
        return {"unlike": _unlike(target, pickle.loads(base64.b64decode(request["made"])), request["backwards"])}
    before, touched, shared = set(sys.modules), list[str](), (dict(os.environ), threading.active_count())
    sys.addaudithook(lambda event, arguments: _note(touched, event, arguments))
    start, error = time.process_time(), ""
    try:
        target.load()
    except Exception as problem:
        error = f"{problem}"
    seconds = time.process_time() - start
    seen = (*touched, *_changed(*shared))
    heavy = tuple(name for name in HEAVY if name in sys.modules and name not in before)
    changes = tuple(problem.message for problem in target.plugins.problems if not problem.fatal)
    return attrs.asdict(Facts(error, heavy, seconds, changes, seen, _others(target)))


def _unlike(target: Target, made: Sequence[Any], backwards: bool) -> list[int]:
    """As `unlike`, in the child."""
    from anymodal.outputs.equality import same
    from anymodal.testing.tiny import shrunk
    from anymodal.testing.values import examples

    modality = shrunk(target.load())
    make = modality.spell if modality.spelled else modality.preprocess
    numbered = [*enumerate(zip(examples(modality), made, strict=True))]
    return [k for k, (example, wanted) in numbered[:: -1 if backwards else 1] if not same(make(example.value), wanted)]


def _changed(environ: dict[str, str], threads: int) -> list[str]:
    """What differs now in the environment and in the number of threads."""
    keys = sorted(key for key in {*environ, *os.environ} if environ.get(key) != os.environ.get(key))
    started = ["starts a thread"] if threading.active_count() > threads else []
    return [*(f"changes the environment variable {key}" for key in keys), *started]


def _others(target: Target) -> tuple[str, ...]:
    """What is wrong with what the distribution of a modality provides beside modalities."""
    home = target.candidate.distribution if target.candidate else None
    beside = [c for c in target.plugins.candidates() if c.distribution == home and c.kind != "modality"]
    return tuple(str(p) for candidate in beside for p in target.plugins.check(candidate) if p.fatal)


def _writes(path: Any, mode: str | None, flags: int) -> bool:
    """Whether a file is opened for writing by its path; a descriptor was opened by one before, as `os.open` does."""
    if isinstance(path, int):
        return False
    return bool(set(mode) & set("wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _note(touched: list[str], event: str, arguments: tuple[Any, ...]) -> None:
    """Remember files opened for writing, connections and processes."""
    if event == "open" and _writes(*arguments):
        path = str(arguments[0])
        if "__pycache__" not in path and not path.startswith(os.devnull):
            touched.append(f"opens {Path(path).name} for writing")
    elif event in WATCHED and "__pycache__" not in str(arguments[0]):
        touched.append(f"causes the event {event}")


if __name__ == "__main__":
    answer(main)
