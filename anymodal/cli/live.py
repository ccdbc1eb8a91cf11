"""Pictures in a terminal while they grow: as kitty or iTerm2 show them, else as half blocks in color.

Protocols: sw.kovidgoyal.net/kitty/graphics-protocol and iterm2.com/documentation-images.html. Which one a terminal
knows is told by its environment variables; ANYMODAL_PICTURES names another one, or none.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, TextIO

import attrs

from anymodal.config.tables import SettingsTable

if TYPE_CHECKING:
    from PIL.Image import Image

    from anymodal.generation import GenerationStep
    from anymodal.tokens import ModalitySet

VARIABLE = "ANYMODAL_PICTURES"
ROWS, SPARE = 20, 4  # lines of a picture at most, and lines of the terminal that stay free
PIXELS = 320  # a side of pictures that the terminal scales itself
CHUNK = 4096  # bytes of one piece in kitty's protocol
UP, SAVE, RESTORE, CLEAR = "\x1b[{}A", "\x1b7", "\x1b8", "\x1b[K"


@attrs.frozen
class Drawing(ABC):
    """How a terminal is told to show a picture from the cursor on. Add your own under ``@DRAWINGS.add``."""

    name: str = attrs.field(init=False)

    @classmethod
    def known(cls, environ: Mapping[str, str]) -> bool:
        """Whether a terminal with these environment variables shows such pictures."""
        return False

    @abstractmethod
    def text(self, picture: Image, rows: int) -> str:
        """What shows a picture in so many lines; it may leave the cursor anywhere."""


DRAWINGS: SettingsTable[Drawing] = SettingsTable(Drawing, "kind of terminal pictures", default="blocks")  # type: ignore[type-abstract]


def _png(picture: Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return base64.b64encode(buffer.getvalue())


@DRAWINGS.add
@attrs.frozen
class Kitty(Drawing):
    """Kitty's graphics protocol, which Ghostty and Konsole know too: one image that is replaced by the next."""

    name: str = attrs.field(init=False, default="kitty")

    @classmethod
    def known(cls, environ: Mapping[str, str]) -> bool:
        terminal = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
        return (
            "KITTY_WINDOW_ID" in environ or terminal[0] in ("xterm-kitty", "xterm-ghostty") or terminal[1] == "ghostty"
        )

    def text(self, picture: Image, rows: int) -> str:
        data = _png(picture).decode()
        pieces = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
        head = f"a=T,f=100,i={os.getpid() % 2**31 or 1},p=1,q=2,C=1,r={rows},"  # q=2: no answers, C=1: no movement
        last = len(pieces) - 1
        return "".join(f"\x1b_G{head * (not k)}m={int(k < last)};{piece}\x1b\\" for k, piece in enumerate(pieces))


@DRAWINGS.add
@attrs.frozen
class ITerm(Drawing):
    """iTerm2's inline images, which WezTerm and mintty know too."""

    name: str = attrs.field(init=False, default="iterm")

    @classmethod
    def known(cls, environ: Mapping[str, str]) -> bool:
        return environ.get("TERM_PROGRAM", "") in ("iTerm.app", "WezTerm", "mintty")

    def text(self, picture: Image, rows: int) -> str:
        data = _png(picture).decode()
        return f"\x1b]1337;File=inline=1;height={rows};preserveAspectRatio=1;doNotMoveCursor=1:{data}\a"


@DRAWINGS.add
@attrs.frozen
class Blocks(Drawing):
    """Half blocks, each with the color of an upper and a lower pixel: in any terminal that has colors."""

    name: str = attrs.field(init=False, default="blocks")

    @classmethod
    def known(cls, environ: Mapping[str, str]) -> bool:
        return environ.get("TERM", "") not in ("", "dumb") and "NO_COLOR" not in environ

    def text(self, picture: Image, rows: int) -> str:
        small = picture.resize((max(1, round(2 * rows * picture.width / picture.height)), 2 * rows))
        lines = []
        for row in range(rows):
            cells = []
            for column in range(small.width):
                colors = (small.getpixel((column, 2 * row + k)) for k in (0, 1))
                upper, lower = (";".join(map(str, color)) for color in colors)  # type: ignore[arg-type]
                cells.append(f"\x1b[38;2;{upper}m\x1b[48;2;{lower}m\u2580")
            lines.append("".join(cells) + "\x1b[0m")
        return "\r\n".join(lines)


def drawing_for(stream: TextIO, environ: Mapping[str, str]) -> Drawing | None:
    """How pictures are shown on a stream; None where it is no terminal, or one without colors. Raises ConfigError."""
    if not stream.isatty() or "utf" not in (stream.encoding or "").lower() or environ.get(VARIABLE) == "none":
        return None
    if wanted := environ.get(VARIABLE):
        return DRAWINGS(wanted)
    multiplexed = "TMUX" in environ or environ.get("TERM", "").startswith(("screen", "tmux"))  # which pass no images on
    kinds = [DRAWINGS[name] for name in DRAWINGS if not multiplexed or name == "blocks"]
    return next((kind() for kind in kinds if kind.known(environ)), None)


class Live:
    """Shows every step of the targets that grow as pictures, and the end of others that are no text, in place."""

    lines: ClassVar[int] = 1  # below the picture

    def __init__(self, modalities: ModalitySet, drawing: Drawing, stream: TextIO | None = None) -> None:
        self.modalities, self.drawing, self.stream = modalities, drawing, stream or sys.stdout
        columns, lines = shutil.get_terminal_size()
        self.rows = max(2, min(ROWS, lines - SPARE, columns // 2))
        self._target = ""

    def __call__(self, step: GenerationStep) -> None:
        modality = self.modalities.owner(step.target)
        if modality.is_text or (not step.done and self.modalities.layout[step.target].is_sequence):
            return
        value = step.partial if step.done else step.preview
        picture = modality.show(value, PIXELS).convert("RGB")
        first, self._target = step.target != self._target, step.target
        room = "\n" * (self.rows + self.lines) if first else ""  # what scrolls does so before the picture is drawn
        shown = self.drawing.text(picture, self.rows)
        says = f"{step.target} {step.step}/{step.total}"
        up = UP.format(self.rows + self.lines)
        self.stream.write(f"{room}{up}\r{SAVE}{shown}{RESTORE}\x1b[{self.rows}B\r{says}{CLEAR}\n")
        self.stream.flush()
