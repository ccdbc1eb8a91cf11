#!/bin/sh
# jax 0.10.2, jaxlib 0.10.2: `fold_in(key, i)` is `split(key, n)[i]`, for every n. Whoever splits a key for weights and data and then
# folds the numbers of epochs or steps into the same key has in epoch 0 the noise of the weights, and in epoch 1 that of the
# data. Numbers folded into a key of their own, which came of the split, are others.
#
# Seen:
#   0.10.2 fold_in(key, i) is split(key)[i]: [True, True]; split(key, 4)[i]: [True, True, True, True]
#   0.10.2 weights [1.004, -0.9063], noise of epoch 0 [1.004, -0.9063], of a key of its own [0.1989, -0.7702]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$work"
JAX_PLATFORMS=cpu "$work/venv/bin/python" - <<'EOF'
import jax


def same(number):
    parts = jax.random.split(key, number)
    return [bool((jax.random.fold_in(key, i) == part).all()) for i, part in enumerate(parts)]


def drawn(key):
    return [round(number, 4) for number in jax.random.normal(key, (2,)).tolist()]


key = jax.random.key(0)
of_weights, of_data = jax.random.split(key)
weights, epoch, own = drawn(of_weights), drawn(jax.random.fold_in(key, 0)), drawn(jax.random.fold_in(of_data, 0))
print(jax.__version__, f"fold_in(key, i) is split(key)[i]: {same(2)}; split(key, 4)[i]: {same(4)}")
print(jax.__version__, f"weights {weights}, noise of epoch 0 {epoch}, of a key of its own {own}")
assert all(same(2)) and all(same(4)) and weights == epoch != own
EOF
