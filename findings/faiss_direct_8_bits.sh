#!/bin/sh
# faiss-cpu 1.15.1, numpy 2.4.6: `QT_8bit_direct`, by which vectors that are whole numbers are kept in 8 bits, cuts parts off and wraps
# around what does not fit, so that 256 is 0 and -1 is 255, and 128 is -128 in the kind with a sign: the nearest vector to 256 is 0.
#
# Seen:
#   1.15.1 QT_8bit_direct [1.9, 255.0, 256.0, -1.0] -> [1.0, 255.0, 0.0, 255.0]
#   1.15.1 QT_8bit_direct_signed [-1.9, 127.0, 128.0, -129.0] -> [-2.0, 127.0, -128.0, 127.0]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile faiss-cpu==1.15.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import faiss
import numpy as np

rows = {"QT_8bit_direct": [1.9, 255, 256, -1], "QT_8bit_direct_signed": [-1.9, 127, 128, -129]}
seen = {}
for name, row in rows.items():
    index = faiss.IndexScalarQuantizer(4, getattr(faiss.ScalarQuantizer, name))
    index.add(np.array([row], np.float32))
    seen[name] = index.reconstruct(0).tolist()
    print(faiss.__version__, name, [float(number) for number in row], "->", seen[name])
assert seen["QT_8bit_direct"] == [1, 255, 0, 255] and seen["QT_8bit_direct_signed"] == [-2, 127, -128, 127]
EOF
