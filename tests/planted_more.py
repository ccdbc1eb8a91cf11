"""More modalities with a planted defect each, of several families, and what the rules meant for them say."""

from __future__ import annotations

import pickle
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from planted import Thermal

import anymodal as am
from anymodal.families import EmbeddingModality
from anymodal.families.drawing import text_page
from anymodal.files import read_json


class UpsideDown(Thermal):
    """Kelvin; mirrors top to bottom."""

    def mirror(self, value: np.ndarray) -> np.ndarray:
        return value[::-1].copy()


class Flat(Thermal):
    """Kelvin; shown between its own extremes, which may be one."""

    def show(self, value: Any, size: int = 256) -> Any:
        from PIL import Image

        kelvin = np.asarray(value, np.float32)
        unit = (kelvin - kelvin.min()) / np.ptp(kelvin)
        return Image.fromarray((unit * 255).astype(np.uint8)).convert("RGB").resize((size, size))


class Oversized(Thermal):
    """Kelvin; shown in one size."""

    def show(self, value: Any, size: int = 256) -> Any:
        return super().show(value, 1024)


class Square(Thermal):
    """Kelvin; shown over square pictures alone."""

    def show_over(self, value: Any, picture: np.ndarray, size: int = 256) -> Any:
        from PIL import Image

        return Image.fromarray(((np.asarray(self.show(value, 64), float) + picture) / 2).astype(np.uint8))


class First(Thermal):
    """Kelvin; decodes the first of a batch alone."""

    def detokenize_stream(self, stream: str, tokens: list[np.ndarray]) -> list[Any]:
        return super().detokenize_stream(stream, tokens[:1])


class Average(Thermal):
    """Kelvin; decodes to the mean of the batch."""

    def detokenize_stream(self, stream: str, tokens: list[np.ndarray]) -> list[Any]:
        values = super().detokenize_stream(stream, tokens)
        return [value - value.mean() + np.mean(values, dtype=np.float32) for value in values]


class Shortcut(am.PixelModality):
    """Colors 0..255; read another way than in training."""

    channels, low, high, dtype = 3, 0.0, 255.0, "uint8"

    def condition(self, values: list[Any], streams: Any) -> dict[str, list[np.ndarray]]:
        return {name: [rows[::-1].copy() for rows in each] for name, each in super().condition(values, streams).items()}


class Dotless(Thermal):
    """Kelvin; an ending of files without its dot."""

    suffixes = ("png",)


class Homeless(am.TextModality):
    """Text, written where there is a folder already."""

    def write(self, value: str, path: Path) -> None:
        path.write_text(value, encoding="utf-8")


class Remembering(Thermal):
    """Kelvin; keeps what it has seen, by its shape."""

    seen: ClassVar[dict[Any, Any]] = {}

    def preprocess(self, value: Any) -> np.ndarray:
        return self.seen.setdefault(np.shape(value), super().preprocess(value))


class Text(Thermal):
    """Kelvin; generated as if it were text."""

    def sampling(self, grounded: bool) -> am.Sampling:
        return am.Sampling(scheme="autoregressive")


class Orphan(Thermal):
    """Kelvin; computed from what nobody provides."""

    derived_from = ("infrared",)


class Sumless(Thermal):
    """Kelvin; said to be computed from colors."""

    derived_from = ("rgb",)


class Listed(Sumless):
    """Kelvin; computed from colors, in lists."""

    def derive(self, values: dict[str, Any]) -> Any:
        return values["rgb"].mean(-1).tolist()


class Transposed(am.FeatureMapModality):
    """Features from 0 to 1; cut along the wrong axes."""

    channels = 8

    def crop(self, value: Any, crop: am.Crop) -> np.ndarray:
        return super().crop(value.transpose(1, 0, 2), crop).transpose(1, 0, 2)


class Dot(am.VectorModality):
    """A vector of numbers from -1 to 1; scored by its length as well."""

    channels = 8

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        return {"dot": float(np.mean([np.dot(p, t) for p, t in zip(predictions, truths, strict=True)]))}


class Endlong(EmbeddingModality):
    """Rows of numbers from -1 to 1, more than the model reads."""

    length = 4

    def preprocess(self, value: Any) -> np.ndarray:
        return np.asarray(value, np.float32)


class Letters(am.StructuredModality):
    """Counts 0 to 99 by letter."""

    def accept(self, value: Any) -> dict[str, int]:
        value = read_json(Path(value)) if isinstance(value, (str, Path)) else value
        if not isinstance(value, dict) or not all(len(k) == 1 and isinstance(v, int) for k, v in value.items()):
            raise self.problem(value, "counts by letter")
        return dict(value)

    def read(self, path: Path) -> dict[str, int]:
        return self.accept(path)

    def chunks(self, value: Any, rng: Any = None) -> list[str]:
        parts = [f"{letter} v0={count}" for letter, count in value.items()]
        return parts if rng is None else [parts[k] for k in rng.permutation(len(parts))]

    def spell(self, value: Any, rng: Any = None) -> str:
        return " ".join(self.chunks(value, rng))

    def parse(self, text: str) -> dict[str, int]:
        pairs = pairwise(text.split())
        return {k: int(v[3:]) for k, v in pairs if k.isalpha() and len(k) == 1 and re.fullmatch(r"v0=[0-9]+", v)}

    def show(self, value: Any, size: int = 256) -> Any:
        return text_page(self.spell(value), size)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        return {"same": float(np.mean([p == t for p, t in zip(predictions, truths, strict=True)]))}

    def examples(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"empty": {}, "two": {"a": 3, "b": 40}, "many": {letter: int(rng.integers(99)) for letter in "abcdefgh"}}


class Ordered(Letters):
    """Counts 0 to 99 by letter; knows one order."""

    def spell(self, value: Any) -> str:
        return super().spell(value)


class Unmixed(Letters):
    """Counts 0 to 99 by letter; tokens are always in one order."""

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        return super().tokenize(values)


class Losing(Letters):
    """Counts 0 to 99 by letter; one is lost when the order is drawn."""

    def chunks(self, value: Any, rng: Any = None) -> list[str]:
        return super().chunks(value, rng)[: None if rng is None else -1]


class Torn(Letters):
    """Counts 0 to 99 by letter; chunks are half of it."""

    def spell(self, value: Any, rng: Any = None) -> str:
        return " ".join(super().chunks(value, rng))

    def chunks(self, value: Any, rng: Any = None) -> list[str]:
        return [part.split()[0] for part in super().chunks(value, rng)]


class Large(Letters):
    """Counts 0 to 9999 by letter, of which the vocabulary knows a thousand."""

    def examples(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"small": {"a": 1}, "large": {"a": 3000, "b": 40}}


class Capitals(Letters):
    """Counts 0 to 99 by letter; large ones are others, which the vocabulary makes small."""

    def examples(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"small": {"a": 1}, "large": {"A": 3}}


class Boxed(Letters):
    """Counts 0 to 99 by letter; numbers of numpy in JSON."""

    def plain(self, value: Any) -> Any:
        return {letter: np.int64(count) for letter, count in value.items()}


class Paired(Letters):
    """Counts 0 to 99 by letter; expects pairs."""

    def parse(self, text: str) -> dict[str, int]:
        words = text.split()
        return {words[k]: int(words[k + 1].removeprefix("v0=")) for k in range(0, len(words), 2)}


class Share(Letters):
    """Counts 0 to 99 by letter; a share of none."""

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        pairs = zip(predictions, truths, strict=True)
        return {"same": float(np.mean([sum(p.get(k) == v for k, v in t.items()) / len(t) for p, t in pairs]))}


class Blank(Letters):
    """Counts 0 to 99 by letter; nothing to see."""

    def show(self, value: Any, size: int = 256) -> Any:
        return text_page("", size)


class Brief(Letters):
    """Counts 0 to 99 by letter; in two tokens."""

    length = 2


class Undecided(Letters):
    """Counts 0 to 99 by letter; kept when it likes."""

    keep = "sometimes"


class Preserved(Letters):
    """Counts 0 to 99 by letter; in pickles."""

    def write(self, value: Any, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(value))

    def read(self, path: Path) -> Any:
        return pickle.loads(path.read_bytes())


class Objects(am.VectorModality):
    """A vector of numbers from -1 to 1; read with pickles in it."""

    channels = 8

    def read(self, path: Path) -> np.ndarray:
        try:
            return np.load(path, allow_pickle=True).astype(np.float32)
        except Exception as error:
            raise self.problem(path, "an array") from error


class Loose(Thermal):
    """Kelvin; covers the picture and says it does not."""

    aligned = False


class Placed(am.VectorModality):
    """Spectra, 0 to 1; say that they cover the picture."""

    def extent(self, value):
        return 32.0, 32.0


class Excused(Thermal):
    """Kelvin; excused from a rule that there is not."""

    exceptions = {"AM999": "there is no such rule"}


class Speechless(Thermal):
    """Kelvin; excused without a reason."""

    exceptions = {"AM103": " "}


class Letterwise(Thermal):
    """Kelvin; a folder whose name is taken for five."""

    folders = "infra"


class Crowded(am.LabelMapModality):
    """Kinds of ground, ids 0 to 299."""

    classes = tuple(f"ground {k}" for k in range(300))


class Nameless(am.LabelMapModality):
    """Kinds of ground, ids 0 to 9; which, it does not say."""


class Shiftless(am.LabelMapModality):
    """Kinds of ground, ids 0 to 4; decodes to the tokenizer's labels."""

    classes = ("grass", "sand", "snow", "rock", "mud")

    def postprocess(self, tensor: np.ndarray) -> np.ndarray:
        return tensor.argmax(0).clip(0, 4).astype(np.uint8)


class Twins(am.NumbersModality):
    """Sizes from 0 to 10 meters; two have one code."""

    fields = {"width": am.Number(0, 0, 10, bins=50), "height": am.Number(0, 0, 10, bins=50)}


class Fine(am.NumbersModality):
    """Sizes from 0 to 10 meters; more bins than value tokens."""

    fields = {"width": am.Number(0, 0, 10, bins=5000)}


# Of each: the rule meant for it, and what its message says.
MORE = {
    "AM011": (Unmixed, "spell draws from an rng, and tokenize takes none"),
    "AM403": (UpsideDown, "mirrored, is not the right part"),
    "AM601": (Flat, "show of example 'constant' of seed 0, shape (32, 32) computes what has no value"),
    "AM601 size": (Oversized, "is (1024, 1024), asked for about 64"),
    "AM601 over": (Square, "on example 'wide' of seed 0, shape (3, 40), in line"),
    "AM303": (First, "detokenize returns 1 value for 5 arrays of ids"),
    "AM303 mean": (Average, "decode to another value in a batch than alone"),
    "AM310": (Shortcut, "condition of example 'constant' of seed 0"),
    "AM111": (Dotless, "the ending 'png' of files is none"),
    "AM111 folder": (Homeless, "write of example 'one letter' of seed 0 does not make the folder"),
    "AM111 JSON": (Boxed, "Object of type int64 is not JSON serializable, on example 'two'"),
    "AM105": (Remembering, "preprocess gives the same for all examples"),
    "AM504": (Text, "asks for the scheme 'autoregressive', not 'roar'"),
    "AM115": (Orphan, "derived_from names 'infrared', which cannot be had"),
    "AM115 missing": (Sumless, "there is no derive"),
    "AM115 type": (Listed, "gives a value that accept changes"),
    "AM401": (Transposed, "is not what cutting by hand gives"),
    "AM603": (Dot, "against itself is"),
    "AM603 empty": (Share, "ZeroDivisionError: division by zero, on example 'empty' of seed 0, in line"),
    "AM101": (Endlong, "the model reads 4"),
    "AM103": (Shiftless, "comes back 1 away"),
    "AM116": (Ordered, "spell and chunks with a generator raise TypeError"),
    "AM116 order": (Losing, "no drawn spelling of example 'two' of seed 0"),
    "AM116 chunks": (Torn, "and its chunks 'a b'"),
    "AM302": (Capitals, "read from its tokens as 'a v0=3'"),
    "AM302 length": (Brief, "a length of 2 tokens cuts every example short"),
    "AM601 same": (Blank, "show gives the same picture for all examples"),
    "AM112": (Preserved, "read runs code that is in a file"),
    "AM112 npy": (Objects, "read runs code that is in a file"),
    "AM406": (Placed, "the extent of example 'constant' of seed 0, shape (8,) is (32.0, 32.0)"),
    "AM011 exceptions": (Excused, "exceptions names 'AM999', which is no rule"),
    "AM000 exceptions": (Speechless, "are reasons by number of rule"),
    "AM405": (Loose, "`aligned` is false"),
    "AM000 folders": (Letterwise, "folders of modality 'letterwise' is a tuple of texts"),
    "AM000 keep": (Undecided, "is one of random, all, binary, not 'sometimes'"),
    "AM305": (Paired, "random ids (trial 0 of seed 0) raise"),
    "AM000": (Crowded, "names 300 classes"),
    "AM000 classes": (Nameless, "names 0 classes"),
    "AM000 codes": (Twins, "gives 'width' and 'height' the same code 0"),
    "AM000 bins": (Fine, "1000 levels, too few for 'width'"),
}
