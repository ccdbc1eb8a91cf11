#!/bin/sh
# torch 2.13.0: a tensor of small integers is compared with a Python number after that number is cut to its type, so a class map of 8
# bits "is -1" where it is 255, "is 256" where it is 0, and nothing in it is below 256. So do int8 and int16; arithmetic and numpy
# do not, and `masked_fill` and `full` refuse such numbers. A tensor of one axis in the place of the number compares as numpy does.
#
# Seen:
#   2.13.0+cpu of 0, 5, 255: == -1 [255], == 256 [0], != -1 [0, 5], < 256 [], > -1 []
#   numpy 2.4.6 of the same: == -1 [], == 256 [], != -1 [0, 5, 255], < 256 [0, 5, 255], > -1 [0, 5, 255]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import torch

TESTS = {
    "== -1": lambda x: x == -1,
    "== 256": lambda x: x == 256,
    "!= -1": lambda x: x != -1,
    "< 256": lambda x: x < 256,
    "> -1": lambda x: x > -1,
}
numbers = np.array([0, 5, 255], np.uint8)
ids = torch.from_numpy(numbers)
seen = {name: ids[test(ids)].tolist() for name, test in TESTS.items()}
right = {name: numbers[test(numbers)].tolist() for name, test in TESTS.items()}
print(torch.__version__, "of 0, 5, 255:", ", ".join(f"{name} {found}" for name, found in seen.items()))
print("numpy", np.__version__, "of the same:", ", ".join(f"{name} {found}" for name, found in right.items()))
assert list(seen.values()) == [[255], [0], [0, 5], [], []]
assert list(right.values()) == [[], [], [0, 5, 255], [0, 5, 255], [0, 5, 255]]
assert (torch.tensor([-1], dtype=torch.int16) == 65535).all()
assert not (ids == torch.tensor([-1])).any()
EOF
