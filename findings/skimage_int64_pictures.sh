#!/bin/sh
# scikit-image 0.26.0, numpy 2.4.6: a picture of levels 0 to 255 in numpy's own integers (int64), as numbers of JSON or tokens
# become, is taken to reach from 0 to 2^63. So `rgb2lab` and `rgb2gray` give black, and two pictures that differ by 50 levels are
# alike to 345 dB. Nothing is said; as uint8 they are right. A picture of floats from 0 to 255 is refused by the last, and taken
# by the first two.
#
# Seen:
#   0.26.0 uint8: lightness 53.63, gray 0.46, psnr 14.15
#   0.26.0 int64: lightness 0.0, gray 1.3e-17, psnr 345.32
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile scikit-image==0.26.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import skimage
from skimage.color import rgb2gray, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

color = np.array([[[200, 100, 50]]])


def seen(kind):
    one, other = (np.full((4, 4), level, kind) for level in (200, 250))
    picture = color.astype(kind)
    light, gray = rgb2lab(picture)[0, 0, 0], rgb2gray(picture)[0, 0]
    return [round(float(light), 2), float(f"{gray:.2g}"), round(float(peak_signal_noise_ratio(one, other)), 2)]


narrow, wide = seen(np.uint8), seen(np.int64)
for kind, (light, gray, ratio) in {"uint8": narrow, "int64": wide}.items():
    print(skimage.__version__, f"{kind}: lightness {light}, gray {gray}, psnr {ratio}")
assert narrow == [53.63, 0.46, 14.15] and wide[0] == 0 and wide[1] < 1e-15 and wide[2] > 300
EOF
