#!/bin/sh
# torchvision 0.28.0, torch 2.13.0: a picture that a model made, a little brighter than 1 or darker than 0, wraps around (on x86)
# where it becomes 8 bits, by `to_pil_image` and by `to_dtype` of v2: 1.2 is almost black and -0.1 almost white. `save_image` of
# the same package cuts at 0 and 1.
#
# Seen:
#   0.28.0 of 1.0, 1.2, -0.1: to_pil_image [255, 50, 231], v2.to_dtype [255, 51, 231], save_image [255, 255, 0]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torch==2.13.0 torchvision==0.28.0 pillow==12.3.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import sys
import types
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch
from PIL import Image

# operators of the wheel may be built for another device than torch is; transforms need none of them
package = types.ModuleType("torchvision")
package.__path__ = list(find_spec("torchvision").submodule_search_locations)
sys.modules["torchvision"] = package
from torchvision.transforms import functional
from torchvision.transforms.v2.functional import to_dtype
from torchvision.utils import save_image

made = torch.tensor([[[1.0, 1.2, -0.1]]])
save_image(made, "made.png")
saved = np.asarray(Image.open("made.png"))[0, :, 0].tolist()
drawn = np.asarray(functional.to_pil_image(made))[0].tolist()
cast = to_dtype(made, torch.uint8, scale=True)[0, 0].tolist()
print(version("torchvision").split("+")[0], f"of 1.0, 1.2, -0.1: to_pil_image {drawn}, v2.to_dtype {cast},", end=" ")
print(f"save_image {saved}")
assert (drawn, cast, saved) == ([255, 50, 231], [255, 51, 231], [255, 255, 0])
EOF
