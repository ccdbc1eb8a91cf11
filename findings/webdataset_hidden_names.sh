#!/bin/sh
# webdataset 1.0.2: of member names that begin with a dot inside a folder, the folder alone becomes the key, so the files
# of different samples are put together as one: cats/.a.txt and cats/.b.txt are the fields a.txt and b.txt of `cats/`.
# At the top of a tar such members are left out.
#
# Seen:
#   1.0.2 [('cats/', ['a.txt', 'b.txt']), ('d', ['txt'])]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 webdataset==1.0.2
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import importlib.metadata
import io
import tarfile

import webdataset

with tarfile.open("a.tar", "w") as tar:
    for name in ("cats/.a.txt", "cats/.b.txt", ".c.txt", "d.txt"):
        entry = tarfile.TarInfo(name)
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
samples = [(s["__key__"], sorted(k for k in s if k[0] != "_")) for s in webdataset.WebDataset("a.tar", shardshuffle=False)]
print(importlib.metadata.version("webdataset"), samples)
assert samples == [("cats/", ["a.txt", "b.txt"]), ("d", ["txt"])]
EOF
