#!/bin/sh
# polars 2.1.0, pyarrow 26.0.1, numpy 2.4.6: sums of UInt32 and Int32 stay in 32 bits in polars, and lengths of texts, of bytes and of
# lists and counts of rows are UInt32: the bytes of 2**32 and more are counted from 0 again, in tables, in groups and in lazy
# frames. Sums of 8 and 16 bits become 64 bits, cumulative ones of 32 do not. `sum` of pyarrow and numpy is of 64 bits,
# `cumulative_sum` of pyarrow, by which places in a file are made of lengths, wraps around in the type that it is given.
#
# Seen:
#   2.1.0 lengths are UInt32; of two files of 2 GiB the sum is 0, in a group 0, lazily 0, cumulative [2147483648, 0]
#   2.1.0 Int32: -2147483648; UInt16: 65536
#   26.0.1 sum 4294967296, cumulative_sum [2147483648, 0], of 8 bits [200, 44]; numpy 4294967296 [2147483648, 4294967296]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile polars==2.1.0 pyarrow==26.0.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

texts = pl.Series(["a cat"])
kinds = {texts.str.len_bytes().dtype, texts.str.len_chars().dtype, texts.str.split(" ").list.len().dtype}
table = pl.DataFrame({"group": [0, 0], "bytes": pl.Series([2**31, 2**31], dtype=pl.UInt32)})
of_bytes = pl.col("bytes").sum()
whole, lazy = table["bytes"].sum(), table.lazy().select(of_bytes).collect().item()
group, running = table.group_by("group").agg(of_bytes)["bytes"].item(), table["bytes"].cum_sum().to_list()
print(pl.__version__, f"lengths are {', '.join(map(str, kinds))}; of two files of 2 GiB the sum is {whole},", end=" ")
print(f"in a group {group}, lazily {lazy}, cumulative {running}")
signed = pl.Series([2**31 - 1, 1], dtype=pl.Int32).sum()
small = pl.Series([2**15, 2**15], dtype=pl.UInt16).sum()
print(pl.__version__, f"Int32: {signed}; UInt16: {small}")
lengths = np.array([2**31, 2**31], np.uint32)
total, places = pc.sum(pa.array(lengths)).as_py(), pc.cumulative_sum(pa.array(lengths)).to_pylist()
bytes_ = pc.cumulative_sum(pa.array([200, 100], pa.uint8())).to_pylist()
print(pa.__version__, f"sum {total}, cumulative_sum {places}, of 8 bits {bytes_};", end=" ")
print("numpy", lengths.sum(), lengths.cumsum().tolist())
assert kinds == {pl.UInt32} and (whole, group, lazy, running) == (0, 0, 0, [2**31, 0])
assert (signed, small, total, places, bytes_) == (-(2**31), 2**16, 2**32, [2**31, 0], [200, 44])
assert lengths.sum() == 2**32 and lengths.cumsum().tolist() == [2**31, 2**32]
EOF
