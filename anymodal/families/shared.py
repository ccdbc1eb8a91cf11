"""Several structured modalities in one stream, as 4M-21 keeps all its metadata (arXiv 2406.09406)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from anymodal.crops import Crop
from anymodal.errors import PluginError, ValueProblem, brief, nearest
from anymodal.families.text import StructuredModality
from anymodal.files import naming, read_json
from anymodal.modality import Modality

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


class SharedModality(StructuredModality):
    """One stream `name` that the `members` write and read together.

    Values are dicts by member name; members may be absent. The text is the members' chunks one after the other, or
    mixed with `rng`. Reading it back, every member sees the whole text and takes the chunks it knows, so members need
    words or codes of their own. Files: JSON, either one flat object that all members read, or what `write` wrote, in
    which other members are passed over.
    """

    family: ClassVar[str] = "shared sequence"

    def __init__(self, name: str, members: Iterable[Modality], **settings: Any) -> None:
        super().__init__(**settings)
        self.members: dict[str, Any] = {member.name: member for member in members}
        if not self.members:
            raise PluginError(f"the shared stream {name!r} needs at least one member")
        vars(self)["name"] = name

    def _each(self, value: Any) -> list[tuple[Any, Any]]:
        """The members that a value has, in their own order. Raises ValueProblem for another name."""
        if not isinstance(value, Mapping):
            raise self.problem(value, f"a dict of {', '.join(self.members)}")
        for name in value:
            if name not in self.members:
                near = nearest(f"{name!s:.80}", self.members)
                raise ValueProblem(f"{self.name} takes a dict of {', '.join(self.members)}, not {brief(name)}{near}")
        return [(member, value[name]) for name, member in self.members.items() if name in value]

    def accept(self, value: Any) -> dict[str, Any]:
        if self.is_file(value):
            return self.from_file(value)
        return {member.name: member.accept(part) for member, part in self._each(value) if part is not None}

    def read(self, path: Path) -> dict[str, Any]:
        path = Path(path)
        raw = read_json(path)
        if isinstance(raw, dict) and (mine := {name: part for name, part in raw.items() if name in self.members}):
            with naming(path):
                return self.accept(mine)
        return {member.name: member.read(path) for member in self.members.values()}

    def plain(self, value: Any) -> dict[str, Any]:
        return {member.name: member.plain(part) for member, part in self._each(value)}

    def crop(self, value: Any, crop: Crop) -> dict[str, Any]:
        return {member.name: member.crop(part, crop) for member, part in self._each(value)}

    def chunks(self, value: Any, rng: np.random.Generator | None = None) -> list[str]:
        spelled = [chunk for member, part in self._each(value) for chunk in member.chunks(part)]
        return spelled if rng is None else [spelled[k] for k in rng.permutation(len(spelled))]

    def spell(self, value: Any, rng: np.random.Generator | None = None) -> str:
        return " ".join(self.chunks(value, rng))

    def parse(self, text: str) -> dict[str, Any]:
        return {name: member.parse(text) for name, member in self.members.items()}

    def joined(self, kept: Any, pieces: Sequence[str | None], spans: Sequence[str]) -> dict[str, Any]:
        """The values of the members; one with parts, such as numbers, may have kept ones and written ones."""
        values = self.parse(" ".join(spans)) | kept
        for name, part in kept.items():
            if isinstance(part, (Mapping, list)):
                values[name] = self.members[name].joined(part, pieces, spans)
        return values

    def show(self, value: Any, size: int = 256) -> Image:
        """The members' pictures side by side in a square."""
        return self._tiled(value, size, lambda member, part, tile: member.show(part, tile))

    def show_over(self, value: Any, picture: np.ndarray, size: int = 256) -> Image:
        """As `show`, of members that are drawn over the picture where that says more."""
        return self._tiled(value, size, lambda member, part, tile: member.show_over(part, picture, tile))

    def _tiled(self, value: Any, size: int, shown: Callable[[Any, Any, int], Image]) -> Image:
        from PIL import Image

        parts = self._each(value)
        picture = Image.new("RGB", (size, size), (255, 255, 255))
        columns = max(1, math.ceil(math.sqrt(len(parts))))
        tile = size // columns
        for k, (member, part) in enumerate(parts):
            small = shown(member, part, tile).resize((tile, tile))
            picture.paste(small, (k % columns * tile, k // columns * tile))
        return picture

    def score(self, predictions: list[Any], truths: list[Any]) -> dict[str, float]:
        """The members' scores, named MEMBER.SCORE, over the samples of which both sides have the member."""
        scores: dict[str, float] = {}
        for name, member in self.members.items():
            pairs = [(p[name], t[name]) for p, t in zip(predictions, truths, strict=True) if name in t and name in p]
            if pairs:
                own = member.score([p for p, _ in pairs], [t for _, t in pairs])
                scores |= {f"{name}.{key}": number for key, number in own.items()}
        return scores
