"""Rows of Hugging Face `datasets`: tables, lines, saved folders."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from aligned_layouts import COLORS, picture

import anymodal as am
from anymodal.data.config import DataConfig
from anymodal.data.sources.base import layout_of
from anymodal.data.sources.huggingface import RowSource
from fuzz.subjects.base import Subject, scratch
from fuzz.subjects.base import held as held_in

FEATURES = datasets.Features(
    {
        "rgb": datasets.Image(),
        "depth": datasets.Sequence(datasets.Sequence(datasets.Value("float32"))),
        "caption": datasets.Value("string"),
    }
)


def rows(folder: Path) -> Iterator[Subject]:
    """The same rows in each kind of file."""
    datasets.config.HF_DATASETS_CACHE = Path(scratch(), "datasets")  # one for this process
    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity_error()
    pictures = [{"bytes": picture(k, 8, 6), "path": None} for k in range(4)]
    depth = [np.full((6, 8), 0.5 + k, np.float32).tolist() for k in range(4)]
    made = {"rgb": pictures, "depth": depth, "caption": [f"a {color} car" for color in COLORS[:4]]}
    table = datasets.Dataset.from_dict(made, features=FEATURES)
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    pairs = zip(made["caption"], depth, strict=True)
    lines = "".join(json.dumps({"caption": text, "depth": each}) + "\n" for text, each in pairs).encode()
    table.save_to_disk(folder / "saved")
    saved = {f"saved/{name}": content for name, content in held_in(folder / "saved").items()}
    kinds = {name: am.registry().modality(name)(**({} if name == "caption" else {"size": 32})) for name in FEATURES}
    made_files = {"a.parquet": {"a.parquet": buffer.getvalue()}, "a.jsonl": {"a.jsonl": lines}, "saved": saved}
    for name, files in made_files.items():
        read = partial(_rows, kinds, name)
        yield Subject("rows", name, files, tuple(files), read, spelled_anew=name == "a.parquet")


def _rows(kinds: dict[str, am.Modality], name: str, folder: Path) -> list[Any]:
    source = RowSource(DataConfig(path=str(folder / name)), kinds, layout_of(kinds))
    return [source.values(index) for index in range(min(len(source), 20))]
