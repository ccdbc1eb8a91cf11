#!/bin/sh
# pyarrow 26.0.1, datasets 5.2.0, torch 2.13.0: of rows that hold different modalities, `Table.from_pylist`, `Dataset.from_list`,
# `Dataset.from_generator` and `Dataset.map`, and PyTorch's `default_collate` keep the keys of the first row, and leave what
# others have beside them without a word. In another order of the same rows the first two keep all, and the others raise.
#
# Seen:
#   a text, then a text with a picture: pyarrow ['text'], from_list ['text'], from_generator ['text'], map ['text'], collate ['text']
#   the other way around: pyarrow ['text', 'image'], from_list ['text', 'image'], from_generator DatasetGenerationError, map KeyError,
#   collate KeyError
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pyarrow==26.0.1 datasets==5.2.0 torch==2.13.0 numpy==2.4.6
cd "$work"
HF_HOME="$work/cache" "$work/venv/bin/python" - <<'EOF'
import logging

import datasets
import pyarrow
from torch.utils.data import default_collate

datasets.disable_progress_bars()
logging.disable()


def generated(rows):
    return datasets.Dataset.from_generator(lambda: iter(rows)).column_names


def mapped(rows):
    made = datasets.Dataset.from_dict({"k": range(len(rows))}).map(lambda row: rows[row["k"]], remove_columns="k")
    return made.column_names


WAYS = {
    "pyarrow": lambda rows: pyarrow.Table.from_pylist(rows).column_names,
    "from_list": lambda rows: datasets.Dataset.from_list(rows).column_names,
    "from_generator": generated,
    "map": mapped,
    "collate": lambda rows: list(default_collate(rows)),
}


def keys(way, rows):
    try:
        return way(rows)
    except (KeyError, datasets.exceptions.DatasetGenerationError) as error:
        return type(error).__name__


rows = [{"text": "a dog"}, {"text": "a cat", "image": "cat.png"}]
first, other = ({name: keys(way, order) for name, way in WAYS.items()} for order in (rows, rows[::-1]))
print("a text, then a text with a picture:", ", ".join(f"{name} {found}" for name, found in first.items()))
print("the other way around:", ", ".join(f"{name} {found}" for name, found in other.items()))
assert all(found == ["text"] for found in first.values())
assert list(other.values()) == [["text", "image"]] * 2 + ["DatasetGenerationError"] + ["KeyError"] * 2
EOF
