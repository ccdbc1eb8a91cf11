#!/bin/sh
# numpy-quaternion 2024.0.13, scipy 1.17.1, numpy 2.4.6: a rotation has two unit quaternions, of one sign and the other, and files
# of poses hold either. `mean_rotor_in_chordal_metric` adds them as they are, so that the mean of 0.5 and 0.6 radians is -2.59;
# `as_rotation_vector` gives one longer than half a turn for the other sign. `slerp` and scipy do not mind the sign.
#
# Seen:
#   2024.0.13 mean of 0.5 and 0.6: same signs 0.55, other signs -2.592, 0.5 of the other sign is -5.783
#   1.17.1 mean of 0.5 and 0.6: same signs 0.55, other signs 0.55
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy-quaternion==2024.0.13 scipy==1.17.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import quaternion
import scipy
from scipy.spatial.transform import Rotation

one, other = (quaternion.from_rotation_vector([0, 0, angle]) for angle in (0.5, 0.6))
means, theirs = [], []
for pair in [one, other], [one, -other]:
    found = quaternion.mean_rotor_in_chordal_metric(np.array(pair))
    means.append(round(float(quaternion.as_rotation_vector(found)[2]), 3))
    rotations = Rotation.from_quat(quaternion.as_float_array(np.array(pair)), scalar_first=True)
    theirs.append(round(float(rotations.mean().as_rotvec()[2]), 3))
turned = round(float(quaternion.as_rotation_vector(-one)[2]), 3)
print(quaternion.__version__, "mean of 0.5 and 0.6: same signs {}, other signs {},".format(*means), end=" ")
print(f"0.5 of the other sign is {turned}")
print(scipy.__version__, "mean of 0.5 and 0.6: same signs {}, other signs {}".format(*theirs))
assert means == [0.55, -2.592] and theirs == [0.55, 0.55] and turned == -5.783
EOF
