#!/bin/sh
# torch 2.14.1, torchvision 0.29.1, keras 3.15.1, pillow 12.3.0: of a gray picture of 8 bits, three equal channels, both make
# gray that is one level darker, all but black, and no white is left: the parts of red, green and blue add up to 0.9999, and the
# rest is cut off. So does saturation 0. Pillow, and so torchvision on a Pillow picture, gives the same picture back.
#
# Seen:
#   0.29.1+cu130 3.15.1 torchvision: 255 of 256 levels are others, white is 254
#   0.29.1+cu130 3.15.1 torchvision, saturation 0: 255 of 256 levels are others, white is 254
#   0.29.1+cu130 3.15.1 keras: 255 of 256 levels are others, white is 254
#   0.29.1+cu130 3.15.1 torchvision of Pillow's: 0 of 256 levels are others, white is 255
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torch==2.14.1 torchvision==0.29.1 keras==3.15.1 pillow==12.3.0 numpy==2.4.6
cd "$work"
KERAS_BACKEND=torch "$work/venv/bin/python" - <<'EOF'
import keras
import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
colors = np.dstack([levels] * 3)
picture = torch.from_numpy(colors).permute(2, 0, 1)
of_keras = keras.ops.image.rgb_to_grayscale(colors, data_format="channels_last")
found = {
    "torchvision": v2.functional.rgb_to_grayscale(picture)[0],
    "torchvision, saturation 0": v2.functional.adjust_saturation(picture, 0.0)[0],
    "keras": keras.ops.convert_to_numpy(of_keras)[..., 0],
    "torchvision of Pillow's": np.asarray(v2.functional.rgb_to_grayscale(Image.fromarray(colors))),
}
seen = {name: (int((np.asarray(gray) != levels).sum()), int(np.asarray(gray).max())) for name, gray in found.items()}
for name, (others, white) in seen.items():
    print(torchvision.__version__, keras.__version__, f"{name}: {others} of 256 levels are others, white is {white}")
assert list(seen.values()) == [(255, 254)] * 3 + [(0, 255)]
EOF
