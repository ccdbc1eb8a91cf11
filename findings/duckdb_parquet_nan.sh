#!/bin/sh
# duckdb 2.0.1, polars 2.1.0, pyarrow 26.0.1: in DuckDB a NaN is greater than any number, so that `score > 5` finds it in a table,
# and does not in the same rows as a Parquet file of pyarrow or polars, whose statistics leave NaN out. Their maximum is another
# too, by who wrote the file. A file that DuckDB wrote is as the table; polars finds the row in all of them.
#
# Seen:
#   2.0.1 score > 5: table 1 row, file of duckdb 1, of polars 0, of pyarrow 0
#   2.0.1 maximum: table nan, file of duckdb nan, of polars nan, of pyarrow 3.0
#   2.1.0 score > 5: file of duckdb 1 row, of polars 1, of pyarrow 1
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile duckdb==2.0.1 polars==2.1.0 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import duckdb
import polars
import pyarrow
import pyarrow.parquet

score = [1.0, 2.0, float("nan"), 3.0]
duckdb.sql("create table rows (score double)")
duckdb.executemany("insert into rows values (?)", [[number] for number in score])
duckdb.sql("copy rows to 'duckdb.parquet'")
polars.DataFrame({"score": score}).write_parquet("polars.parquet")
pyarrow.parquet.write_table(pyarrow.table({"score": score}), "pyarrow.parquet")
makers = ("duckdb", "polars", "pyarrow")
tables = ["rows", *(f"'{maker}.parquet'" for maker in makers)]
found = [len(duckdb.sql(f"select * from {table} where score > 5").fetchall()) for table in tables]
greatest = [duckdb.sql(f"select max(score) from {table}").fetchall()[0][0] for table in tables]
files = [polars.scan_parquet(f"{maker}.parquet") for maker in makers]
theirs = [len(file.filter(polars.col("score") > 5).collect()) for file in files]
told = "table {}{}, file of duckdb {}, of polars {}, of pyarrow {}"
print(duckdb.__version__, "score > 5:", told.format(found[0], " row", *found[1:]))
print(duckdb.__version__, "maximum:", told.format(greatest[0], "", *greatest[1:]))
print(polars.__version__, "score > 5: file of duckdb {} row, of polars {}, of pyarrow {}".format(*theirs))
assert found == [1, 1, 0, 0] and theirs == [1, 1, 1]
assert [str(number) for number in greatest] == ["nan", "nan", "nan", "3.0"]
EOF
