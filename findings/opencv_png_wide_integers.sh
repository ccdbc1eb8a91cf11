#!/bin/sh
# opencv-python-headless 5.0.0.93: a map of ids in numpy's own integers (int64), which version 4 refused, is taken for PNG and cut to
# 8 bits: 300 becomes 255 and -1, often "no class", becomes 0, which is a class. So are int32 and uint32. A line of the log says
# that the depth is not supported. uint16 is written whole.
#
# Seen:
#   5.0.0 int64 [0, 300, -1] -> uint8 [0, 255, 0], uint16 [0, 300, 65535]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 opencv-python-headless==5.0.0.93
cd "$work"
OPENCV_LOG_LEVEL=OFF "$work/venv/bin/python" - <<'EOF'
import cv2
import numpy as np


def back(ids):
    _, file = cv2.imencode(".png", ids)
    return cv2.imdecode(file, cv2.IMREAD_UNCHANGED)


ids = np.array([[0, 300, -1]])
cut, whole = back(ids), back(np.array([[0, 300, 65535]], np.uint16))
print(cv2.__version__, ids.dtype, ids[0].tolist(), "->", cut.dtype, f"{cut[0].tolist()}, {whole.dtype} {whole[0].tolist()}")
assert cut.dtype == np.uint8 and cut[0].tolist() == back(ids.astype(np.int32))[0].tolist() == [0, 255, 0]
assert whole[0].tolist() == [0, 300, 65535]
EOF
