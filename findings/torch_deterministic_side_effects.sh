#!/bin/sh
# torch 2.13.0: `torch.use_deterministic_algorithms(True)` imports the compiler (hundreds of modules) and sets
# TORCHINDUCTOR_CACHE_DIR in the environment of the process, which every child process then has.
#
# Seen:
#   2.13.0+cpu ['TORCHINDUCTOR_CACHE_DIR'] 823 modules
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile "torch==2.13.0" numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import os
import sys

import torch

before, modules = dict(os.environ), set(sys.modules)
torch.use_deterministic_algorithms(True)
changed = sorted(name for name in os.environ if os.environ[name] != before.get(name))
added = set(sys.modules) - modules
print(torch.__version__, changed, len(added), "modules")
assert changed == ["TORCHINDUCTOR_CACHE_DIR"] and "torch._inductor" in added and len(added) > 200
EOF
