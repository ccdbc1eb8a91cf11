#!/bin/sh
# datasets 5.2.0, pandas 3.1.1: `to_csv` writes a list as numpy prints it, so of more than 1000 numbers it writes the first three
# and the last three with dots between them, and of others eight digits, and no error is raised. `to_json` keeps ten digits after
# the point (`double_precision`), so 1e-12 becomes 0.0, and both write NaN as nothing at all. `to_parquet` keeps all.
#
# Seen:
#   5.2.0 1100 numbers as csv: '[   0    1    2 ... 1097 1098 1099]', 1/3: '[0.33333333]', as json: {"x":0.0,"n":null}
#   5.2.0 as parquet: 1100 numbers, 1e-12, nan
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile datasets==5.2.0 pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
cd "$work"
HF_HOME="$work/cache" "$work/venv/bin/python" - <<'EOF'
import csv
import math

import datasets

datasets.disable_progress_bars()


def written(values):
    datasets.Dataset.from_dict({"v": [values]}).to_csv("v.csv")
    with open("v.csv", newline="") as file:
        return next(csv.DictReader(file))["v"]


numbers = list(range(1100))
long, third = written(numbers), written([1 / 3])
small = datasets.Dataset.from_dict({"x": [1e-12], "n": [math.nan], "v": [numbers]})
small.select_columns(["x", "n"]).to_json("x.jsonl")
small.to_parquet("x.parquet")
with open("x.jsonl") as file:
    line = file.read().strip()
kept = datasets.Dataset.from_parquet("x.parquet")[0]
print(datasets.__version__, f"1100 numbers as csv: {long!r}, 1/3: {third!r}, as json: {line}")
print(datasets.__version__, f"as parquet: {len(kept['v'])} numbers, {kept['x']}, {kept['n']}")
assert long.split() == ["[", "0", "1", "2", "...", "1097", "1098", "1099]"]
assert third == "[0.33333333]" and line == '{"x":0.0,"n":null}'
assert kept["v"] == numbers and kept["x"] == 1e-12 and math.isnan(kept["n"])
EOF
