#!/bin/sh
# usearch 2.26.6, numpy 2.4.6: an index that is kept in 8 bits (`dtype="i8"`) brings every vector to one length, also where the
# metric asks for lengths: by inner products (3, 4) and (30, 40) are equally near, and by `l2sq` the distance between them is 0.
# In f16 and f32 both are as numpy has them, but for the 1 that an inner product is taken from.
#
# Seen:
#   2.26.6 ip f16: [-24.0, -249.0]
#   2.26.6 ip i8: [-15976.0, -15976.0]
#   2.26.6 l2sq f16: [0.0, 2025.0]
#   2.26.6 l2sq i8: [0.0, 0.0]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile usearch==2.26.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import usearch
from usearch.index import Index

vectors = np.array([[3, 4], [30, 40]], np.float32)
seen = {}
for metric in ("ip", "l2sq"):
    for kind in ("f16", "i8"):
        index = Index(ndim=2, metric=metric, dtype=kind)
        index.add([0, 1], vectors)
        found = index.search(vectors[0], 2)
        distances = dict(zip(found.keys.tolist(), found.distances.tolist(), strict=True))
        seen[metric, kind] = [distances[0], distances[1]]
        print(usearch.__version__, f"{metric} {kind}: {seen[metric, kind]}")
assert seen["ip", "f16"] == [-24, -249] and seen["l2sq", "f16"] == [0, 2025]
assert seen["ip", "i8"][0] == seen["ip", "i8"][1] and seen["l2sq", "i8"] == [0, 0]
EOF
