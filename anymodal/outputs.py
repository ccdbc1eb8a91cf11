"""What `generate` returns: natural values by modality, with the tokens they came from, to look at and to save."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal.checkpoints.atomic import replacing_folder
from anymodal.errors import PluginError, UnknownModality, nearest
from anymodal.modality import Modality
from anymodal.plugins.guard import blame, describe, provenance
from anymodal.tokens import Layout, ModalitySet

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

TILE, TITLE, GAP = 256, 26, 8
ACROSS = 8  # pictures in a line


class Outputs(Mapping[str, Any]):
    """Generated values by modality name, or by that of a finer stream such as ``rgb.448``.

    `inputs` are the values given, `tokens` the ids of every generated stream (of the first of several draws).
    """

    def __init__(
        self,
        modalities: ModalitySet,
        values: Mapping[str, Any],
        inputs: Mapping[str, Any],
        tokens: Mapping[str, np.ndarray],
    ) -> None:
        self.modalities, self.values_by_name, self.inputs, self.tokens = (
            modalities,
            dict(values),
            dict(inputs),
            dict(tokens),
        )

    def __getitem__(self, name: str) -> Any:
        try:
            return self.values_by_name[name]
        except KeyError:
            made = ", ".join(self.values_by_name)
            raise UnknownModality(
                f"{name!r} was not generated{nearest(name, self.values_by_name)} (made: {made})"
            ) from None

    def tokens_for(self, layout: Layout) -> dict[str, np.ndarray]:
        """The generated tokens that a model of that layout reads too, in the same space."""
        mine = self.modalities.layout
        return {
            name: ids
            for name, ids in self.tokens.items()
            if name in layout and layout[name].input and layout[name].space == mine[name].space
        }

    def __contains__(self, name: object) -> bool:
        return name in self.values_by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)

    def __repr__(self) -> str:
        return f"Outputs({', '.join(self.values_by_name)})"

    def _modality(self, name: str) -> Modality:
        return self.modalities[name.split(".")[0]]

    def _scene(self, tile: int) -> np.ndarray | None:
        """The picture of the scene, given or made, that other values are drawn over."""
        for name, value in {**self.inputs, **self.values_by_name}.items():
            if self._modality(name).photographic:
                return np.asarray(self._shown(name, value, None, tile).convert("RGB"))
        return None

    def _shown(self, name: str, value: Any, scene: np.ndarray | None, tile: int) -> Image:
        modality = self._modality(name)
        with blame(modality, "show", value):
            picture = modality.show(value, tile) if scene is None else modality.show_over(value, scene, tile)
        return _picture(modality, picture)

    def show(self, truth: Mapping[str, Any] | None = None, tile: int = TILE) -> Image:
        """One picture of the inputs and then every output, at most eight in a line.

        Args:
            truth: true values by name, shown below each.
            tile: width and height of each picture in pixels.

        Raises:
            PluginError: a modality failed.
        """
        truths = truth or {}
        columns = [*self.inputs, *self.values_by_name]
        scene = self._scene(tile)
        given = [(f"{n} (input)", self._shown(n, v, scene, tile)) for n, v in self.inputs.items()]
        made = [(n, self._shown(n, v, scene, tile)) for n, v in self.values_by_name.items()]
        rows: list[list[tuple[str, Image] | None]] = [[*given, *made]]
        if any(n in truths for n in columns):
            rows.append(
                [(f"{n}: truth", self._shown(n, truths[n], scene, tile)) if n in truths else None for n in columns]
            )
        across = -(-len(columns) // -(-len(columns) // ACROSS))  # lines of equal length
        lines = [row[start : start + across] for start in range(0, len(columns), across) for row in rows]
        return contact_sheet([line for line in lines if any(line)], tile)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.show().save(buffer, "png")
        return buffer.getvalue()

    def save(self, folder: str | Path, truth: Mapping[str, Any] | None = None) -> list[Path]:
        """Write one file a modality in its natural format, `grid.png` and `tokens.safetensors`: all of them or none.

        Args:
            folder: where to, made if there is none.
            truth: true values by name, for a second row of `grid.png`.

        Returns:
            The paths of the files.

        Raises:
            DataError: the folder cannot be written, or another process is writing to it.
            PluginError: a modality failed.
        """
        from safetensors.numpy import save_file

        from anymodal.checkpoints.weights import tensor_errors

        folder = Path(folder)
        names = []
        with replacing_folder(folder, lambda root: (), last="tokens.safetensors") as staging:
            for name, value in self.values_by_name.items():
                names.append(f"{name}{self._modality(name).suffixes[0]}")
                with blame(self._modality(name), "write", value):
                    self._modality(name).write(value, staging / names[-1])
            self.show(truth).save(staging / "grid.png")
            with tensor_errors(folder / "tokens.safetensors"):
                save_file({k: np.ascontiguousarray(v) for k, v in self.tokens.items()}, staging / "tokens.safetensors")
        return [folder / name for name in (*names, "grid.png", "tokens.safetensors")]


def _picture(modality: Modality, shown: Any) -> Image:
    """What `show` returned. Raises PluginError for what is no picture."""
    from PIL import Image

    if not isinstance(shown, Image.Image):
        where = provenance(type(modality))
        raise PluginError(f"modality {modality.name!r} ({where}) returns {describe(shown)} from show, not a PIL image")
    return shown


def contact_sheet(rows: list[list[tuple[str, Image] | None]], tile: int = TILE) -> Image:
    """Titled pictures in rows on white, each with its own proportions; None leaves a place empty."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    step_x, step_y = tile + GAP, tile + GAP + TITLE
    width, height = max(map(len, rows)) * step_x + GAP, len(rows) * step_y + GAP
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            if cell is not None:
                title, picture = cell
                x, y = GAP + c * step_x, GAP + r * step_y
                draw.text((x + 2, y + 4), title, (40, 40, 40), font)
                sheet.paste(ImageOps.pad(picture.convert("RGB"), (tile, tile), color="white"), (x, y + TITLE))
    return sheet


def stacked(pictures: Sequence[Image]) -> Image:
    """Pictures below each other, on white."""
    from PIL import Image

    width, height = max((p.width for p in pictures), default=1), max(1, sum(p.height for p in pictures))
    sheet, top = Image.new("RGB", (width, height), (255, 255, 255)), 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet
