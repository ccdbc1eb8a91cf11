"""The registry with real distributions on disk: listing, unknown names, presets, classes of a notebook, blame."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest
from shelves import IMPORTS, MODALITY

import anymodal
from anymodal.errors import ConfigError, PluginError, UnknownModality, ValueProblem
from anymodal.hookspecs import Preset
from anymodal.modality import Modality
from anymodal.plugins.directory import directory, exists, suggestion
from anymodal.plugins.guard import blame
from anymodal.plugins.registry import Registry, summary, use
from anymodal.spaces import Stream, TokenSpace

MAIN = Stream("odd", "odd", TokenSpace.grid(16, 2, 2))


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
        from anymodal import Labeler, Preset

        class Guess(Labeler):
            modality = "left"

            def label(self, samples):
                return [sample["rgb"] for sample in samples]

        @hookimpl
        def anymodal_presets():
            return {"small": "/somewhere", "part": Preset("/somewhere", ["left"]), "five": 5}

        @hookimpl
        def anymodal_labelers():
            return {"guess": Guess, "length": len, "idle": Labeler}
        """)
    names = ("preset-small", "preset-part", "preset-five", "labeler-guess", "labeler-length", "labeler-idle")
    shelf.put("extras", dict.fromkeys(names, "am_extras"), {"am_extras": source})
    shelf.put("poor", {"preset-poor": "am_poor"}, {"am_poor": "1 / 0"})
    registry = shelf.registry()
    assert registry.preset("small") == Preset("/somewhere")
    assert registry.presets() == {"part": Preset("/somewhere", ("left",)), "small": Preset("/somewhere")}
    assert registry.labeler("guess")().label([{"rgb": 1}]) == [1]
    assert list(registry.labelers()) == ["guess", "idle", "length"]
    with pytest.raises(PluginError, match="'len' is not a Labeler class"):
        registry.labeler("length")
    with pytest.raises(PluginError, match="names the modality ''"):
        registry.labeler("idle")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        registry.preset("poor")
    with pytest.raises(PluginError, match=r"int is not a preset; return the folder as a text, or anymodal\.Preset"):
        registry.preset("five")
    with pytest.raises(ConfigError, match="expected a list, got 'left'"):
        Preset("/somewhere", "left")
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
