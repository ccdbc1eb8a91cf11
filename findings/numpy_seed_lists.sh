#!/bin/sh
# numpy 2.4.6: a list of seeds is not hashed as a list. Zeros at its end count for nothing, so that the generators of 42, [42], [42, 0]
# and [42, 0, 0] are one: epoch 0 and worker 0 draw what the seed alone draws. Numbers above 32 bits are written as several, so that
# 5 + 2**32 is [5, 1]. With the changing number first, [0, 42] and [1, 42], or in `spawn_key`, all differ. Python's own `random`
# takes a seed for its distance from 0: -5 is 5.
#
# Seen:
#   2.4.6 the same as 42: [42] True, [42, 0] True, [42, 0, 0] True, [42, 1] False, [0, 42] False, spawn_key=(0,) False
#   2.4.6 5 + 2**32 is [5, 1]: True; random.Random(-5) is random.Random(5): True
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import random

import numpy as np


def drawn(seed, **options):
    return np.random.default_rng(np.random.SeedSequence(seed, **options)).random(4).tolist()


lists = [[42], [42, 0], [42, 0, 0], [42, 1], [0, 42]]
same = {str(seeds): drawn(seeds) == drawn(42) for seeds in lists}
same["spawn_key=(0,)"] = drawn(42, spawn_key=(0,)) == drawn(42)
wide, sign = drawn(5 + 2**32) == drawn([5, 1]), random.Random(-5).random() == random.Random(5).random()
print(np.__version__, "the same as 42:", ", ".join(f"{seeds} {found}" for seeds, found in same.items()))
print(np.__version__, f"5 + 2**32 is [5, 1]: {wide}; random.Random(-5) is random.Random(5): {sign}")
assert list(same.values()) == [True] * 3 + [False] * 3 and wide and sign
EOF
