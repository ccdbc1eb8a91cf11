#!/bin/sh
# pyarrow 26.0.1, polars 2.1.0: whole numbers of a JSON or CSV file that need the 64th bit, as hashes and keys of pictures do,
# make pyarrow read the whole column as float64, so that numbers that differ become one. polars reads them whole, as 128 bits.
#
# Seen:
#   26.0.1 JSON: 2 keys of 18446744073709551557 and 18446744073709551533 are 1, double
#   26.0.1 CSV: 2 keys of 18446744073709551557 and 18446744073709551533 are 1, double
#   2.1.0 JSON: 2, Int128, CSV: 2, Int128
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pyarrow==26.0.1 polars==2.1.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.json

keys = [18446744073709551557, 18446744073709551533]
Path("a.jsonl").write_text("".join(f'{{"key": {key}}}\n' for key in keys))
Path("a.csv").write_text("key\n" + "".join(f"{key}\n" for key in keys))
for name, table in ("JSON", pa.json.read_json("a.jsonl")), ("CSV", pa.csv.read_csv("a.csv")):
    found = table["key"]
    print(pa.__version__, f"{name}: 2 keys of {keys[0]} and {keys[1]} are {len(set(found.to_pylist()))}, {found.type}")
    assert found.type == pa.float64() and found.to_pylist() == [2.0**64, 2.0**64]
json, csv = pl.read_ndjson("a.jsonl")["key"], pl.read_csv("a.csv")["key"]
print(pl.__version__, f"JSON: {json.n_unique()}, {json.dtype}, CSV: {csv.n_unique()}, {csv.dtype}")
assert json.to_list() == csv.to_list() == keys
EOF
