#!/bin/sh
# safetensors 0.8.0: `save_file` on a disk that is full raises SafetensorError, which is an Exception and no OSError, so
# whoever catches OSError around what writes files misses it.
#
# Seen:
#   0.8.0 SafetensorError no OSError: Error while serializing: I/O error: File too large (os error 27)
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 safetensors==0.8.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import resource

import numpy as np
import safetensors
from safetensors.numpy import save_file

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as on a disk with 20 kB left
try:
    save_file({"a": np.zeros(100_000, np.float32)}, "a.safetensors")
except safetensors.SafetensorError as error:
    print(safetensors.__version__, type(error).__name__, "OSError" if isinstance(error, OSError) else "no OSError:", error)
    assert not isinstance(error, OSError)
else:
    raise AssertionError("it was written")
EOF
