#!/bin/sh
# polars 2.1.0, duckdb 2.0.1, pyarrow 26.0.1: lengths of texts, bytes and lists and counts of rows are numbers of 32 bits in
# polars, and so are their sums, which wrap around past 4 GiB: 65 texts of 64 MiB are 64 MiB together. DuckDB and pyarrow count
# on. Columns of 8 and 16 bits are summed in 64, which hides it.
#
# Seen:
#   2.1.0 65 texts of 67108864 bytes: 67108864 as UInt32, by group 67108864, two counts of 2147483648 rows: 0
#   2.0.1 two counts of 2147483648: 4294967296
#   26.0.1 two counts of 2147483648: 4294967296
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile polars==2.1.0 duckdb==2.0.1 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute

texts = pl.Series("text", ["x" * 2**26]).gather([0] * 65).to_frame()
length = pl.col("text").str.len_bytes().sum()
together = texts.select(length)["text"]
group = texts.group_by(pl.lit(0)).agg(length)["text"].item()
counts = pl.Series([2**31, 2**31], dtype=pl.Series(["x"]).value_counts()["count"].dtype)
told = f"{together.item()} as {together.dtype}, by group {group}, two counts of {2**31} rows: {counts.sum()}"
print(pl.__version__, f"65 texts of {2**26} bytes: {told}")
rows = pa.table({"number": pa.array([2**31, 2**31], pa.uint32())})
theirs = [duckdb.sql("select sum(number) from rows").fetchall()[0][0], pa.compute.sum(rows["number"]).as_py()]
for version, number in zip((duckdb.__version__, pa.__version__), theirs, strict=True):
    print(version, f"two counts of {2**31}: {number}")
assert together.dtype == counts.dtype == pl.UInt32 and together.item() == group == 65 * 2**26 - 2**32
assert counts.sum() == 0 and theirs == [2**32, 2**32]
EOF
