"""What a plugin does to the whole process while it loads is undone and named; what would end it, runs in another."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from processor_time import patience
from shelves import MODALITY

from anymodal.plugins import isolated
from anymodal.plugins.isolated import probe, probed


def test_prints_at_import(shelf, capsys):
    """Kind 12: the plugin works, the output is kept off stdout and reported."""
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": "print('loading...')\n" + MODALITY.format(name="Odd")})
    registry = shelf.registry()
    assert registry.modality("odd").name == "odd"
    (problem,) = registry.problems
    assert "prints to stdout while it is loaded: 'loading...'" in problem.message
    assert not problem.fatal
    assert capsys.readouterr().out == ""


GLOBALS = {
    "random state of Python": "import random\nrandom.seed(1)",
    "random state of numpy": "import numpy\nnumpy.random.seed(1)",
    "random state of torch": "import torch\ntorch.manual_seed(1)",
    "default dtype of torch": "import torch\ntorch.set_default_dtype(torch.float64)",
    "filters of warnings": "import warnings\nwarnings.simplefilter('ignore')",
    "level of the root logger": "import logging\nlogging.getLogger().setLevel(1)",
    "handlers of the root logger": "import logging\nlogging.getLogger().addHandler(logging.NullHandler())",
    "limit of recursion": "import sys\nsys.setrecursionlimit(sys.getrecursionlimit() - 1)",
    "working directory": "import os\nos.chdir('/')",
    "gradients of torch": "import torch\ntorch.set_grad_enabled(False)",
    "errors of numpy": "import numpy\nnumpy.seterr(all='ignore')",
    "threads of torch": "import torch\ntorch.set_num_threads(torch.get_num_threads() + 1)",
    "default device of torch": "import torch\ntorch.set_default_device('meta')",
    "deterministic algorithms of torch": "import torch\ntorch.use_deterministic_algorithms(True)",
    "autocast of torch": "import torch\ntorch.set_autocast_enabled('cpu', True)",
    "precision of matrix products of torch": "import torch\ntorch.set_float32_matmul_precision('medium')",
    "environment variable SOME_TOKEN": "import os\nos.environ['SOME_TOKEN'] = 'x'",
    "mask of new files": "import os\nos.umask(0o777)",
    "what SIGINT does": "import signal\nsignal.signal(signal.SIGINT, lambda *_: None)",
    "what SIGTERM does": "import signal\nsignal.signal(signal.SIGTERM, lambda *_: None)",
    "sys.stderr": "import sys\nsys.stderr = None",
    "collector of garbage": "import gc\ngc.disable()",
    "timeout of sockets": "import socket\nsocket.setdefaulttimeout(0.001)",
    "level below which logging": "import logging\nlogging.disable(50)",
}


@pytest.mark.parametrize("what", GLOBALS)
def test_global_change_is_undone_and_reported(shelf, what):
    """Kind 13."""
    import torch

    def state():
        level = logging.getLogger().level
        return (
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_default_dtype(),
            level,
            warnings.filters[:],
            logging.getLogger().handlers[:],
            sys.getrecursionlimit(),
            Path.cwd(),
            torch.is_grad_enabled(),
            np.geterr(),
            torch.get_num_threads(),
            torch.empty(0).device,
            torch.are_deterministic_algorithms_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_float32_matmul_precision(),
            dict(os.environ),
            signal.getsignal(signal.SIGINT),
            signal.getsignal(signal.SIGTERM),
            sys.stderr,
            gc.isenabled(),
            socket.getdefaulttimeout(),
            logging.root.manager.disable,
        )

    torch.use_deterministic_algorithms(True)  # the first time it imports a compiler, which has filters of its own
    torch.use_deterministic_algorithms(False)
    before, seed = state(), torch.get_rng_state()
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": GLOBALS[what] + MODALITY.format(name="Odd")})
    registry = shelf.registry()
    assert registry.modality("odd").name == "odd"
    assert registry.modality("healthy").name == "healthy"
    (problem,) = [each for each in registry.problems if what in each.message]
    assert not problem.fatal
    assert state() == before
    assert torch.equal(torch.get_rng_state(), seed)


def test_a_closed_stdout_hurts_nobody(shelf, capsys):
    source = "import sys\nsys.stdout.write('bye')\nsys.stdout.close()\n"
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": source + MODALITY.format(name="Odd")})
    registry = shelf.registry()
    assert registry.modality("odd").name == "odd" and registry.modality("healthy").name == "healthy"
    assert "prints to stdout while it is loaded: 'bye'" in registry.problems[0].message
    sys.stdout.write("open")
    assert capsys.readouterr().out == "open"


def test_limited_warning_filters_are_nobodys_business(shelf):
    source = "import warnings\nwarnings.filterwarnings('ignore', message='about am_odd')"
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": source + MODALITY.format(name="Odd")})
    registry = shelf.registry()
    with warnings.catch_warnings():
        registry.modality("odd")
    assert not registry.problems


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import time\ntime.sleep(60)", "is not loaded after 1.5 seconds"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "dies of SIGSEGV"),
        ("import os\nos._exit(5)", "exits with 5, no message"),
        ("import atexit\natexit.register(lambda: print('bye'))\n1 / 0", "exits with 0"),
        ("import json\njson.dumps = None", "TypeError: 'NoneType' object is not callable"),
    ],
)
def test_a_child_process_finds_what_would_hurt_this_one(shelf, monkeypatch, source, words):
    """Kinds 26 and 27."""
    monkeypatch.setenv("PYTHONPATH", str(shelf.folder))
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": source})
    seconds = 1.5 if "sleep" in source else patience(30)
    (problem,) = probe(shelf.registry().catalog.usable["odd-one:odd"], seconds).problems
    assert words in problem.message
    assert probe(shelf.registry().catalog.usable["healthy-one:healthy"], patience(30)).problems == ()


def test_one_child_process_loads_all_and_each_its_own_when_one_hurts(shelf, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(shelf.folder))
    started = []
    run = subprocess.run
    monkeypatch.setattr(isolated, "TOGETHER", patience(30))
    monkeypatch.setattr(subprocess, "run", lambda command, **options: started.append(1) or run(command, **options))
    shelf.put("bad-one", {"bad": "am_bad:Bad"}, {"am_bad": "1 / 0"})
    candidates = list(shelf.registry().catalog.usable.values())
    found = dict(zip([c.name for c in candidates], [f.problems for f in probed(candidates, patience(30))], strict=True))
    assert len(started) == 1 and "ZeroDivisionError" in found.pop("bad")[0].message and not any(found.values())
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": "import os\nos.abort()"})
    candidates = list(shelf.registry().catalog.usable.values())
    found = dict(zip([c.name for c in candidates], [f.problems for f in probed(candidates, patience(30))], strict=True))
    assert len(started) == 2 + len(candidates)
    assert "dies of SIGABRT" in found.pop("odd")[0].message and "ZeroDivisionError" in found.pop("bad")[0].message
    assert found and not any(found.values())


def test_a_child_process_reports_what_the_registry_says(shelf, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(shelf.folder))
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": "import os\nos.write(1, b'native noise')\n1 / 0"})
    (problem,) = probe(shelf.registry().catalog.usable["odd-one:odd"], 30).problems
    assert "ZeroDivisionError" in problem.message
    assert "am_odd.py" in problem.trace
