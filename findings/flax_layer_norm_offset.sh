#!/bin/sh
# flax 0.12.8, jax 0.10.2, keras 3.15.1, numpy 2.4.6: the variance of `flax.linen.LayerNorm`, of its other norms, of
# `jax.nn.standardize` and, on numpy's backend, of keras is the mean of squares less the square of the mean, in float32. Numbers
# with a deviation of 1 around 3000 come out up to 0.87 from where they are by definition, and equal ones not as 0 but as 0.31.
# `use_fast_variance=False` mends flax; equinox and PyTorch are right.
#
# Seen:
#   0.12.8 0.10.2 3.15.1 flax: 0.874 away
#   0.12.8 0.10.2 3.15.1 flax, use_fast_variance=False: 0.0 away
#   0.12.8 0.10.2 3.15.1 jax.nn.standardize: 0.874 away
#   0.12.8 0.10.2 3.15.1 keras on numpy: 0.874 away
#   0.12.8 0.10.2 3.15.1 equinox: 0.0 away
#   0.12.8 256 numbers 3000.1: 0.31
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile flax==0.12.8 jax==0.10.2 keras==3.15.1 equinox==0.13.8 numpy==2.4.6
cd "$work"
KERAS_BACKEND=numpy "$work/venv/bin/python" - <<'EOF'
import equinox
import flax
import flax.linen as nn
import jax
import keras
import numpy as np

eps = 1e-5
numbers = (np.random.default_rng(0).normal(size=(1, 256)) + 3000).astype(np.float32)
exact = (numbers - numbers.mean(dtype=np.float64)) / np.sqrt(numbers.var(dtype=np.float64) + eps)


def of_flax(x, **settings):
    return nn.LayerNorm(epsilon=eps, **settings).apply({"params": {"scale": np.ones(256), "bias": np.zeros(256)}}, x)


ways = {
    "flax": of_flax,
    "flax, use_fast_variance=False": lambda x: of_flax(x, use_fast_variance=False),
    "jax.nn.standardize": lambda x: jax.nn.standardize(x, epsilon=eps),
    "keras on numpy": lambda x: keras.layers.LayerNormalization(epsilon=eps)(x),
    "equinox": lambda x: equinox.nn.LayerNorm(256, eps)(x[0])[None],
}
far = {name: round(float(np.abs(np.asarray(way(numbers)) - exact).max()), 3) for name, way in ways.items()}
equal = round(float(np.abs(of_flax(np.full((1, 256), 3000.1, np.float32))).max()), 2)
for name, error in far.items():
    print(flax.__version__, jax.__version__, keras.__version__, f"{name}: {error} away")
print(flax.__version__, f"256 numbers 3000.1: {equal}")
assert list(map(lambda error: error > 0.5, far.values())) == [True, False, True, True, False] and equal > 0.1
EOF
