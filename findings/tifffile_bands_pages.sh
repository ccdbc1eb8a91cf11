#!/bin/sh
# tifffile 2026.3.3: a picture of 12 bands (20, 30, 12) without options is written as 20 pages of 30 x 12, not as one
# picture of 12 channels; with 3 or 4 bands the last axis is taken for channels. Readers that look at the first page see
# one row of the picture as if it were all.
#
# Seen:
#   2026.3.3 {3: (1, (20, 30, 3)), 12: (20, (30, 12))} (1, (20, 30, 12))
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 tifffile==2026.3.3
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import io

import numpy as np
import tifffile


def pages(bands, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((20, 30, bands), np.uint16), **options)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        return len(tiff.pages), tiff.pages[0].shape


found = {bands: pages(bands) for bands in (3, 12)}
print(tifffile.__version__, found, pages(12, planarconfig="contig", photometric="minisblack"))
assert found == {3: (1, (20, 30, 3)), 12: (20, (30, 12))}
assert pages(12, planarconfig="contig", photometric="minisblack") == (1, (20, 30, 12))
EOF
