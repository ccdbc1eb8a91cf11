"""Tables of choices: what is in them, and how another distribution adds to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from small_runs import installed

from anymodal.config import structure
from anymodal.config.tables import _TABLES, SettingsTable
from anymodal.config.validators import between, count, each, positive, whole
from anymodal.errors import ConfigError, PluginError, counted


@attrs.frozen(kw_only=True)
class Shape:
    """A base without fields of its own."""

    name: str = attrs.field(init=False)


@pytest.fixture
def shapes() -> Iterator[SettingsTable[Shape]]:
    table = SettingsTable(Shape, "shape", default="circle")

    @table.add
    @attrs.frozen(kw_only=True)
    class Circle(Shape):
        name: str = attrs.field(init=False, default="circle")
        radius: float = attrs.field(default=1.0, validator=positive)

    @table.add
    @attrs.frozen(kw_only=True)
    class Box(Shape):
        name: str = attrs.field(init=False, default="box")
        sides: tuple[int, ...] = attrs.field(converter=tuple, validator=each(whole, length=2))

    yield table
    del _TABLES[Shape]


@attrs.frozen(kw_only=True)
class Drawing:
    shape: Shape = attrs.field()


def test_a_block_a_name_and_nothing_make_settings(shapes: SettingsTable[Shape]) -> None:
    box = structure({"shape": {"name": "box", "sides": [2, 3]}}, Drawing, "a file").shape
    assert box.sides == (2, 3) and shapes(attrs.asdict(box)) == box and shapes(box) is box  # type: ignore[attr-defined]
    assert structure({"shape": "circle"}, Drawing, "a file") == structure({"shape": None}, Drawing, "a file")
    assert structure({"shape": {"radius": 2}}, Drawing, "a file").shape.radius == 2.0  # type: ignore[attr-defined]
    assert list(shapes) == ["circle", "box"] and "box" in shapes and "cone" not in shapes


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("boks", "a file: shape: there is no shape 'boks'; did you mean 'box'\\?; choose from circle, box"),
        ({"name": 3}, "a file: shape: a shape is a name or a block with 'name', got"),
        ([1], "a file: shape: a shape is a name or a block with 'name', got"),
        ({"name": "box"}, "a file: shape.sides must be given"),
        ({"name": "box", "sides": [1, 2, 3]}, "Box.sides must be 2 values"),
        ({"name": "box", "size": 1}, "unknown key 'shape.size'; did you mean 'sides'"),
        ({"radius": "much"}, "shape.radius must be a number, got 'much'"),
        ({"radius": -1}, "Circle.radius must be above 0 and finite, got -1"),
    ],
)
def test_what_does_not_fit_names_the_place(shapes: SettingsTable[Shape], block: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        structure({"shape": block}, Drawing, "a file")


def test_a_distribution_adds_a_choice(
    shapes: SettingsTable[Shape], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"""
import attrs
from {__name__} import Shape

@attrs.frozen(kw_only=True)
class Added(Shape):
    name: str = attrs.field(init=False, default="cone")
"""
    installed(tmp_path, "cones", "anymodal.shapes", "cone", code)
    installed(tmp_path, "broken", "anymodal.shapes", "torus", "raise RuntimeError('torn')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert set(shapes) == {"circle", "box", "cone", "torus"}
    assert type(structure({"shape": "cone"}, Drawing, "a file").shape).__module__ == "cones"
    with pytest.raises(PluginError, match=r"the shape 'torus' \(broken:Added\) cannot be used: torn"):
        shapes["torus"]


def test_one_thing_is_counted_as_one():
    assert [counted(count, "sample") for count in (0, 1, 2)] == ["0 samples", "1 sample", "2 samples"]
    assert [counted(1, what) for what in ("modality", "pass", "process", "entry")] == [
        "1 modality", "1 pass", "1 process", "1 entry",
    ]  # fmt: skip
    assert [counted(3, what) for what in ("modality", "pass", "process", "entry")] == [
        "3 modalities", "3 passes", "3 processes", "3 entries",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "group"),
    [
        ("shape", "shapes"), ("family", "families"), ("progress display", "progress_displays"), ("search", "searches"),
        ("kind of terminal pictures", "kind_of_terminal_pictures"),
        ("learning-rate schedule", "learning_rate_schedules"),
    ],
)  # fmt: skip
def test_a_group_of_entry_points_is_the_plural_of_what_is_in_it(what: str, group: str) -> None:
    class Base:
        pass

    try:
        assert SettingsTable(Base, what).group == f"anymodal.{group}"
    finally:
        del _TABLES[Base]


def test_a_class_without_a_name_and_a_name_that_is_taken_are_refused(shapes: SettingsTable[Shape]) -> None:
    @attrs.frozen(kw_only=True)
    class Nameless(Shape):
        name: str = "nameless"

    @attrs.frozen(kw_only=True)
    class Other(Shape):
        name: str = attrs.field(init=False, default="box")

    with pytest.raises(ConfigError, match="needs a field 'name'"):
        shapes.add(Nameless)
    with pytest.raises(ConfigError, match="there is a shape 'box' already"):
        shapes.add(Other)
    with pytest.raises(ConfigError, match="str is no Shape"):
        shapes.add(str)  # type: ignore[arg-type]


def test_validators_name_the_field_the_bound_and_the_value() -> None:
    @attrs.frozen
    class Numbers:
        blocks: int = attrs.field(default=1, validator=count(1000))
        share: float = attrs.field(default=0.5, validator=between(0, 1, below=True))

    for given, message in [
        ({"blocks": 0}, "Numbers.blocks must be from 1 to 1000, got 0"),
        ({"blocks": 10**9}, "Numbers.blocks must be from 1 to 1000, got 1e[+]09"),
        ({"blocks": True}, "Numbers.blocks must be a whole number, got True"),
        ({"share": 1}, r"Numbers.share must be in \[0, 1\), got 1"),
        ({"share": float("nan")}, r"Numbers.share must be in \[0, 1\), got nan"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Numbers(**given)
