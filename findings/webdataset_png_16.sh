#!/bin/sh
# webdataset 1.0.2 (with Pillow 13.0.0): `TarWriter` stores a uint16 array under "png" as a 16-bit PNG, but every decoder of
# pictures ("pil", "rgb8", "l8", "rgb", "l") gives 8 bits, cut at 255: what was written as depths from 1000 to 65535 comes
# back as one white plane.
#
# Seen:
#   1.0.2 pil [255]
#   1.0.2 rgb8 [255]
#   1.0.2 l8 [255]
#   1.0.2 rgb [1.0]
#   1.0.2 l [1.0]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 pillow==13.0.0 webdataset==1.0.2
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import importlib.metadata
import io
import tarfile

import numpy as np
import webdataset
from PIL import Image

depth = np.array([[300, 1000], [20_000, 65_535]], np.uint16)
with webdataset.TarWriter("a.tar") as sink:
    sink.write({"__key__": "a", "png": depth})
with tarfile.open("a.tar") as tar:
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(tar.extractfile("a.png").read()))), depth)
for kind in ("pil", "rgb8", "l8", "rgb", "l"):
    (sample,) = webdataset.WebDataset("a.tar", shardshuffle=False).decode(kind)
    found = np.unique(np.asarray(sample["png"])).tolist()
    print(importlib.metadata.version("webdataset"), kind, found)
    assert found == ([255] if kind in ("pil", "rgb8", "l8") else [1.0])
EOF
