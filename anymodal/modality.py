"""Modality: one kind of data. Subclassing it is all a plugin has to do.

The class holds behavior; settings (sizes, codebooks, ranges) are class attributes that a checkpoint may override for
an instance. The verbs, in the order of a value's life:

    read -> accept -> crop -> preprocess -> encode -> tokens -> decode -> postprocess -> show / score / write

`preprocess` and `postprocess` map natural values to tensors and back, `encode` and `decode` tensors to tokens,
`tokenize` and `detokenize` natural values to tokens.
"""

from __future__ import annotations

import inspect
import json
import re
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from anymodal.config.validators import MOST, like
from anymodal.content import is_file, path_of
from anymodal.crops import Crop
from anymodal.errors import (
    AnymodalError,
    ConfigError,
    GenerationError,
    PluginError,
    ValueProblem,
    nearest,
    one_line,
    sort_of,
)
from anymodal.hookspecs import hookimpl
from anymodal.partial import Partial
from anymodal.sampling import Sampling
from anymodal.spaces import Stream

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

    from anymodal.tokenizers.config import TokenizerConfig

API = (1, 0)
_LOADING = threading.RLock()
NAME = re.compile(r"[a-z][a-z0-9_]*")
CALIBRATED = (0.1, 10.0)  # what temperatures of `Modality.calibration` are between


class Modality:
    """One kind of data; see the family classes (`ImageModality`, `TextModality`, ...) for ready ones.

    Class attributes an author sets: `settings` names the attributes that a checkpoint may override, `limits` the most
    that whole numbers of some may be, by default 2**24, or (least, most); `suffixes` are the file endings it reads, the
    first is the one it writes; `aligned` says that values cover the picture and take part in its crops and flips;
    `photographic` that they show the scene itself, so that other values follow from them; `derived_from` names
    modalities from which `derive` computes exact values; `repository` the published tokenizer; `folders` further names
    of the folder that holds its files in a dataset; `exceptions` the rules of conformance that the modality breaks for
    a good reason, by number, each with that reason; `unit` is that of its numbers, such as "m", which saved files
    state; `legible` says that people see in a saved file what it holds, as in photographs and text; `nan_is_missing`
    that NaN in a value says that nothing is known there, so that datasets may hold it and `preprocess` takes it.

    What the library asks of a class, so that any class may say yes: `spelled`: its tokens are words of the shared
    vocabulary, and it has `spell`, `parse` and `chunks`; `is_text`: its values are str; `is_picture`: its tensors are
    pictures (channels, H, W), in -1..1 if of three channels. `averages`: several draws make one value (`averaged`, or
    `merge`). `has_tokenizer`, `reads_tensors` and `draws` follow from what it defines.
    """

    name: ClassVar[str] = ""
    family: ClassVar[str] = "custom"
    api: ClassVar[str] = "1.0"
    settings: ClassVar[tuple[str, ...]] = ()
    limits: ClassVar[Mapping[str, int | tuple[int, int]]] = MappingProxyType({})
    suffixes: ClassVar[tuple[str, ...]] = ()
    aligned: ClassVar[bool] = False
    photographic: ClassVar[bool] = False
    derived_from: ClassVar[tuple[str, ...]] = ()
    folders: ClassVar[tuple[str, ...]] = ()
    exceptions: ClassVar[Mapping[str, str]] = MappingProxyType({})
    unit: ClassVar[str] = ""
    nan_is_missing: ClassVar[bool] = False
    legible: bool = True
    repository: ClassVar[str | None] = None
    spelled: ClassVar[bool] = False
    is_text: ClassVar[bool] = False
    is_picture: ClassVar[bool] = False
    has_tokenizer: ClassVar[bool] = False
    reads_tensors: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    averages: ClassVar[bool] = False
    members: Mapping[str, Modality] = MappingProxyType({})

    pending: Callable[[], Any] | None = None
    vocabulary: Any = None
    tuned: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    calibration: Mapping[str, float] = MappingProxyType({})
    _tokenizer: Any = None
    _device: Any = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if not cls.__dict__.get("name"):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        cls.has_tokenizer = cls.tokenizer_config is not Modality.tokenizer_config
        cls.reads_tensors = cls.stream_tensor is not Modality.stream_tensor
        cls.averages = cls.averages or cls.merge is not Modality.merge
        cls.draws = "rng" in inspect.signature(cls.tokenize).parameters

    def __init__(self, **settings: Any) -> None:
        for key, value in settings.items():
            if key not in self.settings:
                raise PluginError(f"modality {self.name!r} has no setting {key!r}{nearest(key, self.settings)}")
            try:
                setattr(self, key, like(getattr(type(self), key), value, **self._limits(key)))
            except ConfigError as error:
                raise ConfigError(f"the setting {key!r} of {self.name!r}: {error}") from None

    @classmethod
    def _limits(cls, key: str) -> dict[str, int]:
        """The `most` that whole numbers of a setting may be, and the `least` where one is stated."""
        stated = (vars(each).get("limits", {}) for each in cls.__mro__)
        limit = next((limits[key] for limits in stated if key in limits), MOST)
        return {"least": limit[0], "most": limit[1]} if isinstance(limit, tuple) else {"most": limit}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items())})"

    @classmethod
    @hookimpl
    def anymodal_modalities(cls) -> list[type[Modality]]:
        """The class itself, so that an entry point may name it instead of a module with the hook."""
        return [cls]

    @classmethod
    def validate(cls) -> None:
        """Raise PluginError if the class cannot be used; run once when a plugin is loaded."""
        if not NAME.fullmatch(cls.name):
            raise PluginError(f"the name {cls.name!r} of a modality must match [a-z][a-z0-9_]*")
        for key in ("settings", "suffixes", "derived_from", "folders"):
            words = getattr(cls, key)
            if not isinstance(words, tuple) or not all(isinstance(word, str) for word in words):
                raise PluginError(f"{key} of modality {cls.name!r} is a tuple of texts, as ('one',), not {words!r}")
        reasons = cls.exceptions
        texts = isinstance(reasons, Mapping) and all(isinstance(w, str) and w.strip() for w in reasons.values())
        if not texts or not all(isinstance(number, str) for number in reasons):
            raise PluginError(f"exceptions of modality {cls.name!r} are reasons by number of rule, not {reasons!r:.80}")
        try:
            streams = cls().streams()
        except AnymodalError:
            raise
        except Exception as error:
            raise PluginError(
                f"modality {cls.name!r} cannot say its streams: {type(error).__name__}: {one_line(error, 300)}"
            ) from error
        if not streams:
            raise PluginError(f"modality {cls.name!r} has no streams")
        if not isinstance(streams, (tuple, list)) or not all(isinstance(stream, Stream) for stream in streams):
            raise PluginError(f"streams of modality {cls.name!r} returns a tuple of Stream, not {streams!r:.80}")
        if len({stream.name for stream in streams}) < len(streams):
            raise PluginError(f"two streams of modality {cls.name!r} have the same name")
        for stream in streams:
            if stream.modality != cls.name or stream.name.split(".")[0] != cls.name:
                raise PluginError(f"stream {stream.name!r} must be named {cls.name!r} or {cls.name + '.part'!r}")

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, or None; `pending` makes it when it is first asked for."""
        if self._tokenizer is None and self.pending is not None:
            with _LOADING:  # other threads wait for the one that loads
                if self._tokenizer is None and self.pending is not None:
                    self.tokenizer = self.pending()
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, value: Any) -> None:
        if value is not None and self._device is not None:
            value.to(self._device)  # before other threads find it
        self._tokenizer, self.pending = value, None

    def to(self, device: Any) -> None:
        """Move the tokenizer to a device, now or when it is loaded."""
        self._device = device
        if self._tokenizer is not None:
            self._tokenizer.to(device)

    def config(self) -> dict[str, Any]:
        """The settings of this instance, as they are written into a checkpoint."""
        return {key: getattr(self, key) for key in self.settings}

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels a side of the values that a model has, its own first; () where values are of no size."""
        return ()

    @property
    def file_range(self) -> tuple[float, float] | None:
        """The values that the lowest and the highest integer of a picture file stand for; None without such files."""
        return None

    def at_size(self, size: int) -> Modality:
        """The same modality with values of one of its `sizes`, or another, in pixels a side."""
        return type(self)(**{**self.config(), "size": size, "larger": ()})

    def other_tokens(self, stored: Mapping[str, Any]) -> str:
        """Why tokens made with the settings `stored`, as JSON holds them, mean something else now; "" if they do not.

        Every setting counts unless a class knows better; settings that `stored` does not name are passed over.
        """
        mine = {key: value for key, value in self.config().items() if key in stored}
        for key, value in mine.items():
            now, then = json.dumps(value), json.dumps(stored[key])
            if now != then:
                return f"{key} {then} of {self.name!r}, not {now}"
        return ""

    # What the model sees.

    def streams(self) -> tuple[Stream, ...]:
        """The ways in and out of the model; the main one has the modality's name."""
        raise NotImplementedError(f"{type(self).__name__}.streams")

    def sampling(self, grounded: bool) -> Sampling:
        """The default way of generating this modality; `grounded`: a photographic one is among the inputs."""
        return Sampling()

    def tuned_sampling(self, grounded: bool) -> Sampling:
        """`sampling`, with what the checkpoint found to work better: `tuned` has options for 'grounded' and 'free'."""
        return attrs.evolve(self.sampling(grounded), **self.tuned.get("grounded" if grounded else "free", {}))

    def calibrated(self, probabilities: np.ndarray, of: str, temperature: float = 1.0) -> np.ndarray:
        """Probabilities (..., n) as sure as the model may be: at what `calibration` says of 'ids' or 'classes'.

        They are at a `temperature` now, which the other one replaces; without calibration they stay as they are.
        """
        if of not in self.calibration:
            return probabilities
        shares = probabilities / probabilities.max(-1, keepdims=True)  # or else small ones vanish
        powers = shares ** (temperature / self.calibration[of]) * (shares > 0)
        return powers / powers.sum(-1, keepdims=True)

    # Values: files, plain Python values, natural values.

    def read(self, path: Path) -> Any:
        """The natural value in a file. Raises ValueProblem when it cannot be read."""
        raise NotImplementedError(f"{type(self).__name__}.read")

    def write(self, value: Any, path: Path) -> None:
        """Write a natural value to a file with the first of `suffixes`, whose folder is made if there is none."""
        raise NotImplementedError(f"{type(self).__name__}.write")

    def accept(self, value: Any) -> Any:
        """The natural value of what a user may give: a file, or what the family takes (picture, array, text).

        Begin an own one with ``if self.is_file(value): return self.from_file(value)``.
        """
        return self.from_file(value) if self.is_file(value) else value

    def is_file(self, value: Any) -> bool:
        """Whether a value stands for a file: a path or an address, content as bytes, or an open file.

        Where values are text, a str is the text itself.
        """
        return is_file(value) and not (self.is_text and isinstance(value, str))

    def from_file(self, value: Any) -> Any:
        """The natural value in what stands for a file; addresses are downloaded. Raises ValueProblem."""
        with path_of(value, self.suffixes) as path:
            return self.read(path)

    def extent(self, value: Any) -> tuple[float, float] | None:
        """(width, height) in pixels of a value that covers the picture, else None."""
        return None

    def measured(self, value: Any) -> np.ndarray | None:
        """Where a value that covers the picture says anything, bool (H, W); None where it does everywhere."""
        return None

    def crop(self, value: Any, crop: Crop) -> Any:
        """The value of a part of the picture; values that do not depend on it stay as they are."""
        return value

    def derive(self, values: dict[str, Any]) -> Any:
        """The exact value computed from natural values of the modalities in `derived_from`."""
        raise NotImplementedError(f"{type(self).__name__}.derive")

    # Tensors and tokens.

    def preprocess(self, value: Any) -> np.ndarray:
        """Natural value -> the array that the tokenizer reads."""
        raise NotImplementedError(f"{type(self).__name__}.preprocess")

    def postprocess(self, tensor: np.ndarray) -> Any:
        """The array that the tokenizer writes -> natural value."""
        raise NotImplementedError(f"{type(self).__name__}.postprocess")

    def tokenizer_config(self, encoder: dict[str, Any], decoder: dict[str, Any], **options: Any) -> TokenizerConfig:
        """The tokenizer that fits the modality's settings, with the given widths and depths."""
        raise NotImplementedError(f"{type(self).__name__}.tokenizer_config")

    def parts(self, value: Any) -> list[np.ndarray]:
        """The tensors of a value from which its tokenizer learns: one, or one for each part of the value."""
        return [self.preprocess(value)]

    def tokenize(self, values: list[Any]) -> dict[str, list[np.ndarray]]:
        """Natural values -> per stream one array a value: ids (length,) int64, or rows (length, width) float32."""
        raise NotImplementedError(f"{type(self).__name__}.tokenize")

    def condition(self, values: list[Any], streams: Collection[str]) -> dict[str, list[np.ndarray]]:
        """`tokenize` as far as it yields `streams`, through which the values enter a model; cheaper where possible."""
        return {name: arrays for name, arrays in self.tokenize(values).items() if name in streams}

    def stream_tensor(self, tensors: Tensor, stream: str) -> Tensor:
        """What one of its grids is of a batch of tensors as `preprocess` gives them, on their device.

        Args:
            tensors: (B, ...) of one shape.
            stream: the grid.

        Returns:
            Ids (B, length) int64, or rows (B, length, width), through which gradients flow.
        """
        raise NotImplementedError(f"{type(self).__name__}.stream_tensor")

    def detokenize(self, tokens: list[np.ndarray]) -> list[Any]:
        """Ids of the main stream, one array a sample -> natural values."""
        raise NotImplementedError(f"{type(self).__name__}.detokenize")

    def detokenize_stream(self, stream: str, tokens: list[np.ndarray]) -> list[Any]:
        """Ids of any of its token streams, one array a sample -> natural values; a finer stream gives finer ones."""
        if stream != self.name:
            raise GenerationError(f"{self.name!r} has no values for tokens of its stream {stream!r}")
        return self.detokenize(tokens)

    def expect(self, probabilities: list[np.ndarray]) -> list[Any]:
        """Natural values of the mean codes under probabilities (length, size) of the main stream, one array a sample.

        The estimate with the least squared error in the space of codes; a single token is always a sharper guess.
        """
        raise GenerationError(f"{self.name!r} has no codes to take a mean of: use the scheme 'maskgit' or 'roar'")

    def partial(self, value: Any, keep: Any) -> Partial:
        """What is known of a target of which a part is kept: `keep` says which, of an accepted value: a mask over the
        picture for grids, True or what to keep of a sequence; see the families. Raises GenerationError."""
        raise GenerationError(f"{self.name!r} has no parts that can be kept: give it as an input, or generate it whole")

    def beginning(self, value: Any) -> Partial:
        """What is known of a target that begins with an accepted value and goes on. Raises GenerationError."""
        raise GenerationError(f"{self.name!r} is no sequence that could begin with something: leave out start")

    def averaged(self, draws: list[np.ndarray]) -> tuple[Any, np.ndarray | None]:
        """The value of several draws for the same inputs, ids of the main stream each, the likeliest first.

        Also how much they differ, float32 over the places of the value, where the modality can say: a standard
        deviation in its unit, the entropy of classes in nats, or of parts the share of draws that lack each.
        """
        values = self.detokenize(draws)
        return self.merge(values), None

    def merge(self, values: list[Any]) -> Any:
        """One value of several that were drawn for the same inputs, such as all the instances that any of them has."""
        raise GenerationError(f"{self.name!r} cannot merge several samples: leave 'samples' at 1")

    # For people.

    def show(self, value: Any, size: int = 256) -> Image:
        """A picture of the value for people, about `size` pixels wide and high."""
        raise NotImplementedError(f"{type(self).__name__}.show")

    def show_over(self, value: Any, picture: np.ndarray, size: int = 256) -> Image:
        """`show`, drawn over a picture (H, W, 3) uint8 of the scene where that says more."""
        return self.show(value, size)

    def legend(self, value: Any) -> list[tuple[tuple[int, int, int] | None, str]]:
        """What the colors of `show` mean: each color, or None, with its words."""
        return []

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """Standard metrics of predictions against the truth, over the whole list (mean IoU needs it whole)."""
        raise NotImplementedError(f"{type(self).__name__}.score")

    # For tests.

    def examples(self, rng: np.random.Generator) -> dict[str, Any]:
        """A few natural values by kind, as a model of this instance's size has them, for the rules of conformance.

        Without any, the rules make their own by the family, which is enough where all numbers in range are natural.
        """
        return {}

    def problem(self, value: Any, expected: str, repair: str = "") -> ValueProblem:
        """The error for a value that this modality cannot use; `repair` is a line of code that makes it usable."""
        hint = f"; pass {repair}" if repair else ""
        return ValueProblem(f"{self.name} takes {expected}, got {sort_of(value)}{hint}")
