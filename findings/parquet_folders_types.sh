#!/bin/sh
# pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.1: texts by which a table is divided into folders (`id=0007/`) come back as whatever they
# look like, also to the library that wrote them as texts: "0007" is 7 in pyarrow and polars, and its zeros are gone. One other name
# among them changes all: beside "1e5" they are texts in pyarrow, and in polars floats, of which 100000.0 was "1e5".
# duckdb keeps "0007" a text. pyarrow keeps texts where it is given the schema of the folders.
#
# Seen:
#   26.0.1 pyarrow ['0007', '0012'] -> [7, 12]; with '1e5' ['0007', '0012', '1e5']; with a schema ['0007', '0012']
#   2.1.0 polars ['0007', '0012'] -> [7, 12]; with '1e5' [7.0, 12.0, 100000.0]
#   2.0.1 duckdb ['0007', '0012'] -> ['0007', '0012']
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet


def written(name, keys):
    table = pyarrow.table({"id": keys, "score": list(range(len(keys)))})
    pyarrow.parquet.write_to_dataset(table, name, partition_cols=["id"])
    return name


def in_order(rows):
    return [row["id"] for row in sorted(rows, key=lambda row: row["score"])]


keys, mixed = ["0007", "0012"], ["0007", "0012", "1e5"]
one, two = written("one", keys), written("two", mixed)
plain, other = (in_order(pyarrow.parquet.read_table(name).to_pylist()) for name in (one, two))
texts = pyarrow.dataset.partitioning(pyarrow.schema([("id", pyarrow.string())]), flavor="hive")
kept = in_order(pyarrow.dataset.dataset(one, partitioning=texts).to_table().to_pylist())
print(pyarrow.__version__, f"pyarrow {keys} -> {plain}; with '1e5' {other}; with a schema {kept}")
frames = [in_order(polars.read_parquet(name).to_dicts()) for name in (one, two)]
print(polars.__version__, f"polars {keys} -> {frames[0]}; with '1e5' {frames[1]}")
found = [row[0] for row in duckdb.sql("select id from read_parquet('one/**/*.parquet') order by score").fetchall()]
print(duckdb.__version__, f"duckdb {keys} -> {found}")
assert (plain, other, kept) == ([7, 12], mixed, keys)
assert frames == [[7, 12], [7.0, 12.0, 100000.0]] and found == keys
EOF
