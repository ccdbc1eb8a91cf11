"""What a model of many modalities makes of held-out scenes, each modality by its own score.

`python -m benchmarks tiny21`, and with `--set tiny21.given=caption` from that one; `--set tiny21.pictures=DIR` saves
pictures of the first scenes: the truth above, what was generated below.

Every modality of the model that can be generated is generated from the picture alone, and compared with the truth: the
renderer's, what follows from it exactly, and, for features, what the tiny teachers see in the picture. Beside each
score stand that of the truth through the tokenizer alone (the best that a model of these tokens can reach), and that of
the truths of other scenes (what a model that does not look at the picture can reach).
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from anymodal_scenes import BASIC
from anymodal_scenes.write import write
from PIL import Image

import anymodal as am
from anymodal.data import open_values
from anymodal.plugins.registry import registry
from benchmarks.harness.base import BENCHMARKS, Figures

HELD_OUT_SEED = 1_000_003
BATCH = 20
TEACHERS = ("clip", "dinov2", "imagebind", "dinov2_global", "imagebind_global")
WEB_TEXT = Path(__file__).parent.parent / "recipes/tiny21/web_text.py"


def truths(
    model: am.AnyModel, folder: Path, count: int, seed: int = HELD_OUT_SEED, first: int = 0
) -> list[dict[str, Any]]:
    """The true values of scenes by modality, of held-out ones by default."""
    write(folder, count, seed, model.modalities["rgb"].size, kinds=BASIC, workers=1, start=first)
    samples = [source.read(k) for source in [open_values(folder, model.modalities)] for k in range(count)]
    for name in TEACHERS:
        if name in model.modalities:
            labeled = registry().labeler(f"tiny_{name}")().label(samples)
            for sample, value in zip(samples, labeled, strict=True):
                sample[name] = value
    if "t5_caption" in model.modalities:
        for sample, rows in zip(samples, registry().labeler("minilm")().label(samples), strict=True):
            sample["t5_caption"] = rows
    if "web_text" in model.modalities:
        text = web_texts()
        for sample, path in zip(samples, sorted((folder / "scene").iterdir()), strict=True):
            sample["web_text"] = text(json.loads(path.read_text()))
    return samples


def web_texts() -> Any:
    """The function that makes web texts from the records of scenes."""
    spec = importlib.util.spec_from_file_location("web_text", WEB_TEXT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.text


def generated(model: am.AnyModel, samples: list[dict[str, Any]], given: str, targets: list[str]) -> list[dict]:
    """Each target from `given` alone."""
    made: list[dict[str, Any]] = [{} for _ in samples]
    for start in range(0, len(samples), BATCH):
        inputs = [{given: sample[given]} for sample in samples[start : start + BATCH]]
        for target in targets:
            for k, out in enumerate(model.generate_batch(inputs, target, seed=start)):
                made[start + k][target] = out[target]
    return made


def through_tokenizer(modality: am.Modality, values: list[Any]) -> list[Any]:
    """The truth as its tokens say it."""
    return modality.detokenize(modality.tokenize(values)[modality.name])


def table(model: am.AnyModel, samples: list[dict[str, Any]], made: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores by modality: of the model, of the tokenizer alone, and of other scenes' truths."""
    result: dict[str, Any] = {}
    for name in made[0]:
        modality = model.modalities[name]
        has = [k for k, sample in enumerate(samples) if name in sample]
        true = [samples[k][name] for k in has]
        result[name] = {
            "model": modality.score([made[k][name] for k in has], true),
            "tokenizer": modality.score(through_tokenizer(modality, true), true),
            "others": modality.score(true[1:] + true[:1], true),
        }
    return result


def picture(model: am.AnyModel, truth: Mapping[str, Any], made: Mapping[str, Any], size: int = 144) -> Image.Image:
    """A column a modality: the truth above, what was generated below."""
    names = [name for name in made if name in truth]
    sheet = Image.new("RGB", (size * (len(names) + 1), 2 * size), (255, 255, 255))
    sheet.paste(model.modalities["rgb"].show(truth["rgb"], size), (0, 0))
    for column, name in enumerate(names, 1):
        for row, value in enumerate((truth[name], made[name])):
            shown = model.modalities[name].show_over(value, truth["rgb"], size)
            sheet.paste(shown.resize((size, size)), (column * size, row * size))
    return sheet


@BENCHMARKS.register("tiny21")
@attrs.frozen
class Everything(Figures):
    """Every modality from one, by its own score, beside its tokenizer alone and the truths of other scenes."""

    model: str = "tiny"
    count: int = 40
    given: str = "rgb"
    pictures: str = ""

    def run(self, quick: bool) -> dict[str, Any]:
        model = am.load(self.model)
        with tempfile.TemporaryDirectory() as folder:
            samples = truths(model, Path(folder), 4 if quick else self.count)
        targets = [name for name in model.modalities.targets if name != self.given]
        made = generated(model, samples, self.given, targets)
        if self.pictures:
            Path(self.pictures).mkdir(parents=True, exist_ok=True)
            for k in range(min(len(samples), 8)):
                picture(model, samples[k], made[k]).save(Path(self.pictures, f"{k:02d}.png"))
        return table(model, samples, made)
