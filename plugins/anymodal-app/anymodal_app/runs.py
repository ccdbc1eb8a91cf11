"""A generation as a page follows it: what happened, one event after the other."""

from __future__ import annotations

import logging
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from anymodal import AnyModel, Modality
from anymodal.errors import AnymodalError, GenerationError
from anymodal_app.kinds import kind_of, rows_of
from anymodal_app.pictures import data_url, overlay
from anymodal_app.requests import Reader, Request
from anymodal_app.settings import Limits
from anymodal_app.spelling import as_command, as_python, texts_for_command, write_inputs
from anymodal_app.store import Store

if TYPE_CHECKING:
    import numpy as np

    from anymodal.generation import GenerationStep
else:
    from anymodal.lazy import np

GROWING, DONE = 256, 512  # pixels a side
PAUSE = 0.1  # seconds between pictures of a value that grows
PLACE = re.compile(r"(?<![\w.:/])(?:/[\w.@+ -]+)+/([\w.@+-]+)")  # a file of this machine
LOG = logging.getLogger("anymodal.app")

Event = dict[str, Any]


def told(error: BaseException) -> str:
    """What may be said of an error to whoever asks: one sentence without places of this machine."""
    if not isinstance(error, AnymodalError):
        LOG.error("a request failed", exc_info=error)
        return f"something went wrong in the server ({type(error).__name__}); its log says more"
    return PLACE.sub(r"\1", str(error))


@attrs.frozen(kw_only=True, eq=False)
class Studio:
    """A model, and what is needed to work with it for others.

    name: of the model, as it is told to others.
    load: further arguments of `anymodal.load`.
    """

    model: AnyModel
    name: str
    store: Store
    limits: Limits
    load: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def reader(self) -> Reader:
        return Reader(self.model, self.store, self.limits)

    def events(self, asked: object) -> Iterator[Event]:
        """Carry out a request; an error is the last event. Whoever takes no more of them ends the generation."""
        try:
            yield from _Run(self, self.reader.request(asked)).events()
        except Exception as error:
            yield {"event": "error", "message": told(error)}


class _Run:
    """One request while it is carried out."""

    def __init__(self, studio: Studio, request: Request) -> None:
        self.studio, self.request, self.modalities = studio, request, studio.model.modalities
        self.began, self.shown = time.monotonic(), dict[tuple[str, int], float]()
        self.made: list[Event] = []
        self.scenes = [self._first_scene() for _ in request.seeds]

    def _first_scene(self) -> np.ndarray | None:
        for name, value in self.request.inputs.items():
            if self.modalities[name].photographic and name not in self.request.keep:
                return _colors(self.modalities[name], value)
        return None

    def events(self) -> Iterator[Event]:
        request = self.request
        yield {"event": "start", "targets": request.targets, "seeds": request.seeds}
        stream = self.studio.model.stream(
            request.inputs,
            request.targets,
            seed=request.seeds,
            chain=request.chain,
            weights=request.weights or None,
            options=request.options,
            keep=request.keep,
        )
        folder = self.studio.store.new_folder()
        try:
            for step in stream:
                if self.studio.store.closed:
                    raise GenerationError("the server is ending")
                yield from self._step(step, folder)
                if time.monotonic() - self.began > self.studio.limits.seconds:
                    raise GenerationError(
                        f"this took longer than the {self.studio.limits.seconds} s that are allowed; ask for fewer"
                        " targets, steps or variants"
                    )
            with self.studio.store.writing():
                done = self._done(stream.outputs)
            yield done
        finally:
            stream.close()

    def _step(self, step: GenerationStep, folder: Path) -> Iterator[Event]:
        key, now = (step.target, step.sample), time.monotonic()
        if not step.done and now - self.shown.get(key, 0) < PAUSE:
            return
        modality, event = self.modalities.owner(step.target), {"event": "step", **_place(step, self._share(step))}
        value = step.made.value if step.done else step.preview
        if modality.is_text:
            event["text"] = value
        elif (rows := rows_of(value)) is not None:
            event["rows"] = rows
        else:
            event["picture"] = data_url(self._shown(modality, value, step.sample, GROWING))
        self.shown[key] = time.monotonic()
        yield event
        if step.done:
            made = self._value(modality, step, folder)
            self.made.append(made)
            yield made
            if modality.photographic and self.scenes[step.sample] is None:
                self.scenes[step.sample] = _colors(modality, value)

    def _share(self, step: GenerationStep) -> float:
        stream = self.modalities.layout[step.target]
        return step.step / step.total if stream.is_sequence else len(step.positions) / stream.space.length

    def _shown(self, modality: Modality, value: Any, sample: int, size: int) -> Any:
        scene = self.scenes[sample]
        return modality.show(value, size) if scene is None else modality.show_over(value, scene, size)

    def _value(self, modality: Modality, step: GenerationStep, folder: Path) -> Event:
        """What is told of a finished value, which is kept as a file."""
        value, seed = step.made.value, self.request.seeds[step.sample]
        several = f"-seed-{seed}" if len(self.request.seeds) > 1 else ""
        path = folder / f"{modality.name}{several}{modality.suffixes[0]}"
        with self.studio.store.writing():
            modality.write(value, path)
        key = self.studio.store.keep(path, path.name, modality.name, value)
        event = {
            "event": "value",
            "target": step.target,
            "variant": step.sample,
            "seed": seed,
            "seconds": round(time.monotonic() - self.began, 3),
            "legend": [{"color": color and list(color), "text": words} for color, words in modality.legend(value)],
            "file": {"id": key, "name": path.name, "url": f"files/{key}"},
        }
        if modality.is_text:
            event["text"] = value
        else:
            event["picture"] = data_url(self._shown(modality, value, step.sample, DONE))
        if kind_of(self.studio.model, modality) == "boxes":
            boxes = modality.boxes(value)  # type: ignore[attr-defined]
            event["boxes"] = [{"label": b.label, "box": list(b.corners), "score": b.score} for b in boxes]
        if (rows := rows_of(value)) is not None:
            event["rows"] = rows
        if (doubts := step.made.uncertainty) is not None:
            event["uncertainty"] = _doubts(
                modality, value, doubts, "nats" if step.made.how == "mean" else modality.unit
            )
        return event

    def _done(self, outputs: Any) -> Event:
        """The last event: how to make the same again, and all of it in one file."""
        studio, request = self.studio, self.request
        work = studio.store.new_folder()
        try:
            words = write_inputs(studio.model, request, work)
            python = as_python(studio.name, studio.load, request, words)
            plain = {**words, **texts_for_command(studio.model, words, work)}
            command = as_command(studio.name, studio.load, request, plain)
            (work / "again.py").write_text(python, encoding="utf-8")
            (work / "again.sh").write_text(f"{command}\n", encoding="utf-8")
            for seed, each in zip(request.seeds, outputs, strict=True):
                each.save(work / f"seed-{seed}")
            name = f"anymodal-{re.sub(r'[^a-z0-9]+', '-', Path(studio.name).name.lower()).strip('-')}.zip"
            packed = _pack(work, studio.store.new_folder() / name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        key = studio.store.keep(packed, name)
        return {
            "event": "done",
            "seconds": round(time.monotonic() - self.began, 3),
            "python": python,
            "command": command,
            "download": {"id": key, "name": name, "url": f"files/{key}"},
            "values": [{k: v for k, v in each.items() if k in SHORT} for each in self.made],
        }


SHORT = ("target", "variant", "seed", "text", "boxes", "rows", "file")  # of a value, in the last event


def _place(step: GenerationStep, share: float) -> Event:
    """Where a step is, and the share of what is decided."""
    share = 1.0 if step.done else min(share, 0.99)
    return {
        "target": step.target,
        "variant": step.sample,
        "step": step.step,
        "steps": step.total,
        "decided": round(share, 3),
    }


def _colors(modality: Modality, value: Any) -> np.ndarray:
    return np.asarray(modality.show(value, DONE).convert("RGB"))


def _doubts(modality: Modality, value: Any, uncertainty: np.ndarray, unit: str) -> dict[str, Any]:
    """How unsure a value is: a veil over its picture, or words about its parts."""
    if uncertainty.ndim == 2:
        most = float(np.nanmax(uncertainty, initial=0.0))
        return {"picture": data_url(overlay(uncertainty, DONE)), "text": f"up to {most:.3g} {unit}".strip()}
    named: Any = modality  # what tells how sure its parts are has names for them
    names = named.part_names(value)
    parts = [[name, round(1 - float(doubt), 3)] for name, doubt in zip(names, uncertainty, strict=True)]
    return {"parts": parts, "text": ", ".join(f"{name} {sure:.0%}" for name, sure in parts)}


def _pack(folder: Path, path: Path) -> Path:
    """All files of a folder in one archive; most are packed already."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                archive.write(each, each.relative_to(folder))
    return path
