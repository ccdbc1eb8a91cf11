"""What `generate` returns: natural values by modality, with the tokens they came from, to look at and to save."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.checkpoints.atomic import replacing_folder
from anymodal.checkpoints.formats.native.read import plain
from anymodal.config.arguments import DICT, PLACE, WHOLE, takes
from anymodal.errors import GenerationError, PluginError, UnknownModality, nearest
from anymodal.families.in_place import facts_of
from anymodal.modality import Modality
from anymodal.outputs.equality import same
from anymodal.outputs.folder import Contents, read_contents, write_contents, write_views
from anymodal.outputs.names import GRID, files_of
from anymodal.outputs.run import RUN, Run
from anymodal.outputs.sheet import TILE, contact_sheet, gray_map
from anymodal.plugins.guard import blame, describe, provenance
from anymodal.tokens import Layout, ModalitySet

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
else:
    from anymodal.lazy import np

ACROSS = 8  # pictures in a line


class Outputs(Mapping[str, Any]):
    """Generated values by modality name, or by that of a finer stream such as ``rgb.448``.

    `inputs` are the values given, `tokens` the ids of every generated stream (of the first of several draws, none of
    what was made in tiles), `schemes` names what made a value that is not what its tokens decode to ("mean", "merge",
    "tiles"; `decoded` gives that one), `run` says how all of them were made, and `source` holds the tokens of other
    outputs that `upscale` made them from.
    `uncertainty` says at each pixel how sure a value is: the standard deviation of several draws in its unit, the
    entropy of their classes, or for the scheme "mean" that of the tokens, in nats; and of each word, box, person or
    instance the share of the draws that lack it.
    """

    def __init__(
        self,
        modalities: ModalitySet,
        values: Mapping[str, Any],
        inputs: Mapping[str, Any],
        tokens: Mapping[str, np.ndarray],
        schemes: Mapping[str, str] | None = None,
        run: Run | None = None,
        source: Mapping[str, np.ndarray] | None = None,
        uncertainty: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.modalities, self.run = modalities, run
        spread = uncertainty or {}
        self.uncertainty = {name: spread[name] for name in values if name in spread}
        self.values_by_name, self.inputs, self.tokens = dict(values), dict(inputs), dict(tokens)
        self.schemes, self.source = dict(schemes or {}), dict(source or {})

    @property
    def _contents(self) -> Contents:
        return Contents(
            modalities=self.modalities,
            values=self.values_by_name,
            inputs=self.inputs,
            tokens=self.tokens,
            schemes=self.schemes,
            run=self.run,
            source=self.source,
            uncertainty=self.uncertainty,
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
        made = (f"{name} ({self.schemes[name]})" if name in self.schemes else name for name in self.values_by_name)
        return f"Outputs({', '.join(made)})"

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

    def _by_itself(self, name: str) -> bool:
        """Whether an uncertainty comes unasked for beside a value: of a mean, or of draws to choose from."""
        options = self.run.options if self.run else {}
        return self.schemes.get(name) == "mean" or bool(options.get(name, {}).get("choose"))

    def _doubts(self, name: str, uncertainty: np.ndarray, tile: int) -> Image:
        modality: Any = self._modality(name)
        if uncertainty.ndim > 1:
            return gray_map(uncertainty, tile, modality.unit)
        with blame(modality, "show_doubts", self[name]):
            return _picture(modality, modality.show_doubts(self[name], uncertainty, tile))

    @takes(truth=DICT, tile=WHOLE)
    def show(self, truth: Mapping[str, Any] | None = None, tile: int = TILE) -> Image:
        """One picture of the inputs and then every output, at most eight in a line.

        Args:
            truth: true values by name, shown below each; others may be there too, as of a whole sample.
            tile: width and height of each picture in pixels.

        Raises:
            UnknownModality: a truth is of no modality that the model has.
            PluginError: a modality failed.
        """
        truths = truth or {}
        for name in truths:
            if name not in self:
                self._modality(str(name))
        columns = [*self.inputs, *self.values_by_name]
        scene = self._scene(tile)
        given = [(f"{n} (input)", self._shown(n, v, scene, tile)) for n, v in self.inputs.items()]
        made = [(n, self._shown(n, v, scene, tile)) for n, v in self.values_by_name.items()]
        asked = {n: v for n, v in self.uncertainty.items() if not self._by_itself(n)}
        titles = {n: f"{n}: {'uncertainty' if v.ndim > 1 else 'draws that agree'}" for n, v in asked.items()}
        unsure = [(titles[n], self._doubts(n, v, tile)) for n, v in asked.items()]
        rows: list[list[tuple[str, Image] | None]] = [[*given, *made, *unsure]]
        if any(n in truths for n in columns):
            rows.append(
                [(f"{n}: truth", self._shown(n, truths[n], scene, tile)) if n in truths else None for n in columns]
                + [None] * len(unsure)
            )
        count = len(rows[0])
        across = -(-count // -(-count // ACROSS))  # lines of equal length
        lines = [row[start : start + across] for start in range(0, count, across) for row in rows]
        return contact_sheet([line for line in lines if any(line)], tile)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.show().save(buffer, "png")
        return buffer.getvalue()

    @takes(folder=PLACE, truth=DICT)
    def save(self, folder: str | Path, truth: Mapping[str, Any] | None = None) -> list[Path]:
        """Write a folder that `Outputs.load` reads: all of its files or none, in the place of those of other outputs.

        One file a modality in its natural format, which says what its numbers mean, and NAME.view.png where such a file
        shows people nothing; the inputs in `inputs/`, `tokens.safetensors`, `grid.png`, `run.json` that says how all of
        it was made, `values.safetensors` with the numbers that files round, and `source.safetensors` with the tokens
        that `upscale` made them from.

        Args:
            folder: where to, made if there is none.
            truth: true values by name, for a second row of `grid.png`.

        Returns:
            The paths of the files, `run.json` last.

        Raises:
            DataError: the folder cannot be written, or another process is writing to it.
            UnknownModality: as for `show`.
            PluginError: a modality failed; where it was in showing a value, all the rest is saved.
        """
        folder = Path(folder)
        problem, shown = None, [GRID]
        with replacing_folder(folder, files_of, last=RUN) as staging:
            names = write_contents(self._contents, staging, folder)
            try:
                self.show(truth).save(staging / GRID)
                shown += write_views(self._contents, staging)
            except PluginError as error:  # which is no reason to lose what was generated
                problem = error
        if problem is not None:
            raise problem
        return [folder / name for name in (*shown, *names)]

    @classmethod
    def load(cls, folder: str | Path) -> Outputs:
        """What was saved into a folder, equal to it. The modalities have no tokenizers; those of a model have.

        Raises:
            DataError: there is no such folder, or a file is missing, damaged, or was changed since.
            UnknownModality: the plugin of a modality is not installed.
        """
        return cls(**attrs.asdict(read_contents(Path(folder)), recurse=False))

    def __eq__(self, other: object) -> bool:
        """Whether modalities, values, inputs and tokens are the same, and how they were made."""
        if not isinstance(other, Outputs):
            return NotImplemented
        mine, yours = ([_identity(m) for m in each.modalities] for each in (self, other))
        left, right = (
            (o.values_by_name, o.inputs, dict(sorted(o.tokens.items())), o.schemes, dict(sorted(o.source.items())))
            for o in (self, other)
        )
        return (
            mine == yours and self.run == other.run and same(left, right) and same(self.uncertainty, other.uncertainty)
        )

    __hash__ = None  # type: ignore[assignment]

    def renamed(self, names: Mapping[str, str]) -> Outputs:
        """The same outputs with some values alone, by other names: `names` has the present name of each."""
        values = {name: self[present] for name, present in names.items()}
        schemes = {name: self.schemes[present] for name, present in names.items() if present in self.schemes}
        spread = {name: self.uncertainty[was] for name, was in names.items() if was in self.uncertainty}
        return Outputs(self.modalities, values, self.inputs, self.tokens, schemes, self.run, self.source, spread)

    def decoded(self, name: str) -> Any:
        """The value that the tokens alone decode to; another one where `schemes` names what made the value.

        Raises:
            UnknownModality: it was not generated.
            CheckpointError: these outputs were loaded without a model, so there is no tokenizer.
            GenerationError: it was made in tiles, of which each has tokens of its own.
        """
        if name not in self.schemes:
            return self[name]
        if self.schemes[name] == "tiles":
            raise GenerationError(f"{name!r} was blended from tiles: no tokens decode to it")
        stream = name if name in self.tokens else next(s for s in self.tokens if s.split(".")[0] == name)
        return self.modalities.detokenize({stream: self.tokens[stream]})[stream]


def _identity(modality: Modality) -> tuple[Any, ...]:
    """What tells modalities apart: one that was made in place has another class after each time it is read."""
    facts = facts_of(modality)
    return modality.name, None if modality.name in facts else type(modality), plain(facts), plain(modality.config())


def _picture(modality: Modality, shown: Any) -> Image:
    """What `show` returned. Raises PluginError for what is no picture."""
    from PIL import Image

    if not isinstance(shown, Image.Image):
        where = provenance(type(modality))
        raise PluginError(f"modality {modality.name!r} ({where}) returns {describe(shown)} from show, not a PIL image")
    return shown
