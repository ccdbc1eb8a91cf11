#!/bin/sh
# fastparquet 2026.9.0, pyarrow 26.0.1, pandas 3.1.1: boxes, a list of lists in each row, that pyarrow wrote are read as None, all
# of them, and so are lists of structs; numbers in half precision are read as two bytes each, and a struct of bytes and path, as
# datasets writes pictures, as two columns. Lists that fastparquet writes are texts of JSON to pyarrow. Nothing raises.
#
# Seen:
#   2026.9.0 {'boxes': [None, None], 'words': [None, None], 'half': [b'\x00>', b'\x00@'], 'image.bytes': [b'a', b'b']}
#   26.0.1 {'ids': ['[1,2]', '[3]']}
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile fastparquet==2026.9.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import fastparquet
import pandas
import pyarrow
import pyarrow.parquet

columns = {
    "boxes": [[[1, 2], [3, 4]], [[5, 6]]],
    "words": [[{"id": 1}], [{"id": 2}]],
    "half": pyarrow.array([1.5, 2.0], pyarrow.float16()),
    "image": [{"bytes": b"a"}, {"bytes": b"b"}],
}
pyarrow.parquet.write_table(pyarrow.table(columns), "rows.parquet")
read = fastparquet.ParquetFile("rows.parquet").to_pandas().to_dict("list")
fastparquet.write("lists.parquet", pandas.DataFrame({"ids": [[1, 2], [3]]}))
texts = pyarrow.parquet.read_table("lists.parquet").to_pydict()
print(fastparquet.__version__, read)
print(pyarrow.__version__, texts)
assert pyarrow.parquet.read_table("rows.parquet").to_pydict()["boxes"] == columns["boxes"]
assert read["boxes"] == read["words"] == [None, None] and read["half"] == [b"\x00>", b"\x00@"]
assert read["image.bytes"] == [b"a", b"b"] and texts == {"ids": ["[1,2]", "[3]"]}
EOF
