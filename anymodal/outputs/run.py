"""How values were made: the model, what was asked of it, and with which versions; enough to make them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from anymodal.checkpoints.atomic import whole_folder
from anymodal.errors import DataError, system_errors
from anymodal.outputs.fingerprint import Fingerprint, fingerprint
from anymodal.sampling import plain_options
from anymodal.sampling.guidance import as_guidance

if TYPE_CHECKING:
    from anymodal.generation.plan import Target, Weights
    from anymodal.model import Transformer
    from anymodal.sampling import Guidance
    from anymodal.tokens import ModalitySet

RUN = "run.json"
LIBRARIES = ("anymodal", "torch", "numpy", "pillow")


@attrs.frozen(kw_only=True)
class Origin:
    """Where a model was loaded from, as `anymodal.load` was asked: "" of one that was not loaded.

    `commit` is what the revision of a repository on the Hub stood for then.
    """

    model: str = ""
    revision: str | None = None
    commit: str | None = None


@attrs.frozen(kw_only=True)
class Run:
    """How a sample was made.

    origin: of the model.
    fingerprint: of its weights, and of the modalities that were read and made.
    device, dtype: where it ran, and the type of its weights. precision: of products; "" of runs before there was one.
    seed: of the sample.
    targets: what was generated, in order.
    options: the sampling of each target in full.
    weights: of the inputs that guided.
    versions: of the libraries.
    chain: whether each target was made from those before it too.
    finer: whether it was made by `upscale`, from the tokens of other outputs.
    kept: targets of which a part was given, to be kept or to begin with.
    size: (width, height) of pictures that were made in tiles, () of those of the model's size.
    overlap: the share of a tile that its neighbors have too, at least, in whole tokens.
    """

    origin: Origin = attrs.field(factory=Origin)
    fingerprint: Fingerprint = attrs.field(factory=Fingerprint)
    device: str = ""
    dtype: str = ""
    precision: str = ""
    seed: int = 0
    targets: tuple[str, ...] = ()
    options: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    weights: dict[str, float | str] | None = None
    versions: dict[str, str] = attrs.field(factory=dict)
    chain: bool = True
    finer: bool = False
    kept: tuple[str, ...] = ()
    size: tuple[int, ...] = ()
    overlap: float = 0.0


def run_of(
    origin: Origin,
    transformer: Transformer,
    modalities: ModalitySet,
    read: Iterable[str],
    plan: Sequence[Target],
    chain: bool,
    weights: Weights | None,
    finer: bool = False,
    kept: Iterable[str] = (),
) -> Run:
    """The run of a plan that reads values of some modalities, without the seed of a sample."""
    from anymodal.model.precision import precision_of

    targets = tuple(target.stream for target in plan)
    return Run(
        origin=origin,
        fingerprint=fingerprint(transformer, modalities, read, targets, kept),
        device=transformer.input_table.device.type,
        dtype=str(transformer.input_table.dtype).removeprefix("torch."),
        precision=precision_of(transformer),
        targets=targets,
        options={target.stream: plain_options(target.sampling) for target in plan},
        weights={name: _plain(weight) for name, weight in weights.items()} if weights else None,
        versions=_versions(),
        chain=chain,
        finer=finer,
        kept=tuple(kept),
    )


def _plain(weight: float | str | Guidance) -> float | str:
    """What `as_guidance` makes the same one of."""
    return weight if isinstance(weight, (int, float, str)) else str(as_guidance(weight))


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):  # of a tree that is used without being installed
            found[name] = version(name)
    return found


def run_file(folder: Path) -> Path:
    """The file that says how the values in a folder were made. Raises DataError if there is none."""
    with system_errors(DataError, f"cannot read {folder}"):
        path = whole_folder(folder) / RUN
        if not path.is_file():
            raise DataError(f"{folder} holds no {RUN}, so it was not saved by Outputs.save; give such a folder")
    return path
