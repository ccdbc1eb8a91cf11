#!/bin/sh
# numpy 2.4.6: from float16 to float32 numbers go one by one, also where the processor has an instruction for eight of them
# (F16C, in every x86-64 processor since 2013): it takes several times as long as from uint16, which has the same size, and in a
# search of vectors kept in half precision many times as long as the product that it is for.
#
# Seen: from float16 / from uint16, from float16 / the product with one vector, in processor time:
#   2.4.6 26.1 40.9
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6
cd "$work"
OPENBLAS_NUM_THREADS=1 "$work/venv/bin/python" - <<'EOF'
import time

import numpy as np

numbers = np.random.default_rng(0).integers(0, 15_000, (512, 768), np.uint16)  # finite as halves, too
half, whole, query = numbers.view(np.float16), np.empty(numbers.shape, np.float32), np.ones(768, np.float32)


def seconds(run):
    times = []
    for _ in range(20):
        began = time.process_time()
        for _ in range(10):
            run()
        times.append(time.process_time() - began)
    return min(times)


from_half = seconds(lambda: np.copyto(whole, half))
from_integers = seconds(lambda: np.copyto(whole, numbers, casting="unsafe"))
product = seconds(lambda: whole @ query)
print(np.__version__, round(from_half / from_integers, 1), round(from_half / product, 1))
assert from_half > 2 * from_integers and from_half > 3 * product
EOF
