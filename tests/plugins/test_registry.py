"""The registry with real distributions on disk: every way of being broken, and a neighbor that never notices."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import warnings
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import attrs
import numpy as np
import pytest

import anymodal
from anymodal.errors import ConfigError, PluginError, UnknownModality, ValueProblem
from anymodal.modality import Modality
from anymodal.plugins.directory import directory, exists, suggestion
from anymodal.plugins.guard import blame
from anymodal.plugins.isolated import probe, probed
from anymodal.plugins.registry import Registry, summary, use
from anymodal.spaces import Stream, TokenSpace

MODALITY = """
from anymodal.hookspecs import hookimpl
from anymodal.modality import Modality
from anymodal.spaces import Stream, TokenSpace


class {name}(Modality):
    '''A modality of a test.'''

    def streams(self):
        return (Stream(self.name, self.name, TokenSpace.grid(16, 2, 2)),)
"""
IMPORTS = MODALITY.partition("class")[0]
MAIN = Stream("odd", "odd", TokenSpace.grid(16, 2, 2))


class Shelf:
    """A folder that looks like site-packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(
        self,
        distribution: str,
        entries: dict[str, str] | str,
        modules: dict[str, str] | None = None,
        version: str = "1.2",
        requires: str = "anymodal>=0.1",
        metadata: bool = True,
    ) -> Shelf:
        """Lay out one installed distribution."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata:
            fields = (
                f"Name: {distribution}\nVersion: {version}\nSummary: About {distribution}\nRequires-Dist: {requires}"
            )
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{fields}\n")
        lines = entries if isinstance(entries, str) else "\n".join(f"{k} = {v}" for k, v in entries.items())
        (info / "entry_points.txt").write_text(f"[anymodal]\n{lines}\n")
        for module, source in (modules or {}).items():
            (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        return self

    def entries(self) -> list[EntryPoint]:
        return [e for d in distributions(path=[str(self.folder)]) for e in d.entry_points if e.group == "anymodal"]

    def registry(self, **environ: str) -> Registry:
        return Registry(self.entries(), environ)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty shelf on `sys.path`, with one healthy modality; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Shelf(tmp_path).put(
        "healthy-one", {"healthy": "am_healthy:Healthy"}, {"am_healthy": MODALITY.format(name="Healthy")}
    )
    for name in set(sys.modules) - before:
        if name.startswith("am_"):
            del sys.modules[name]


@attrs.frozen
class Case:
    """One way of being broken: where it shows and words that the report must hold."""

    kind: str
    stage: str
    words: str
    source: str = ""
    value: str = "am_odd:Odd"
    entry: str = "odd"
    requires: str = "anymodal>=0.1"
    metadata: bool = True


CASES = [
    Case("2 no distribution", "metadata", "no installed distribution; reinstall", metadata=False),
    Case("3 malformed value", "metadata", "malformed value 'am odd:'; write it as `module:Class`", value="am odd:"),
    Case("4 another core", "metadata", "requires anymodal >=99, and this is", requires="anymodal>=99"),
    Case("4 malformed requirement", "metadata", "malformed requirement", requires="anymodal>>=1"),
    Case("5 missing dependency", "load", "needs the module 'am_absent', which is missing; pip install odd-one",
         "import am_absent.part"),
    Case("6 syntax error", "load", "syntax error in", "def broken(:\n    pass"),
    Case("7 exception", "load", "raises at import: ZeroDivisionError", "1 / 0"),
    Case("8 exit", "load", "it calls sys.exit(3)", "import sys\nsys.exit(3)"),
    Case("9 missing module", "load", "its module 'am_gone' is missing; pip install --force-reinstall odd-one",
         value="am_gone:Odd"),
    Case("10 missing attribute", "load", "has no 'Oddd'; correct the entry point; did you mean 'Odd'?",
         MODALITY.format(name="Odd"), value="am_odd:Oddd"),
    Case("10 attribute that raises", "load", "raises when asked for 'Odd': KeyError",
         "def __getattr__(name):\n    raise KeyError(name)"),
    Case("11 newer API", "load", "needs plugin API 1.99, and this is 1.0; pip install --upgrade anymodal",
         MODALITY.format(name="Odd") + "    api = '1.99'\n"),
    Case("11 older API", "load", "needs plugin API 0.9, and this is 1.0; pip install --upgrade odd-one",
         MODALITY.format(name="Odd") + "    api = '0.9'\n"),
    Case("11 API of a module", "load", "needs plugin API 2.0", "api = '2.0'", value="am_odd"),
    Case("11 API that is none", "load", "states the plugin API 1.0; write it as '1.0'",
         MODALITY.format(name="Odd") + "    api = 1.0\n"),
    Case("14 wrong argument", "register", "Argument(s) {'extra'}",
         IMPORTS + "@hookimpl\ndef anymodal_modalities(extra):\n    return []", value="am_odd"),
    Case("15 unknown hook", "register", "unknown hook 'anymodal_modality'",
         IMPORTS + "@hookimpl\ndef anymodal_modality():\n    return []", value="am_odd"),
    Case("15 hook without its mark", "register", "decorate anymodal_modalities with @hookimpl",
         "def anymodal_modalities():\n    return []", value="am_odd"),
    Case("15 no hook", "register", "provides nothing of its kind; let it implement anymodal_modalities", "x = 1",
         value="am_odd"),
    Case("16 inspection raises", "register", "RuntimeError: do not look",
         "class Shy:\n    def __dir__(self):\n        raise RuntimeError('do not look')\nshy = Shy()",
         value="am_odd:shy"),
    Case("17 hook raises", "call", "anymodal_modalities raises: ValueError: no",
         IMPORTS + "@hookimpl\ndef anymodal_modalities():\n    raise ValueError('no')", value="am_odd"),
    Case("17 hook exits", "call", "it calls sys.exit(None)",
         IMPORTS + "@hookimpl\ndef anymodal_modalities():\n    raise SystemExit", value="am_odd"),
    Case("18 no list", "call", "anymodal_modalities returns int; return a list",
         IMPORTS + "@hookimpl\ndef anymodal_modalities():\n    return 5", value="am_odd"),
    Case("18 nothing", "call", "anymodal_modalities returns NoneType",
         IMPORTS + "@hookimpl\ndef anymodal_modalities():\n    return None", value="am_odd"),
    Case("19 instances", "validate", "'Odd' is not a Modality class; return the class",
         MODALITY.format(name="Odd") + "\n@hookimpl\ndef anymodal_modalities():\n    return [Odd()]", value="am_odd"),
    Case("19 names", "validate", "'odd' is not a Modality class",
         IMPORTS + "@hookimpl\ndef anymodal_modalities():\n    return ['odd']", value="am_odd"),
    Case("20 bad name of an entry", "metadata", "a name of no known kind; a modality is [a-z]", entry="Odd-Thing",
         source=MODALITY.format(name="Odd")),
    Case("21 empty space", "validate", "positive whole number for 'size', got 0",
         MODALITY.format(name="Odd").replace("grid(16", "grid(0")),
    Case("21 no streams", "validate", "cannot say its streams: NotImplementedError",
         IMPORTS + "class Odd(Modality): pass"),
    Case("22 abstract methods", "validate", "leaves abstract methods: palette",
         MODALITY.format(name="Odd").replace("(Modality)", "(Modality, abc.ABC)")
         + "    @abc.abstractmethod\n    def palette(self): ...\n"),
    Case("23 other name", "validate", "announces odd but provides strange", MODALITY.format(name="Strange"),
         value="am_odd:Strange"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_broken_plugin_is_explained_and_hurts_nobody(shelf, case):
    source = "import abc\n" + case.source if "abc." in case.source else case.source
    shelf.put("odd-one", {case.entry: case.value}, {"am_odd": source}, requires=case.requires, metadata=case.metadata)
    registry = shelf.registry()
    with pytest.raises(PluginError) as caught:
        registry.modality(case.entry)
    assert case.words in str(caught.value)
    (problem,) = [p for p in registry.problems if p.fatal]
    assert (problem.plugin, problem.stage) == (case.entry, case.stage)
    assert (problem.distribution, problem.version) == (("odd-one", "1.2") if case.metadata else ("", ""))
    assert registry.modality("healthy").__name__ == "Healthy"
    with pytest.raises(PluginError, match="odd"):
        registry.modality(case.entry)
    assert len(registry.problems) == 1, "a broken plugin is loaded once"
    with pytest.raises(PluginError, match="odd"):
        shelf.registry(ANYMODAL_STRICT="1").modality(case.entry)


def test_declared_twice(shelf):
    """Kind 1, within one distribution."""
    shelf.put("odd-one", "odd = am_odd:A\nodd = am_odd:B")
    registry = shelf.registry()
    with pytest.raises(PluginError, match="is declared 2 times, as am_odd:A and am_odd:B"):
        registry.modality("odd")
    assert list(registry.modalities()) == ["healthy"]


def conflict(shelf: Shelf) -> Shelf:
    for letter in "ab":
        source = MODALITY.format(name="Odd") + f"    letter = '{letter}'\n"
        shelf.put(f"odd-{letter}", {"odd": f"am_odd_{letter}:Odd"}, {f"am_odd_{letter}": source})
    return shelf


def test_of_two_providers_nobody_wins(shelf):
    """Kind 1, between distributions; both ways out work as the message says them."""
    registry = conflict(shelf).registry()
    assert list(registry.modalities()) == ["healthy"]
    with pytest.raises(PluginError) as caught:
        registry.modality("odd")
    for words in ("provided by odd-a and odd-b", "'odd-a:odd' or 'odd-b:odd'", "ANYMODAL_PREFER=odd=odd-a"):
        assert words in str(caught.value)
    assert {p.stage for p in registry.problems} == {"conflict"}
    assert registry.modality("odd-b:odd").letter == "b"
    assert registry.modality("Odd_B:odd").letter == "b"
    assert shelf.registry(ANYMODAL_PREFER="odd=odd-a").modality("odd").letter == "a"
    preferring = shelf.registry(ANYMODAL_PREFER="odd=odd_b")
    assert preferring.modality("odd").letter == "b"
    assert not preferring.problems
    assert shelf.registry(ANYMODAL_DISABLE="odd-a").modality("odd").letter == "b"


def test_preference_that_makes_no_sense(shelf):
    with pytest.raises(ConfigError, match="ANYMODAL_PREFER needs name=distribution, got 'odd'"):
        shelf.registry(ANYMODAL_PREFER="odd").modalities()


def test_preference_of_one_that_does_not_provide_it(shelf):
    for letter in "ab":
        shelf.put(f"odd-{letter}", {"odd": f"am_odd_{letter}:Odd"}, {f"am_odd_{letter}": MODALITY.format(name="Odd")})
    registry = shelf.registry(ANYMODAL_PREFER="odd=odd-c")
    assert list(registry.modalities()) == ["healthy"]
    assert "not by 'odd-c' that ANYMODAL_PREFER names" in registry.problems[0].message


@pytest.mark.parametrize("off", ["healthy", "healthy-one", "healthy_one", "healthy-one:healthy", "*", "x, healthy"])
def test_switched_off(shelf, off):
    registry = shelf.registry(ANYMODAL_DISABLE=off)
    assert registry.modalities() == {}
    with pytest.raises(PluginError, match="switched off by ANYMODAL_DISABLE"):
        registry.modality("healthy")


def test_a_switched_off_plugin_has_no_problems(shelf):
    shelf.put("odd-one", {"odd": "no good:"})
    assert shelf.registry(ANYMODAL_DISABLE="odd").catalog.problems == ()


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
    (problem,) = probe(shelf.registry().catalog.usable["odd-one:odd"], 1.5).problems
    assert words in problem.message
    assert probe(shelf.registry().catalog.usable["healthy-one:healthy"], 30).problems == ()


def test_one_child_process_loads_all_and_each_its_own_when_one_hurts(shelf, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(shelf.folder))
    started = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **options: started.append(1) or run(command, **options))
    shelf.put("bad-one", {"bad": "am_bad:Bad"}, {"am_bad": "1 / 0"})
    candidates = list(shelf.registry().catalog.usable.values())
    found = dict(zip([c.name for c in candidates], [f.problems for f in probed(candidates, 30)], strict=True))
    assert len(started) == 1 and "ZeroDivisionError" in found.pop("bad")[0].message and not any(found.values())
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": "import os\nos.abort()"})
    candidates = list(shelf.registry().catalog.usable.values())
    found = dict(zip([c.name for c in candidates], [f.problems for f in probed(candidates, 30)], strict=True))
    assert len(started) == 2 + len(candidates)
    assert "dies of SIGABRT" in found.pop("odd")[0].message and "ZeroDivisionError" in found.pop("bad")[0].message
    assert found and not any(found.values())


def test_a_child_process_reports_what_the_registry_says(shelf, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(shelf.folder))
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": "import os\nos.write(1, b'native noise')\n1 / 0"})
    (problem,) = probe(shelf.registry().catalog.usable["odd-one:odd"], 30).problems
    assert "ZeroDivisionError" in problem.message
    assert "am_odd.py" in problem.trace


def test_listing_imports_nothing(shelf):
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": "raise SystemExit"})
    registry = shelf.registry()
    assert list(registry.modalities()) == ["healthy", "odd"]
    candidate = registry.modalities()["healthy"]
    assert (candidate.distribution, candidate.version, candidate.summary) == ("healthy-one", "1.2", "About healthy-one")
    assert not {"am_odd", "am_healthy"} & set(sys.modules)
    registry.modality("healthy")
    assert "am_odd" not in sys.modules


def test_unknown_names_come_with_a_way_out(shelf):
    with pytest.raises(UnknownModality, match=r"'heathy'; did you mean 'healthy'\?$"):
        shelf.registry().modality("heathy")
    with pytest.raises(UnknownModality, match=r"try: pip install anymodal-canny-edge$"):
        shelf.registry().modality("canny_edge")
    with pytest.raises(UnknownModality, match="pip install numpy"):
        shelf.registry().modality("numpy:healthy")


@pytest.mark.parametrize("name", ["thermal_camera", "other-one:healthy", "../up:healthy", "-r x:healthy", "zzz"])
def test_only_packages_that_exist_are_suggested(shelf, name):
    with pytest.raises(UnknownModality) as caught:
        shelf.registry().modality(name)
    assert "pip" not in str(caught.value), caught.value


def test_the_directory_holds_our_plugins_and_nothing_else():
    assert {"anymodal-depth", "anymodal-tiny"} <= directory()
    assert not {"numpy", "ray", "anymodal"} & directory()
    assert suggestion("anymodal-depth", "evil-depth", "anymodal-depth") == "pip install anymodal-depth"
    assert suggestion("evil-depth") == "" and not exists("numpy; rm -rf /")


def test_one_module_may_serve_several_entry_points(shelf):
    source = MODALITY.format(name="Left") + MODALITY.format(name="Right")
    source += "@hookimpl\ndef anymodal_modalities():\n    return [Left, Right]"
    registry = shelf.put("pair", {"left": "am_pair", "right": "am_pair"}, {"am_pair": source}).registry()
    left, right = registry.modality("left"), registry.modality("right")
    assert (left.__name__, right.__name__) == ("Left", "Right")
    assert registry.origin(left).key == "pair:left"
    assert not registry.problems


def test_presets_and_labelers(shelf):
    source = IMPORTS + textwrap.dedent("""
        from anymodal import Labeler

        class Guess(Labeler):
            modality = "left"

            def label(self, samples):
                return [sample["rgb"] for sample in samples]

        @hookimpl
        def anymodal_presets():
            return {"small": "/somewhere"}

        @hookimpl
        def anymodal_labelers():
            return {"guess": Guess, "length": len, "idle": Labeler}
        """)
    names = ("preset-small", "labeler-guess", "labeler-length", "labeler-idle")
    shelf.put("extras", dict.fromkeys(names, "am_extras"), {"am_extras": source})
    shelf.put("poor", {"preset-poor": "am_poor"}, {"am_poor": "1 / 0"})
    registry = shelf.registry()
    assert registry.preset("small") == "/somewhere"
    assert registry.presets() == {"small": "/somewhere"}
    assert registry.labeler("guess")().label([{"rgb": 1}]) == [1]
    assert list(registry.labelers()) == ["guess", "idle", "length"]
    with pytest.raises(PluginError, match="'len' is not a Labeler class"):
        registry.labeler("length")
    with pytest.raises(PluginError, match="names the modality ''"):
        registry.labeler("idle")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        registry.preset("poor")
    with pytest.raises(UnknownModality, match="provides the preset 'smal'; did you mean 'small'"):
        registry.preset("smal")


def notebook_class(letter: str = "") -> type[Modality]:
    class Planet(Modality):
        """Pictures of a planet."""

        mark = letter

        def streams(self):
            return (Stream("planet", "planet", TokenSpace.grid(8, 2, 2)),)

    return Planet


def test_classes_of_a_notebook(shelf):
    registry = shelf.registry()
    registry.add(notebook_class("a"))
    assert registry.modality("planet").mark == "a"
    assert registry.add(notebook_class("b")).mark == "b", "running a cell again replaces the class"
    assert registry.modality("planet").mark == "b"
    assert registry.modalities()["planet"].summary == "Pictures of a planet."
    assert registry.modality(notebook_class("c")).mark == "c", "a class goes where a name goes"


def test_adding_does_not_win_silently(shelf):
    registry = shelf.registry()
    cls = notebook_class()
    cls.name = "healthy"
    cls.streams = lambda self: (Stream("healthy", "healthy", TokenSpace.grid(8, 2, 2)),)
    with pytest.raises(PluginError, match=r"provided by healthy-one 1\.2; rename the class, or pass replace=True"):
        registry.add(cls)
    registry.add(cls, replace=True)
    assert registry.modality("healthy") is cls


@pytest.mark.parametrize("thing", [5, "planet", notebook_class()(), int, Modality])
def test_adding_what_is_no_usable_class(shelf, thing):
    with pytest.raises(PluginError):
        shelf.registry().add(thing)


@pytest.mark.parametrize("name", ["Planet", "2d", "a-b", ""])
def test_adding_a_bad_name(shelf, name):
    """Kind 20, of a class."""
    cls = notebook_class()
    cls.name = name
    with pytest.raises(PluginError, match="must match"):
        shelf.registry().add(cls)


def test_an_interrupted_import_can_be_tried_again(shelf):
    source = "import sys\nif not hasattr(sys, 'am_tried'):\n    sys.am_tried = 1\n    raise KeyboardInterrupt\n"
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": source + MODALITY.format(name="Odd")})
    registry = shelf.registry()
    with pytest.raises(KeyboardInterrupt):
        registry.modality("odd")
    assert registry.modality("odd").name == "odd"
    del sys.am_tried


def test_strict_raises_for_what_is_only_untidy(shelf):
    shelf.put("odd-one", {"odd": "am_odd:Odd"}, {"am_odd": "print('hello')" + MODALITY.format(name="Odd")})
    registry = shelf.registry(ANYMODAL_STRICT="1")
    with pytest.raises(PluginError, match="prints to stdout"):
        registry.modality("odd")
    assert registry.modality("odd").name == "odd", "it is imported by now and prints no more"


def test_trace_shows_hook_calls(shelf, capsys):
    shelf.registry(ANYMODAL_TRACE="1").modality("healthy")
    assert "anymodal: healthy-one:healthy anymodal_modalities -> [[<class" in capsys.readouterr().err


def test_blame_names_everything():
    cls = notebook_class()
    with pytest.raises(PluginError) as caught, blame(cls(), "preprocess", np.zeros((3, 4), np.float32)):
        [].pop()
    for words in (
        "'planet'",
        "test_registry",
        "failed in preprocess of ndarray of shape (3, 4) and dtype float32",
        "IndexError: pop",
    ):
        assert words in str(caught.value)
    assert isinstance(caught.value.__cause__, IndexError)


def test_blame_survives_exits_and_errors_without_words():
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    for error, words in ((SystemExit(3), "SystemExit: 3"), (Mute(), "Mute: without words")):
        with pytest.raises(PluginError, match=f"failed in show: {words}"), blame(notebook_class(), "show"):
            raise error


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (5, "a tuple of Stream, not 5"),
        ((1, 2), r"a tuple of Stream, not \(1, 2\)"),
        ((MAIN, MAIN), "two streams .* the same name"),
    ],
)
def test_streams_that_are_none_are_refused(returned, words):
    class Odd(Modality):
        """Says something else."""

        def streams(self):
            return returned

    with pytest.raises(PluginError, match=words):
        Registry([], {}).add(Odd)


def test_a_docstring_that_is_no_text_is_no_summary():
    cls = notebook_class()
    cls.__doc__ = 5
    assert summary(cls) == ""


def test_blame_lets_our_own_errors_pass():
    with pytest.raises(ValueProblem, match=r"^as it is$"), blame(notebook_class(), "read", "x"):
        raise ValueProblem("as it is")


def test_problems_are_logged_once(shelf, caplog):
    shelf.put("odd-one", {"odd": "no good:"})
    registry = shelf.registry()
    registry.modalities(), registry.modalities()
    (record,) = caplog.records
    assert "plugin odd (odd-one 1.2, metadata): has the malformed value" in record.getMessage()


def test_a_metric_is_added_without_the_core():
    """Scores are those of the class in use: a subclass adds one, here and wherever the modality is scored."""
    registry = Registry()
    depth = registry.modality("depth")

    class Depth(depth):
        """Depth with one more metric."""

        name = "depth"

        def score(self, predictions, truths):
            gaps = [np.abs(p - t).max() for p, t in zip(predictions, truths, strict=True)]
            return {**super().score(predictions, truths), "worst": float(max(gaps))}

    registry.add(Depth, replace=True)
    with use(registry):
        scored = anymodal.ModalitySet(["depth"])["depth"].score([np.ones((2, 2))], [np.full((2, 2), 3.0)])
    assert scored["worst"] == 2 and "abs_rel" in scored
