#!/bin/sh
# webdataset 1.0.2: `TarWriter` takes keys with a dot in the last part, but when they are read back a key ends at its first dot: the
# frames frame.000 and frame.001 come back as one sample, `frame`, with the fields of both.
#
# Seen:
#   1.0.2 ['frame.000', 'frame.001'] -> [('frame', ['000.txt', '001.txt'])]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 webdataset==1.0.2
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import importlib.metadata

import webdataset

keys = [f"frame.{number:03d}" for number in range(2)]
with webdataset.TarWriter("a.tar") as tar:
    for key in keys:
        tar.write({"__key__": key, "txt": "x"})
samples = [(s["__key__"], sorted(k for k in s if k[0] != "_")) for s in webdataset.WebDataset("a.tar", shardshuffle=False)]
print(importlib.metadata.version("webdataset"), keys, "->", samples)
assert samples == [("frame", ["000.txt", "001.txt"])]
EOF
