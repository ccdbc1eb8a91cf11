#!/bin/sh
# imagecodecs 2026.3.6, numpy 2.4.6: JPEG 2000 that is asked for without loss (`level=0, reversible=True`) takes ids in int32 and uint32
# and gives others back once they need more than 24 bits, though the type is the same. High-throughput JPEG 2000 of the same
# library is whole up to 32 bits; of int64 both raise.
#
# Seen:
#   2026.3.6 ids below 2**24: 0 of 4096 wrong, below 2**30: 4093 of 4096 wrong, as HTJ2K: 0 of 4096 wrong
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile imagecodecs==2026.3.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import imagecodecs
import numpy as np

few, many = (np.random.default_rng(0).integers(0, 2**bits, (64, 64), np.uint32) for bits in (24, 30))


def wrong(ids, encode, decode, **options):
    again = decode(encode(ids, reversible=True, **options))
    assert again.dtype == ids.dtype and again.shape == ids.shape
    return int((again != ids).sum())


plain = imagecodecs.jpeg2k_encode, imagecodecs.jpeg2k_decode
seen = wrong(few, *plain, level=0), wrong(many, *plain, level=0), wrong(many, imagecodecs.htj2k_encode, imagecodecs.htj2k_decode)
of = "ids below 2**24: {} of 4096 wrong, below 2**30: {} of 4096 wrong, as HTJ2K: {} of 4096 wrong"
print(imagecodecs.__version__, of.format(*seen))
assert seen[0] == 0 and seen[1] > 4000 and seen[2] == 0
EOF
