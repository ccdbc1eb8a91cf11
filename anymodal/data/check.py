"""What is wrong with a dataset, and what its tokens look like: all of it is read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from anymodal.config.arguments import DICT, PLACE, WHOLE, takes
from anymodal.data.config import DataConfig
from anymodal.data.report import Report
from anymodal.data.sources.open import layout_of_dataset
from anymodal.errors import DataError, system_errors
from anymodal.modality import Modality
from anymodal.progress import task


@system_errors(DataError)
@takes(path=PLACE, modalities=DICT, names=DICT, count=WHOLE)
def check_dataset(
    path: str | Path,
    modalities: Mapping[str, Modality] | None = None,
    names: Mapping[str, str] | None = None,
    count: int | None = None,
) -> Report:
    """Read a whole dataset, or its first samples.

    Args:
        path: a dataset of any layout, as a training run may name it.
        modalities: those to look for, all installed ones by default; stored grids need those with their sizes.
        names: the folders, or columns, of modalities or streams that are named otherwise there.
        count: only the first samples.

    Returns:
        What it holds, and every kind of problem with a few examples.

    Raises:
        DataError: the dataset cannot be opened at all.
        ConfigError: `names` does not fit the modalities.
    """
    config = DataConfig(path=str(path), names=names or {}, count=count)
    with task("checking") as now:

        def begin(samples: int) -> Callable[[int], None]:
            now.expect(samples)
            return now.advance

        return layout_of_dataset(config.path).check(config, modalities, begin)
