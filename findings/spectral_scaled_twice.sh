#!/bin/sh
# spectral 0.25, numpy 2.4.6: `load()` of an ENVI file divides by its `reflectance scale factor` and leaves the factor in
# `metadata`, and `save_image` writes what it is given: a picture that is read and written with its own metadata is divided again
# by whoever reads it next. The image object itself, and `open_memmap()`, are written as they are.
#
# Seen:
#   0.25 [2.1, 2.2, 2.3] is written as [0.00021, 0.00022, 0.00023] from load(), as [2.1, 2.2, 2.3] from the image
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile spectral==0.25 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import spectral
from spectral.io import envi

levels = np.array([[[21000, 22000, 23000]]], np.uint16)
envi.save_image("a.hdr", levels, metadata={"reflectance scale factor": 10000})
image = envi.open("a.hdr")
envi.save_image("loaded.hdr", image.load(), metadata=image.metadata)
envi.save_image("image.hdr", image, metadata=image.metadata)
first, loaded, again = (np.array(envi.open(f"{name}.hdr").load())[0, 0] for name in ("a", "loaded", "image"))
told = [[round(float(value), 6) for value in values] for values in (first, loaded, again)]
print(spectral.__version__, "{} is written as {} from load(), as {} from the image".format(*told))
assert np.allclose(first, levels[0, 0] / 1e4) and np.array_equal(again, first) and np.allclose(loaded, first / 1e4)
EOF
