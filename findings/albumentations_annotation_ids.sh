#!/bin/sh
# albumentations 2.0.8, opencv-python-headless 5.0.0.93, numpy 2.4.6: what is given beside boxes in `label_fields` travels as a
# column of their float32 array, so that ids of annotations as COCO has them come back as other ids, and all whole numbers and
# truth values as floats.
#
# Seen:
#   2.0.8 [900100012345, 16777217] -> [900099997696.0, 16777216.0]
#   2.0.8 [3, 5] -> [3.0, 5.0]
#   2.0.8 [True, False] -> [1.0, 0.0]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile albumentations==2.0.8 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$work"
NO_ALBUMENTATIONS_UPDATE=1 "$work/venv/bin/python" - <<'EOF'
import albumentations as A
import numpy as np

picture, boxes = np.zeros((100, 200, 3), np.uint8), [[10, 20, 30, 40], [50, 20, 30, 40]]
mirror = A.Compose([A.HorizontalFlip(p=1)], bbox_params=A.BboxParams("coco", label_fields=["ids"]))
found = []
for ids in ([900100012345, 16777217], [3, 5], [True, False]):
    found.append(mirror(image=picture, bboxes=boxes, ids=ids)["ids"])
    print(A.__version__, ids, "->", found[-1])
assert found == [[900099997696.0, 16777216.0], [3.0, 5.0], [1.0, 0.0]]
assert all(isinstance(number, float) for ids in found for number in ids)
EOF
