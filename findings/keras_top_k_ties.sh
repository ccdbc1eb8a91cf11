#!/bin/sh
# keras 3.15.1, jax 0.10.2: a class counts as found by `SparseTopKCategoricalAccuracy` if fewer than k have a higher score, so
# that equal ones are found all of them: a model that gives every class the same, or has collapsed, is right in 100 % of all
# cases, for any k, where `SparseCategoricalAccuracy` says 10 %. `TopKCategoricalAccuracy` counts so too.
#
# Seen:
#   3.15.1 SparseTopKCategoricalAccuracy(1) of ten classes with equal scores: 1.0
#   3.15.1 TopKCategoricalAccuracy(1) of ten classes with equal scores: 1.0
#   3.15.1 SparseCategoricalAccuracy() of ten classes with equal scores: 0.1
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile keras==3.15.1 jax==0.10.2 numpy==2.4.6
cd "$work"
KERAS_BACKEND=jax "$work/venv/bin/python" - <<'EOF'
import keras
import numpy as np

truth, same = np.arange(10), np.zeros((10, 10), np.float32)
metrics = keras.metrics
ways = {
    "SparseTopKCategoricalAccuracy(1)": (metrics.SparseTopKCategoricalAccuracy(1), truth),
    "TopKCategoricalAccuracy(1)": (metrics.TopKCategoricalAccuracy(1), np.eye(10)),
    "SparseCategoricalAccuracy()": (metrics.SparseCategoricalAccuracy(), truth),
}
found = {}
for name, (metric, wanted) in ways.items():
    metric.update_state(wanted, same)
    found[name] = round(float(metric.result()), 3)
    print(keras.__version__, f"{name} of ten classes with equal scores: {found[name]}")
assert list(found.values()) == [1, 1, 0.1]
EOF
