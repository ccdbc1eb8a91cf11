#!/bin/sh
# pylance 14.0.2, pyarrow 26.0.1, numpy 2.4.6: vectors in 8 bits, as quantized ones are, are compared by the bits in which they
# differ, unless a metric is named, and every other metric is refused for them: 128 and 127 are as far apart as can be, and 0 is
# nearer to 200 than 255 and 180 are.
#
# Seen:
#   14.0.2 from 200, in float32: {200: 0.0, 180: 6400.0, 255: 48400.0, 0: 640000.0}
#   14.0.2 from 200, in uint8: {200: 0.0, 0: 48.0, 180: 80.0, 255: 80.0}
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pylance==14.0.2 pyarrow==26.0.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import lance
import numpy as np
import pyarrow as pa

levels = np.array([200, 180, 255, 0], np.uint8)
found = {}
for kind in (np.float32, np.uint8):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(levels, 16).astype(kind)), 16)
    table = lance.write_dataset(pa.table({"level": levels, "vector": vectors}), kind.__name__)
    rows = table.to_table(nearest={"column": "vector", "q": np.full(16, 200, kind), "k": 4})
    found[kind.__name__] = dict(zip(rows["level"].to_pylist(), rows["_distance"].to_pylist(), strict=True))
    print(lance.__version__, f"from 200, in {kind.__name__}:", found[kind.__name__])
assert list(found["float32"]) == [200, 180, 255, 0] and list(found["uint8"])[1] == 0
EOF
