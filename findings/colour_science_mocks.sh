#!/bin/sh
# colour-science 0.4.7: `import colour` without matplotlib installed puts objects of unittest.mock into sys.modules under its
# name. importlib.util.find_spec, with which other libraries ask whether matplotlib is there, then raises a ValueError.
#
# Seen:
#   0.4.7 before None after MagicMock ValueError: matplotlib.__spec__ is not set
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 colour-science==0.4.7
cd "$work"
"$work/venv/bin/python" -W ignore - <<'EOF'
import importlib.util
import sys

before = importlib.util.find_spec("matplotlib")
import colour

try:
    said = importlib.util.find_spec("matplotlib")
except ValueError as error:
    said = f"ValueError: {error}"
print(colour.__version__, "before", before, "after", type(sys.modules["matplotlib"]).__name__, said)
assert before is None and str(said).startswith("ValueError")
EOF
