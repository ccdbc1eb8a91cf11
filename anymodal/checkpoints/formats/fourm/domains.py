"""What each domain of 4M is in our terms: the stream it becomes, and its space (4M, arXiv 2312.06647)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs

from anymodal.errors import CheckpointError, nearest
from anymodal.spaces import LEFT_TO_RIGHT, DenseSpace, Stream, TokenSpace

TEXT_SIZE, SENTINELS, START, END = 30_000, (4, 200), 5, 3
POSITION_ROWS = 512  # of every sequence, whatever its length is
BASE_SIZE, SIZES = 224, (224, 448)

CODEBOOKS = {
    "rgb": 16384,
    "depth": 8192,
    "normal": 8192,
    "semseg": 4096,
    "clip": 8192,
    "dinov2": 8192,
    "imagebind": 8192,
    "canny_edge": 8192,
    "sam_edge": 8192,
}
PATCHES = {"dinov2": 14, "imagebind": 14}
GLOBALS = ("dinov2_global", "imagebind_global")
LENGTHS = {
    "caption": 256,
    "det": 256,
    "metadata": 40,
    "human_poses": 263,
    "color_palette": 23,
    "sam_instance": 290,
}
ORDER = (  # in which 4M's demonstration generates everything, each helped by those before it
    *("clip", "dinov2", "imagebind", "dinov2_global", "imagebind_global", "depth", "normal", "semseg"),
    *("canny_edge", "sam_edge", "rgb", "caption", "t5_caption", "det", "human_poses", "sam_instance"),
    *("color_palette", "metadata"),
)
MEMBERS = {"metadata": ("metadata_image", "metadata_geometric", "metadata_semantic")}


@attrs.frozen
class Domain:
    """One domain: its name in 4M, the stream and modality it is here, and its space.

    `settings` are those of the modality in 4M; `members` the modalities that share the stream, if there are several.
    """

    name: str
    stream: str
    modality: str
    space: TokenSpace | DenseSpace
    settings: dict[str, Any] = attrs.field(factory=dict, eq=False)
    members: tuple[str, ...] = ()

    def as_stream(self, read: bool, written: bool) -> Stream:
        return Stream(self.stream, self.modality, self.space, read, written and isinstance(self.space, TokenSpace))


def _grid(name: str, size: int) -> Domain:
    side = size // PATCHES.get(name, 16)
    stream = name if size == BASE_SIZE else f"{name}.{size}"
    settings = {"size": BASE_SIZE, "patch": size // side, "codebook": CODEBOOKS[name], "larger": _larger(size)}
    return Domain(f"tok_{name}@{size}", stream, name, TokenSpace.grid(CODEBOOKS[name], side, side), settings)


def _pixels(size: int) -> Domain:
    stream = "rgb.pixels" if size == BASE_SIZE else f"rgb.pixels_{size}"
    settings = {"size": BASE_SIZE, "patch": 16, "larger": _larger(size)}
    return Domain(f"rgb@{size}", stream, "rgb", DenseSpace.grid(16 * 16 * 3, size // 16, size // 16), settings)


def _larger(size: int) -> tuple[int, ...]:
    return () if size == BASE_SIZE else (size,)


def _all() -> Iterable[Domain]:
    for size in SIZES:
        yield _pixels(size)
        yield from (_grid(name, size) for name in CODEBOOKS)
    for name in GLOBALS:
        space = TokenSpace(8192, 16, learned=True)
        yield Domain(f"tok_{name}", name, name, space, {"codebook": space.size, "codebooks": space.length})
    for name, length in LENGTHS.items():
        space = TokenSpace.sequence(TEXT_SIZE, length, sentinels=SENTINELS, end=END)
        settings = {"length": length, "shared": False}
        yield Domain(name, name, name, space, settings, MEMBERS.get(name, ()))
    dense = DenseSpace(4096, 77, LEFT_TO_RIGHT, bias=True)
    yield Domain("t5_caption", "t5_caption", "t5_caption", dense, {"width": dense.width, "length": dense.length})


DOMAINS: dict[str, Domain] = {domain.name: domain for domain in _all()}
BY_STREAM: dict[str, Domain] = {domain.stream: domain for domain in DOMAINS.values()}


def domain(name: str, source: str) -> Domain:
    """The domain of a name in a config. Raises CheckpointError that names what 4M does not have."""
    found = DOMAINS.get(name)
    if found is None:
        stem = re.sub(r"@.*", "", name).removeprefix("tok_")
        raise CheckpointError(
            f"{source} has the domain {name!r}, which is none of 4M's{nearest(name, DOMAINS)}; a model with a modality"
            f" {stem!r} of its own needs that plugin and our own checkpoint format"
        )
    return found


def domain_of(stream: str) -> Domain:
    """The domain that a stream of ours is written as. Raises CheckpointError for one that 4M has no domain for."""
    found = BY_STREAM.get(stream)
    if found is None:
        raise CheckpointError(f"4M has no domain for the stream {stream!r}{nearest(stream, BY_STREAM)}")
    return found
