#!/bin/sh
# tokenizers 0.23.3: of a text with letters that were not learned, BPE without `unk_token` leaves these out without a word, so a
# caption in another script has no tokens at all, and is the same as an empty one. WordLevel, WordPiece and Unigram raise in that
# case.
#
# Seen:
#   0.23.3 BPE [['a', 'c', 't'], []], WordLevel ['raises', 'raises'], WordPiece ['raises', 'raises'], Unigram ['raises', 'raises']
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --python "$work/venv/bin/python" install --quiet --no-compile tokenizers==0.23.3
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

KINDS = {
    "BPE": (models.BPE, trainers.BpeTrainer),
    "WordLevel": (models.WordLevel, trainers.WordLevelTrainer),
    "WordPiece": (models.WordPiece, trainers.WordPieceTrainer),
    "Unigram": (models.Unigram, trainers.UnigramTrainer),
}


def tokens(model, trainer, text):
    tokenizer = Tokenizer(model())
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(["a cat and a dog"] * 5, trainer(vocab_size=40, show_progress=False))
    try:
        return tokenizer.encode(text).tokens
    except Exception:
        return "raises"


seen = {name: [tokens(*kind, text) for text in ("a cät", "猫")] for name, kind in KINDS.items()}
print(tokenizers.__version__, ", ".join(f"{name} {found}" for name, found in seen.items()))
assert seen.pop("BPE") == [["a", "c", "t"], []] and all(found == ["raises"] * 2 for found in seen.values())
EOF
