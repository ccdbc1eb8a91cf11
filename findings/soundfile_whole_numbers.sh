#!/bin/sh
# soundfile 0.14.0, numpy 2.4.6: samples of 16 bits that are int32, as sums and mixes of them are, are written as silence,
# without a word: the file has 16 bits, and of int32 the upper 16 are taken. A file of floating-point numbers from -1 to 1, read
# as int16, is silence too, for such numbers are not scaled but rounded.
#
# Seen:
#   0.14.0 int16: the loudest of a tone of 9999 is 9999
#   0.14.0 int32: the loudest of a tone of 9999 is 1
#   0.14.0 float32, read as int16: the loudest of a tone of 9999 is 0
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile soundfile==0.14.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import soundfile

tone = (10_000 * np.sin(np.arange(800) / 5)).astype(np.int16)
seen = {}
for kind in (np.int16, np.int32):
    soundfile.write("a.wav", tone.astype(kind), 8000)
    seen[kind.__name__] = int(np.abs(soundfile.read("a.wav", dtype="int16")[0].astype(int)).max())
soundfile.write("a.wav", tone / 32768, 8000, subtype="FLOAT")
seen["float32, read as int16"] = int(np.abs(soundfile.read("a.wav", dtype="int16")[0].astype(int)).max())
for name, loudest in seen.items():
    print(soundfile.__version__, f"{name}: the loudest of a tone of {int(np.abs(tone.astype(int)).max())} is {loudest}")
assert seen["int16"] > 9990 and seen["int32"] <= 1 and seen["float32, read as int16"] == 0
EOF
