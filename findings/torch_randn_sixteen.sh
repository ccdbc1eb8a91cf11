#!/bin/sh
# torch 2.13.0, numpy 2.4.6: on a CPU the normal numbers of a generator depend on how many are drawn at once. Below 16 they are made
# in another way than from 16 on, and where the count is no multiple of 16 the last 16 are drawn again: the first eight of `randn(8)`,
# `randn(16)` and `randn(17)` are three rows of numbers, and two draws of 8 are not one of 16. `rand` goes on where it stopped,
# as does the generator of numpy.
#
# Seen:
#   2.13.0+cpu randn(8) [1.541, -0.2934], randn(16) [-1.1258, -1.1524], randn(17) [-1.1258, -1.6959], randn(32) [-1.1258, -1.1524]
#   2.13.0+cpu twice 8 [1.541, -0.2934]; rand(8) and rand(17) begin alike: True; numpy too: True
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


def drawn(draw, *counts):
    generator = torch.Generator().manual_seed(0)
    return torch.cat([draw(count, generator=generator) for count in counts])


def begins(numbers):
    return [round(number, 4) for number in numbers[:2].tolist()]


seen = {count: drawn(torch.randn, count) for count in (8, 16, 17, 32)}
twice = drawn(torch.randn, 8, 8)
flat = torch.equal(drawn(torch.rand, 8), drawn(torch.rand, 17)[:8])
normal = [np.random.default_rng(0).standard_normal(count)[:8].tolist() for count in (8, 17)]
print(torch.__version__, ", ".join(f"randn({count}) {begins(numbers)}" for count, numbers in seen.items()))
print(torch.__version__, f"twice 8 {begins(twice)}; rand(8) and rand(17) begin alike: {flat};", end=" ")
print(f"numpy too: {normal[0] == normal[1]}")
assert not any(torch.equal(one[:8], other[:8]) for one, other in ((seen[8], seen[16]), (seen[16], seen[17])))
assert torch.equal(seen[16], seen[32][:16]) and not torch.equal(twice, seen[16])
assert flat and normal[0] == normal[1]
EOF
