"""Pictures in a terminal while they grow, read back by a small terminal of our own."""

from __future__ import annotations

import base64
import io
import re

import attrs
import numpy as np
import pytest
from PIL import Image
from small_runs import command

from anymodal.cli.live import DRAWINGS, VARIABLE, Blocks, Drawing, ITerm, Kitty, Live, drawing_for
from anymodal.errors import ConfigError

ESCAPE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|\x1b([78])|([\r\n])|(.)", re.DOTALL)
COLORS = re.compile(r"(38|48);2;(\d+);(\d+);(\d+)")


class Screen(io.StringIO):
    """A terminal of 40 lines that scrolls, and knows what half blocks need."""

    encoding = "utf-8"

    def __init__(self, lines: int = 40) -> None:
        super().__init__()
        self.lines: list[dict[int, tuple[str, tuple[int, ...], tuple[int, ...]]]] = [{} for _ in range(lines)]
        self.row = lines - 1
        self.column, self.saved = 0, (0, 0)
        self.ink: dict[str, tuple[int, ...]] = {"38": (), "48": ()}

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for number, kind, cursor, line, character in ESCAPE.findall(text):
            if kind == "m":
                self.ink = {"38": (), "48": ()} if number == "0" else self.ink
                self.ink |= {which: tuple(map(int, rgb)) for which, *rgb in COLORS.findall(number)}
            elif kind in ("A", "B"):
                self.row = min(max(self.row + int(number) * (1 if kind == "B" else -1), 0), len(self.lines) - 1)
            elif kind == "K":
                self.lines[self.row] = {at: cell for at, cell in self.lines[self.row].items() if at < self.column}
            elif cursor == "7":
                self.saved = self.row, self.column
            elif cursor == "8":
                self.row, self.column = self.saved
            elif line == "\r":
                self.column = 0
            elif line == "\n":
                if self.row == len(self.lines) - 1:
                    self.lines = [*self.lines[1:], {}]
                self.row = min(self.row + 1, len(self.lines) - 1)
                self.column = 0
            elif character:
                self.lines[self.row][self.column] = character, self.ink["38"], self.ink["48"]
                self.column += 1
        return len(text)

    def words(self, row: int) -> str:
        return "".join(cell[0] for _, cell in sorted(self.lines[row].items()))

    def picture(self, top: int, rows: int) -> np.ndarray:
        """The colors of half blocks (2 * rows, columns, 3)."""
        found = [[cell[1:] for _, cell in sorted(self.lines[top + row].items())] for row in range(rows)]
        return np.array([[cell[half] for cell in line] for line in found for half in (0, 1)], np.uint8)


def test_half_blocks_are_the_picture():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    screen = Screen()
    screen.write("\n" * 7 + "\x1b[7A\r" + Blocks().text(picture, 6))
    assert np.array_equal(screen.picture(len(screen.lines) - 8, 6), np.asarray(picture))


def test_pictures_grow_in_place_and_leave_the_last_one(small_model):
    """Two targets: each has its place, all steps of it are drawn there, and the cursor is below at the end."""
    screen = Screen(60)
    screen.write("before\n")
    live = Live(small_model.modalities, Blocks(), screen)
    out = small_model.generate({"caption": "a car"}, ["rgb", "depth"], steps=3, scheme="roar", progress=live)
    bottom, high = len(screen.lines) - 1, live.rows + 1
    assert (screen.row, screen.column) == (bottom, 0) and screen.words(bottom) == ""
    assert screen.words(bottom - 1) == "depth 3/3" and screen.words(bottom - 1 - high) == "rgb 3/3"
    assert screen.words(bottom - 2 * high - 1) == "before"
    last = small_model.modalities["rgb"].show(out["rgb"], 320).convert("RGB")
    expected = np.asarray(last.resize((2 * live.rows, 2 * live.rows)))
    assert np.array_equal(screen.picture(bottom - 2 * high, live.rows), expected)


def test_images_are_sent_whole():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", Kitty().text(picture, 9))
    assert [head.rpartition("m=")[2] for head, _ in pieces] == ["1"] * (len(pieces) - 1) + ["0"] and len(pieces) > 1
    assert all(len(data) <= 4096 for _, data in pieces) and "r=9" in pieces[0][0] and "a=T" not in pieces[1][0]
    found = re.fullmatch(r"\x1b\]1337;File=[^:]*height=9;[^:]*:(.*)\a", ITerm().text(picture, 9))
    assert found is not None
    for data in ("".join(data for _, data in pieces), found[1]):
        with Image.open(io.BytesIO(base64.b64decode(data))) as sent:
            assert np.array_equal(np.asarray(sent), np.asarray(picture))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty"}, Kitty()),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, ITerm()),
        ({"TERM": "xterm-256color"}, Blocks()),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, Blocks()),
        ({"TERM": "dumb"}, None),
        ({"TERM": "xterm", "NO_COLOR": "1"}, None),
        ({"TERM": "xterm", VARIABLE: "none"}, None),
        ({"TERM": "dumb", VARIABLE: "kitty"}, Kitty()),
    ],
)
def test_terminals_are_known_by_their_environment(environ, expected):
    assert drawing_for(Screen(), environ) == expected
    assert drawing_for(io.StringIO(), environ) is None  # no terminal


def test_others_add_theirs():
    @DRAWINGS.add
    @attrs.frozen
    class Text(Drawing):
        name: str = attrs.field(init=False, default="text")

        def text(self, picture, rows):
            return "\r\n".join(["picture"] * rows)

    try:
        assert drawing_for(Screen(), {VARIABLE: "text"}) == Text()
        with pytest.raises(ConfigError, match="kind of terminal pictures"):
            drawing_for(Screen(), {VARIABLE: "texts"})
    finally:
        DRAWINGS.remove("text")


def test_plain_text_where_nobody_looks(checkpoint, capsys, monkeypatch):
    asked = ("generate", "caption=a car", "--model", checkpoint, "--to", "depth", "--steps", 2, "--live")
    assert command(*asked) == 0
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv(VARIABLE, "blocks")
    for words, grows in ((["--json"], False), ([], True)):
        screen = Screen(60)
        monkeypatch.setattr("sys.stdout", screen)
        assert command(*asked, *words) == 0
        said = [screen.words(row) for row in range(60)]
        assert ("depth 2/2" in said) == grows and any("32 x 32" in line for line in said)
