#!/bin/sh
# torchvision 0.28.0, torch 2.13.0, pillow 12.3.0: `to_tensor` of a picture of 16 bits gives int16, so a depth of 40 m in
# millimeters is -25536. It does so still, though `pil_to_tensor` of the same functions and those of v2 give uint16.
#
# Seen:
#   I;16 [300, 40000, 65535]: to_tensor torch.int16 [300, -25536, -1], pil_to_tensor torch.uint16 [300, 40000, 65535]
#   0.28.0 2.13.0+cpu 12.3.0
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
import PIL
import torch
from PIL import Image

# operators of the wheel may be built for another device than torch is; transforms need none of them
package = types.ModuleType("torchvision")
package.__path__ = list(find_spec("torchvision").submodule_search_locations)
sys.modules["torchvision"] = package
from torchvision.transforms import functional

depth = Image.fromarray(np.array([[300, 40000, 65535]], np.uint16))
old, new = functional.to_tensor(depth), functional.pil_to_tensor(depth)
print(f"{depth.mode} {np.asarray(depth)[0].tolist()}: to_tensor {old.dtype} {old.flatten().tolist()},", end=" ")
print(f"pil_to_tensor {new.dtype} {new.flatten().tolist()}")
print(version("torchvision").split("+")[0], torch.__version__, PIL.__version__)
assert old.dtype == torch.int16 and old.flatten().tolist() == [300, -25536, -1]
assert new.dtype == torch.uint16 and new.flatten().tolist() == [300, 40000, 65535]
EOF
