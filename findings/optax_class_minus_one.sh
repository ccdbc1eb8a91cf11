#!/bin/sh
# optax 0.2.8, jax 0.10.2, jaxlib 0.10.2: `softmax_cross_entropy_with_integer_labels` takes -1, by which data says "no class", for the
# last class, and trains it. -100, as PyTorch has it, and 255 of 4 classes give NaN. The same labels as `jax.nn.one_hot`, which is 0
# all over for each of them, have no loss. Places without a class are left by `where`, or by weights of one's own.
#
# Seen:
#   0.2.8 whole numbers {3: 0.44, -1: 0.44, -100: nan, 255: nan}, one_hot {3: 0.44, -1: 0.0, -100: 0.0, 255: 0.0}
#   0.2.8 gradient of -1: [0.032, 0.087, 0.237, -0.356]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile optax==0.2.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$work"
JAX_PLATFORMS=cpu "$work/venv/bin/python" - <<'EOF'
import math

import jax
import jax.numpy as jnp
import optax

logits, labels = jnp.arange(4.0), (3, -1, -100, 255)


def whole(logits, label):
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.array(label))


numbers = {label: round(float(whole(logits, label)), 3) for label in labels}
hot = {label: optax.softmax_cross_entropy(logits, jax.nn.one_hot(label, 4)) for label in labels}
hot = {label: abs(round(float(loss), 3)) for label, loss in hot.items()}
gradient = [round(number, 3) for number in jax.grad(whole)(logits, -1).tolist()]
print(optax.__version__, f"whole numbers {numbers}, one_hot {hot}")
print(optax.__version__, f"gradient of -1: {gradient}")
assert numbers[-1] == numbers[3] == hot[3] and all(math.isnan(numbers[label]) for label in (-100, 255))
assert hot[-1] == hot[-100] == hot[255] == 0 and gradient[3] < 0 < min(gradient[:3])
EOF
