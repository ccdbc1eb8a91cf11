#!/bin/sh
# tokenizers 0.23.3: training WordPiece on the same texts gives another vocabulary in every process: the pieces of single
# letters (##a, ##b, ...) get their ids in the order of a hash map. BPE gives the same in every process.
#
# Seen:
#   WordPiece 8 vocabularies of 8 processes
#   BPE 1 vocabularies of 8 processes
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile --no-deps tokenizers==0.23.3
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import subprocess
import sys

TRAIN = '''
import sys
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
kind = {"WordPiece": trainers.WordPieceTrainer, "BPE": trainers.BpeTrainer}[sys.argv[1]]
one = Tokenizer(getattr(models, sys.argv[1])(unk_token="[UNK]"))
one.pre_tokenizer = pre_tokenizers.Whitespace()
texts = ["a red car on a road", "a blue cup on a table"] * 3
one.train_from_iterator(texts, kind(vocab_size=80, special_tokens=["[UNK]"], show_progress=False))
print(sorted(one.get_vocab(), key=one.get_vocab().get))
'''
for name, several in (("WordPiece", True), ("BPE", False)):
    runs = [subprocess.run([sys.executable, "-c", TRAIN, name], check=True, capture_output=True, text=True).stdout
            for _ in range(8)]
    print(name, len(set(runs)), "vocabularies of 8 processes")
    assert (len(set(runs)) > 1) == several
EOF
