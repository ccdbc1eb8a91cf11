#!/bin/sh
# torch 2.13.0: the generator of the CPU is made from the lowest 32 bits of a seed, so seeds that differ above them draw the
# same numbers, while `initial_seed()` says the whole seed. Hashes as seeds lose half of their bits without a word.
#
# Seen:
#   2.13.0+cpu 5 [0.8302518725395203, 0.12611091136932373, 0.9074696898460388, 0.8199270367622375] 4294967301
#   [0.8302518725395203, 0.12611091136932373, 0.9074696898460388, 0.8199270367622375]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import torch


def drawn(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(4, generator=generator), generator.initial_seed()


(one, first), (two, second) = drawn(5), drawn(5 + 2**32)
print(torch.__version__, first, one.tolist(), second, two.tolist())
assert torch.equal(one, two) and first != second and not torch.equal(one, drawn(6)[0])
EOF
