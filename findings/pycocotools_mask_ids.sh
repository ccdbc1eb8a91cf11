#!/bin/sh
# pycocotools 2.0.11, faster-coco-eval 1.8.0, numpy 2.4.6: `mask.encode` of both counts where numbers change, not where they are
# 0. So a map of ids that is given for a mask, as everything that is no background, loses an instance wherever it follows another
# down a column: of 1, 2, 2 the twos are background. Masks of 0 and 255 are read as they are meant.
#
# Seen:
#   pycocotools of 0, 1, 2, 2, 0, 1: [0, 1, 0, 0, 1, 0], area 2 (4); of 0, 255, 255: [0, 1, 1]
#   faster_coco_eval of 0, 1, 2, 2, 0, 1: [0, 1, 0, 0, 1, 0], area 2 (4); of 0, 255, 255: [0, 1, 1]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import pycocotools.mask
from faster_coco_eval.core import mask

for name, module in ("pycocotools", pycocotools.mask), ("faster_coco_eval", mask):
    ids, levels = (np.asfortranarray(np.array([row], np.uint8).T) for row in ([0, 1, 2, 2, 0, 1], [0, 255, 255]))
    coded = module.encode(ids)
    back, area = module.decode(coded)[:, 0].tolist(), int(module.area(coded))
    both = module.decode(module.encode(levels))
    print(name, f"of {', '.join(map(str, ids[:, 0]))}: {back}, area {area} (4); of 0, 255, 255: {both[:, 0].tolist()}")
    assert back == [0, 1, 0, 0, 1, 0] and area == 2 and both[:, 0].tolist() == [0, 1, 1]
EOF
