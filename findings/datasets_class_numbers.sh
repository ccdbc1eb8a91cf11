#!/bin/sh
# datasets 5.2.0: `class_encode_column`, without which `train_test_split` does not stratify, makes ids of a column of whole numbers by
# sorting their spellings, "10" before "2": of twelve classes or more, class 2 becomes 4. Of ten or fewer from 0 on nothing changes.
#
# Seen:
#   5.2.0 of 0..11: [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3] of 0..9: unchanged
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile datasets==5.2.0 numpy==2.4.6 pyarrow==26.0.1
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import os

os.environ["HF_HOME"] = os.path.abspath("cache")
import datasets

datasets.disable_progress_bars()


def encoded(count):
    return datasets.Dataset.from_dict({"label": list(range(count))}).class_encode_column("label")["label"][:]


twelve, ten = encoded(12), encoded(10)
print(datasets.__version__, "of 0..11:", twelve, "of 0..9:", "unchanged" if ten == list(range(10)) else ten)
assert twelve == [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3] and ten == list(range(10))
EOF
