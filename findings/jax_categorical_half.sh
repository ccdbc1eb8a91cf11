#!/bin/sh
# jax 0.10.2, jaxlib 0.10.2: `jax.random.categorical` draws its noise in the type of the logits. In bfloat16 the noise has so few values
# that the first of those that are alike wins: of 8192 equal tokens none of the last half is ever drawn, and tokens that are
# rare together are drawn once where thirteen were due. float16 is little better. `bernoulli` with a probability in bfloat16 is
# off alike. Logits that are cast to float32 before are drawn as they should be.
#
# Seen:
#   0.10.2 float32 tokens of the first half 0.504, rare tokens 0.1103 of 0.1099, bernoulli(0.001) 0.0008
#   0.10.2 bfloat16 tokens of the first half 1.0, rare tokens 0.0082 of 0.1099, bernoulli(0.001) 0.0077
#   0.10.2 float16 tokens of the first half 0.982, rare tokens 0.0006 of 0.1099, bernoulli(0.001) 0.0021
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$work"
JAX_PLATFORMS=cpu "$work/venv/bin/python" - <<'EOF'
import math

import jax
import jax.numpy as jnp

key, tokens = jax.random.key(0), 8192
due = 1000 * math.exp(-9) / (1 + 1000 * math.exp(-9))
seen = {}
for kind in ("float32", "bfloat16", "float16"):
    drawn = jax.random.categorical(key, jnp.zeros((2000, tokens), kind))
    rare = jax.random.categorical(key, jnp.array([0] + [-9] * 1000, kind), shape=(20000,)) > 0
    truths = jax.random.bernoulli(key, jnp.full(100000, 0.001, kind))
    seen[kind] = [round(float(part.mean()), digits) for part, digits in ((drawn < tokens // 2, 3), (rare, 4), (truths, 4))]
    first, few, ones = seen[kind]
    print(jax.__version__, f"{kind} tokens of the first half {first}, rare tokens {few} of {due:.4f}, bernoulli(0.001) {ones}")
assert abs(seen["float32"][0] - 0.5) < 0.05 and abs(seen["float32"][1] - due) < 0.01
assert seen["bfloat16"][0] == 1 and seen["bfloat16"][1] < due / 5 and seen["bfloat16"][2] > 0.005
assert seen["float16"][0] > 0.9 and seen["float16"][1] < due / 5
EOF
