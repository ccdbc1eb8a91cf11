#!/bin/sh
# tokenizers 0.23.3: an added token with `normalized=True` is decoded in its normalized spelling, and `id_to_token` says
# that too. 0.22.2 gave the token as it was added, so a text, or a table of class names, changes with the library.
#
# Seen:
#   0.22.2|Traffic Light|Traffic Light 0.23.3|traffic light|traffic light
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile --no-deps --target "$work/old" tokenizers==0.22.2
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile --no-deps --target "$work/new" tokenizers==0.23.3
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import subprocess
import sys

TRY = '''
import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers
one = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
one.normalizer = normalizers.Lowercase()
one.add_tokens([AddedToken("Traffic Light", normalized=True)])
print(tokenizers.__version__, one.decode([1]), one.id_to_token(1), sep="|", end="")
'''


def seen(folder):
    return subprocess.run([sys.executable, "-c", TRY], env={"PYTHONPATH": folder}, check=True, capture_output=True, text=True).stdout


old, new = seen("old"), seen("new")
print(old, new)
assert old == "0.22.2|Traffic Light|Traffic Light" and new == "0.23.3|traffic light|traffic light"
EOF
