#!/bin/sh
# nibabel 5.4.2, numpy 2.4.6: a map of ids that is written in 8 bits (`set_data_dtype`) is scaled to them where it does not fit,
# so that id 1 comes back as 1.18. It is also scaled where it fits but is float, as `get_fdata` gives every map, and comes back a
# little off: of three classes, written and read so, the second is the first once `astype(int)` cuts it.
#
# Seen:
#   5.4.2 uint16 0, 1, 300 -> 0.0, 1.1764706373214722, 300.0000125169754; 0, 1, 2 -> 0.0, 1.0, 2.0
#   5.4.2 float64 0, 1, 2 -> as integers 0, 0, 2; of 0 to 20, 10 are another
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile nibabel==5.4.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import nibabel
import numpy as np


def back(ids):
    image = nibabel.Nifti1Image(ids[None, None], np.eye(4))
    image.set_data_dtype(np.uint8)
    return nibabel.Nifti1Image.from_bytes(image.to_bytes()).get_fdata().ravel()


def text(numbers):
    return ", ".join(map(str, numbers.tolist()))


wide, fits = back(np.array([0, 1, 300], np.uint16)), back(np.array([0, 1, 2], np.uint16))
classes = [back(np.arange(most + 1.0)).astype(int) for most in (2, 20)]
moved = int((classes[1] != np.arange(21)).sum())
print(nibabel.__version__, f"uint16 0, 1, 300 -> {text(wide)}; 0, 1, 2 -> {text(fits)}")
print(nibabel.__version__, f"float64 0, 1, 2 -> as integers {text(classes[0])}; of 0 to 20, {moved} are another")
assert 1.17 < wide[1] < 1.18 and fits.tolist() == [0, 1, 2]
assert classes[0].tolist() == [0, 0, 2] and moved == 10
EOF
