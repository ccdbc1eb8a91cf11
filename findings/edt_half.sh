#!/bin/sh
# edt 3.1.2, numpy 2.4.6: of a mask in float16 every distance to the edge is 0; in float32, bool and integers they are right.
#
# Seen:
#   3.1.2 float32: [0.0, 1.0, 2.0, 1.0, 0.0], bool: [0.0, 1.0, 2.0, 1.0, 0.0], float16: [0.0, 0.0, 0.0, 0.0, 0.0]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile edt==3.1.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import edt
import numpy as np

mask = np.array([[0, 1, 1, 1, 0]])
seen = {kind: edt.edt(mask.astype(kind))[0].tolist() for kind in ("float32", "bool", "float16")}
print(version("edt"), ", ".join(f"{kind}: {row}" for kind, row in seen.items()))
assert seen["float32"] == seen["bool"] == [0, 1, 2, 1, 0] and seen["float16"] == [0] * 5
EOF
