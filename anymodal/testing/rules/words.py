"""AM116 and AM302: sequences as words, drawn and plain, and in the vocabulary."""

from __future__ import annotations

import numpy as np

from anymodal.testing.definition import rule
from anymodal.testing.outcome import Broken, expect
from anymodal.testing.rules.compare import sequences
from anymodal.testing.subject import Subject

DRAWS = 20


@rule(
    "AM116",
    "Spellings that are drawn say the same, and so do chunks",
    fix="let spell and chunks take rng=None as the base does, spell every part whatever the order, and join the chunks",
    applies=sequences,
    after=("AM103",),
)
def spellings(subject: Subject) -> None:
    """Training draws the order of the parts, and hides a structured value chunk by chunk."""
    m = subject.tokenizing
    for example in subject.examples:
        text = m.spell(example.value)
        chunks = m.chunks(example.value)
        expect(" ".join(chunks) == text, f"{example} is spelled {text!r:.60}, and its chunks {' '.join(chunks)!r:.60}")
        meant = sorted(m.spell(m.parse(text)).split())
        try:
            drawn = [m.spell(example.value, np.random.default_rng(seed)) for seed in range(DRAWS)]
            m.chunks(example.value, np.random.default_rng(0))
        except TypeError as error:
            raise Broken(f"spell and chunks with a generator raise TypeError: {error}") from None
        # Some values are told in part: one draw of many must say all of it.
        right = any(sorted(m.spell(m.parse(each)).split()) == meant for each in dict.fromkeys(drawn))
        expect(right, f"no drawn spelling of {example} is read as the plain one; seed 0 gives {drawn[0]!r:.60}")


def spelled(subject: Subject) -> bool:
    """Structured sequences; plain text may lose its capitals and what the vocabulary does not know."""
    return subject.is_sequence and not subject.cls.is_text


@rule(
    "AM302",
    "What is spelled survives the vocabulary",
    fix="keep value tokens within v0..v3 and 0..999, and words to letters and digits without capitals",
    applies=spelled,
    after=("AM103",),
)
def survives(subject: Subject) -> None:
    """A number or a word that the vocabulary has not is cut into pieces, and never found again."""
    m, said = subject.tokenizing, False
    for example in subject.examples:
        text = m.spell(example.value)
        ids = m.tokenize([example.value])[m.name][0]
        if ids[-1] != m.vocabulary.end:
            continue  # cut off
        said |= bool(text)
        again = m.spell(m.parse(m.vocabulary.decode(ids)))
        wanted = m.spell(m.parse(text))
        expect(again == wanted, f"{example} is spelled {text!r:.60}, and read from its tokens as {again!r:.60}")
    expect(said, f"a length of {m.length} tokens cuts every example short")
