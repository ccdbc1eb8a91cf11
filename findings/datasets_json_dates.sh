#!/bin/sh
# datasets 5.2.0, pyarrow 26.0.1: texts of a JSON file become dates where all of a column look like dates, and a declared type of
# text only makes text of the date again, in another spelling. If a date stands in each of the first megabytes and another text
# follows, the file cannot be read at all.
#
# Seen:
#   5.2.0 timestamp[s] 2020-01-01 00:00:00 / declared as text: '2020-01-01 00:00:00' / later: DatasetGenerationError
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile datasets==5.2.0 numpy==2.4.6 pyarrow==26.0.1
cd "$work"
HF_HOME="$work/cache" "$work/venv/bin/python" - <<'EOF'
import json
import logging

import datasets
from datasets import Features, Value, load_dataset

datasets.disable_progress_bars()
logging.disable()


def rows(name, texts, **options):
    with open(name, "w") as file:
        file.writelines(json.dumps({"caption": text}) + "\n" for text in texts)
    return load_dataset("json", data_files=name, split="train", **options)


dates = rows("a.jsonl", ["2020-01-01", "2021-05-06"])
texts = rows("b.jsonl", ["2020-01-01", "2021-05-06"], features=Features({"caption": Value("string")}))
try:
    later = len(rows("c.jsonl", ["2020-01-01"] * 600_000 + ["a dog"]))
except datasets.exceptions.DatasetGenerationError as error:
    later = type(error).__name__
kind, spelled = dates.features["caption"].dtype, texts[0]["caption"]
print(datasets.__version__, kind, dates[0]["caption"], "/ declared as text:", repr(spelled), "/ later:", later)
assert kind == "timestamp[s]" and spelled == "2020-01-01 00:00:00" and later == "DatasetGenerationError"
EOF
