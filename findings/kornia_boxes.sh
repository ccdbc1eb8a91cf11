#!/bin/sh
# kornia 0.9.0, torch 2.14.1, numpy 2.4.6: boxes are resized by the distance of the outermost pixels rather than by sizes, so
# that the box around a whole picture of 64 pixels is 15.24 wide in one of 16, and 129.02 in one of 128. Mirrored, it begins at
# -1. `compute_area` of a box of 4 x 5 pixels is 12, though its mask has 20.
#
# Seen:
#   0.9.0 the box around 64 x 64, 16 x 16: [0.0, 0.0, 15.24, 15.24]
#   0.9.0 the box around 64 x 64, 128 x 128: [0.0, 0.0, 129.02, 129.02]
#   0.9.0 the box around 64 x 64, mirrored: [-1.0, 0.0, 63.0, 64.0]
#   0.9.0 a box of 4 x 5: area 12.0, pixels of its mask 20
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile kornia==0.9.0 torch==2.14.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import kornia
import torch
from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip, Resize

picture, whole = torch.zeros(1, 1, 64, 64), torch.tensor([[[0.0, 0, 64, 64]]])
ways = {"16 x 16": Resize((16, 16)), "128 x 128": Resize((128, 128)), "mirrored": RandomHorizontalFlip(p=1.0)}
seen = {}
for name, way in ways.items():
    box = AugmentationSequential(way, data_keys=["input", "bbox_xyxy"])(picture, whole)[1]
    seen[name] = [round(number, 2) for number in box.flatten().tolist()]
    print(kornia.__version__, f"the box around 64 x 64, {name}: {seen[name]}")
box = kornia.geometry.boxes.Boxes.from_tensor(torch.tensor([[[2.0, 3, 6, 8]]]), mode="xyxy")
area, pixels = float(box.compute_area()), int(box.to_mask(10, 20).sum())
print(kornia.__version__, f"a box of 4 x 5: area {area}, pixels of its mask {pixels}")
assert list(seen.values()) == [[0, 0, 15.24, 15.24], [0, 0, 129.02, 129.02], [-1, 0, 63, 64]]
assert (area, pixels) == (12, 20)
EOF
