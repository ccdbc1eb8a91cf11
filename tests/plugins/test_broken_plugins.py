"""Every way of being broken, and a neighbor that never notices."""

from __future__ import annotations

import attrs
import pytest
from shelves import IMPORTS, MODALITY, Shelf

from anymodal.errors import ConfigError, PluginError


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
    Case("11 class of no modality", "load", "is a class of no modality; derive it from ImageModality or another family",
         "class Odd:\n    pass\n"),
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
