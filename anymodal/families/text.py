"""Sequences written in the shared vocabulary: plain text, and structured values spelled as words and value tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.errors import ConfigError, GenerationError, PluginError
from anymodal.families.agreement import lacking, most_agreeing, words_in
from anymodal.families.blanks import kept_parts, prompt, text_pieces, written
from anymodal.families.drawing import note, paper, text_page
from anymodal.families.ready import vocabulary_of
from anymodal.families.starts import template, written_beside
from anymodal.files import naming, read_json, read_text, write_json, write_text, written_as
from anymodal.modality import Modality
from anymodal.partial import Partial
from anymodal.sampling import Sampling
from anymodal.spaces import Stream, TokenSpace
from anymodal.text import is_text, parse_value, words_of
from anymodal.vocabulary_file import CONTINUED

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from anymodal.crops import Crop
    from anymodal.families.boxes import LabeledBox
else:
    from anymodal.lazy import np


MOST_TOKENS = 2**16  # of a sequence
MOST_LEVELS = 2**16  # that a value token may have
KEEPS = ("random", "all", "binary")
AROUND = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\ufeff"  # white space, and the mark of byte order


class StructuredModality(Modality):
    """A value that is spelled as text: override `accept`, `spell` and `parse`; files are JSON, of what `plain` gives.

    `length` bounds the sequence with its end mark. `keep` is advice for who writes a recipe, how much of it should stay
    visible in training ('random', 'all' or 'binary'): what counts is `keep` of the recipe's masking, without which it
    is 'random'. `shared` sequences use one table of embeddings.

    A value may have several right spellings, such as its parts in any order. Without `rng` there is one, always the
    same; with it, `spell` draws by `rng.permutation(n)` and `rng.integers(low, high)`, so that training sees them all.
    """

    family: ClassVar[str] = "structured sequence"
    spelled: ClassVar[bool] = True
    settings: ClassVar[tuple[str, ...]] = ("length", "shared")
    suffixes: ClassVar[tuple[str, ...]] = (".json",)
    limits: ClassVar[Mapping[str, int | tuple[int, int]]] = {"length": MOST_TOKENS}
    keep: ClassVar[str] = "random"
    has_boxes: ClassVar[bool] = False
    length: int = 256
    shared: bool = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.has_boxes = cls.boxes is not StructuredModality.boxes
        cls.averages = cls.averages or cls.parts_in is not StructuredModality.parts_in

    @classmethod
    def validate(cls) -> None:
        super().validate()
        if cls.keep not in KEEPS:
            raise PluginError(f"keep of modality {cls.name!r} is one of {', '.join(KEEPS)}, not {cls.keep!r}")

    def spell(self, value: Any, rng: np.random.Generator | None = None) -> str:
        """The value as text of words and value tokens, in an order drawn from `rng` if it has several."""
        raise NotImplementedError(f"{type(self).__name__}.spell")

    def chunks(self, value: Any, rng: np.random.Generator | None = None) -> list[str]:
        """The parts of the text that mean something alone and may change places; one unless overridden."""
        return [self.spell(value) if rng is None else self.spell(value, rng)]

    def parse(self, text: str) -> Any:
        """The value in a text that a model wrote; the valid part of a malformed one, never an exception."""
        raise NotImplementedError(f"{type(self).__name__}.parse")

    def plain(self, value: Any) -> Any:
        """The value as JSON holds it; `accept` takes it back."""
        return value

    def boxes(self, value: Any) -> list[LabeledBox]:
        """The boxes that a value consists of; a modality that has this and `from_boxes` can be drawn by hand."""
        raise NotImplementedError(f"{type(self).__name__}.boxes")

    def from_boxes(self, boxes: Sequence[LabeledBox]) -> Any:
        """The value of boxes. Raises ValueProblem for those that it cannot hold."""
        raise NotImplementedError(f"{type(self).__name__}.from_boxes")

    def read(self, path: Path) -> Any:
        """The value in a JSON file, as `accept` takes it. Raises ValueProblem."""
        path = Path(path)
        with naming(path):
            return self.accept(read_json(path))

    def write(self, value: Any, path: Path) -> None:
        path = written_as(path, f"{self.name} is written as JSON", ".json", self.suffixes)
        write_json(self.plain(value), path)

    def parts_in(self, value: Any, other: Any) -> np.ndarray:
        """Which parts of a value, such as words or boxes, another one has too: bool (parts,), in their order.

        A modality that has this can be drawn several times (`averaged`).
        """
        raise NotImplementedError(f"{type(self).__name__}.parts_in")

    def part_names(self, value: Any) -> list[str]:
        """A name for people of each part that `parts_in` speaks of."""
        return [f"{number + 1}:" for number in range(len(self.parts_in(value, value)))]

    def averaged(self, draws: list[np.ndarray]) -> tuple[Any, np.ndarray | None]:
        """What `merge` makes of the draws, or else the one that agrees best with the others; and for each part of it
        the share of the draws that lack it, float32 (parts,)."""
        return self.agreed(self.detokenize(draws))

    def averaged_views(self, draws: list[np.ndarray], crops: Sequence[Crop]) -> tuple[Any, np.ndarray | None]:
        """As `averaged`, of draws each of which read another part of the picture."""
        values = self.detokenize(draws)
        return self.agreed([self.crop(value, crop.back) for value, crop in zip(values, crops, strict=True)])

    def agreed(self, values: list[Any]) -> tuple[Any, np.ndarray | None]:
        """As `averaged`, of the values of the draws."""
        has = self.parts_in
        merges = type(self).merge is not Modality.merge
        value = self.merge(values) if merges else values[most_agreeing(values, has)]
        tells = type(self).parts_in is not StructuredModality.parts_in
        return value, lacking(value, values, has) if tells else None

    def show(self, value: Any, size: int = 256) -> Image:
        """What a file would hold, wrapped, in type that fits the square."""
        return text_page(json.dumps(self.plain(value), ensure_ascii=False), size)

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """The share of values that are spelled as the true ones."""
        alike = [self.spell(p) == self.spell(t) for p, t in zip(predictions, truths, strict=True)]
        return {"alike": sum(alike) / max(len(alike), 1)}

    def show_doubts(self, value: Any, uncertainty: np.ndarray, size: int = 256) -> Image:
        """The parts of a value, each with the share of the draws that have it."""
        named = zip(self.part_names(value), uncertainty, strict=True)
        lines = ", ".join(f"{name} {1 - float(doubt):.0%}" for name, doubt in named)
        return text_page(lines, size) if lines else note(paper(size), "nothing")

    def other_tokens(self, stored: Mapping[str, Any]) -> str:
        """As the base says; a sequence may be cut otherwise, and share its table of embeddings or not."""
        return super().other_tokens({k: v for k, v in stored.items() if k not in ("length", "shared")})

    def streams(self) -> tuple[Stream, ...]:
        if self.vocabulary is not None:
            space = self.vocabulary.space(self.length, self.shared)
        else:
            key = "text" if self.shared else None
            space = TokenSpace.sequence(30_000, self.length, sentinels=(4, 200), end=3, vocabulary=key)
        return (Stream(self.name, self.name, space),)

    def sampling(self, grounded: bool) -> Sampling:
        return Sampling(scheme="autoregressive", temperature=0.1, top_p=0.8)

    def _ids(self, text: str, most: int | None = None) -> np.ndarray:
        """Ids (n,) int64 of a text, at most `most` of them.

        Raises ConfigError for a value token that the vocabulary lacks: it would become pieces of a word.
        """
        vocabulary = vocabulary_of(self)
        for kind, number in () if self.is_text else filter(None, map(parse_value, text.split())):
            if number >= vocabulary.bins[kind]:
                raise ConfigError(
                    f"{self.name} writes v{kind}={number}, and its vocabulary has {vocabulary.bins[kind]} value tokens"
                    f" of v{kind}: train the vocabulary with more bins, or give {self.name} fewer levels"
                )
        return vocabulary.encode(text, most)

    def partial(self, value: Any, keep: Any) -> Partial:
        """`keep` is True for all that is given, or says which parts: numbers of a list, or names of a dict."""
        vocabulary = vocabulary_of(self)
        kept, pieces = self.pieces(value, keep)
        space = vocabulary.space(self.length, self.shared)
        known = [None if piece is None else self._ids(piece) for piece in pieces]

        def spans(ids: np.ndarray) -> list[str]:
            texts = [vocabulary.decode(span) for span in written(ids, known, space.end)]
            return [text.removeprefix(CONTINUED) for text in texts]  # a word that is kept ends where it ended

        return self._partial(prompt(known, space, self.name), kept, pieces, spans)

    def beginning(self, value: Any) -> Partial:
        """The value is what is written first, as `started` spells it."""
        vocabulary = vocabulary_of(self)
        kept, pieces = self.started(value)
        space = vocabulary.space(self.length, self.shared)
        known = [piece if isinstance(piece, int) else self._ids(piece) for piece in pieces]
        parts = [*(None if isinstance(piece, int) else piece for piece in pieces), None]

        def spans(ids: np.ndarray) -> list[str]:
            return [vocabulary.decode(span) for span in written_beside(ids, known, space.end)]

        hole = np.array([space.sentinel(1)])
        return self._partial(hole, kept, parts, spans, template(known, space, self.name))

    def _partial(
        self,
        tokens: np.ndarray,
        kept: Any,
        pieces: Sequence[str | None],
        spans: Callable[[np.ndarray], list[str]],
        start: np.ndarray | None = None,
    ) -> Partial:
        """The partial of pieces; `spans` gives the text of each hole from the ids of the whole."""

        def finish(made: Any, ids: np.ndarray) -> Any:
            return self.joined(kept, pieces, spans(ids))

        def unite(draws: Sequence[np.ndarray]) -> tuple[Any, np.ndarray | None]:
            return self.united(kept, pieces, [spans(ids) for ids in draws])

        return Partial(tokens, None, finish, start, unite if self.averages else None)

    def pieces(self, value: Any, keep: Any) -> tuple[Any, list[str | None]]:
        """The kept part of a value, and its text in pieces, with None for each hole. Raises GenerationError."""
        kept = kept_parts(value, keep, self.name)
        nothing = isinstance(kept, (list, Mapping)) and not kept  # which is not to say that there is none
        return kept, [*(chunk for chunk in ([] if nothing else self.chunks(kept)) if chunk), None]

    def started(self, value: Any) -> tuple[Any, list[str | int]]:
        """The part of a value that stays as it is, and the text that is written first, in pieces.

        A number among them stands for so many tokens that the model decides; nothing follows one at the end.
        """
        return value, [chunk for chunk in self.chunks(value) if chunk] if len(value) else []

    def united(
        self, kept: Any, pieces: Sequence[str | None], draws: Sequence[Sequence[str]]
    ) -> tuple[Any, np.ndarray | None]:
        """As `averaged`, of kept parts and of what several draws wrote into the holes.

        Kept parts of a list stay as they were, and are sure.
        """
        if not isinstance(kept, list):
            return self.agreed([self.joined(kept, pieces, spans) for spans in draws])
        value, doubts = self.agreed([self.parse(" ".join(spans)) for spans in draws])
        sure = None if doubts is None else np.concatenate([np.zeros(len(kept), np.float32), doubts])
        return [*kept, *value], sure

    def joined(self, kept: Any, pieces: Sequence[str | None], spans: Sequence[str]) -> Any:
        """The value of kept parts, as they were, and of the texts that were written into the holes."""
        made = self.parse(" ".join(spans))
        return {**made, **kept} if isinstance(kept, Mapping) else [*kept, *made]

    def tokenize(self, values: list[Any], rng: np.random.Generator | None = None) -> dict[str, list[np.ndarray]]:
        """Natural values -> ids; `rng` as in `spell`."""
        end = vocabulary_of(self).end
        texts = [self.spell(v) if rng is None else self.spell(v, rng) for v in values]
        return {self.name: [np.append(self._ids(text, self.length), end)[: self.length] for text in texts]}

    def detokenize(self, tokens: list[np.ndarray]) -> list[Any]:
        return [self.parse(vocabulary_of(self).decode(ids)) for ids in tokens]


class TextModality(StructuredModality):
    """Plain text: values are str, files UTF-8 .txt. A path object is a file, a str is the text itself.

    Lines end in a line feed, and white space around a text is no part of it, whichever way it comes.
    Crops and flips leave text alone, also where it says left or right.
    """

    family: ClassVar[str] = "text"
    is_text: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".json")

    def spell(self, value: str, rng: np.random.Generator | None = None) -> str:
        return value

    def parse(self, text: str) -> str:
        return text

    def parts_in(self, value: str, other: str) -> np.ndarray:
        """Which words, parted by white space, are in another text too, in the same order."""
        return words_in(value, other)

    def part_names(self, value: str) -> list[str]:
        return value.split()

    def pieces(self, value: str, keep: Any) -> tuple[str, list[str | None]]:
        """The words between blanks (``a ___ car``), all of which are kept."""
        pieces = text_pieces(value)
        if keep is not True or None not in pieces:
            raise GenerationError(f"{self.name} is kept by True, as a text with blanks: 'a ___ car'; got {value!r:.80}")
        return value, pieces

    def joined(self, kept: str, pieces: Sequence[str | None], spans: Sequence[str]) -> str:
        left, texts = iter(spans), list[str]()
        for piece in pieces:
            text = next(left) if piece is None else piece
            if piece is None and texts and text.startswith(CONTINUED):  # a word may go on where a piece ends
                texts[-1] += text.removeprefix(CONTINUED)
            elif text:
                texts.append(text)
        return " ".join(texts)

    def read(self, path: Path) -> str:
        """The text of a file; a .json file holds a string, a list of strings (the first counts) or {"caption": ...}."""
        path = Path(path)
        if path.suffix.lower() != ".json":
            with naming(path):
                return self.accept(read_text(path))
        value = read_json(path)
        value = value[0] if isinstance(value, list) and value else value
        value = value.get("caption") if isinstance(value, dict) else value
        with naming(path):
            return self.accept(value)

    def write(self, value: str, path: Path) -> None:
        if (path := Path(path)).suffix.lower() == ".json":
            write_json(value, path)
        else:
            write_text(value + "\n", path)

    def accept(self, value: Any) -> str:
        if self.is_file(value):
            return str(self.from_file(value))
        if not is_text(value):
            raise self.problem(value, "text (a str of whole letters, which UTF-8 can hold)")
        return value.replace("\r\n", "\n").replace("\r", "\n").strip(AROUND)

    def sampling(self, grounded: bool) -> Sampling:
        return Sampling(scheme="autoregressive", temperature=0.3, top_p=0.8)

    def show(self, value: str, size: int = 256) -> Image:
        """The text, wrapped, in type that fits the square."""
        return text_page(value, size) if value.strip() else note(paper(size), "no words")

    def score(self, predictions: list[str], truths: list[str]) -> dict[str, float]:
        """F1 of the words, each counted as often as it occurs, averaged over the texts.

        Words are cut as the vocabulary does it: in small letters, without accents, punctuation apart.
        """
        return {"word_f1": float(np.mean([_word_f1(p, t) for p, t in zip(predictions, truths, strict=True)]))}


def _word_f1(prediction: str, truth: str) -> float:
    from collections import Counter

    said, meant = Counter(words_of(prediction)), Counter(words_of(truth))
    common = sum((said & meant).values())
    total = sum(said.values()) + sum(meant.values())
    return 2 * common / total if total else 1.0
