"""Sequences that begin with something: the decoder is told the first tokens and goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.errors import GenerationError
from anymodal.families.starts import template, written_beside
from anymodal.generation.infill import Text, without_ends
from anymodal.partial import OPEN
from anymodal.spaces import TokenSpace

DEPTH = {"depth": np.linspace(0.5, 2, 1024).reshape(32, 32)}
RED = np.array([[255, 0, 0]], np.uint8)
SPACE = TokenSpace.sequence(100, 20, sentinels=(4, 20), end=3)
HOLE = np.array([SPACE.sentinel(1)])


def begun(model: am.AnyModel, words: str, **how: Any) -> am.Outputs:
    return model.generate(DEPTH, "caption", start={"caption": words}, **how)


@given(st.integers(0, 10**6), st.floats(0, 3.0), st.sampled_from(["autoregressive", "beam:3"]))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_first_words_are_first(small_model, seed, temperature, scheme):
    words = " ".join(np.random.default_rng(seed).choice(["a", "red", "car", "on", "the", "table"], seed % 8))
    out = begun(small_model, words, temperature=temperature, seed=seed, scheme=scheme)
    first = small_model.modalities["caption"].vocabulary.encode(words)
    assert np.array_equal(out.tokens["caption"][: len(first)], first) and out["caption"].startswith(words)
    assert out.run.kept == ("caption",)


def test_a_likeliest_text_goes_on_as_it_was_from_any_of_its_tokens(small_model):
    """The encoder reads nothing of a start, and the decoder what it would have written itself."""
    caption, tried = small_model.generate(DEPTH, "caption", temperature=0.0), 0
    for count in range(1, len(caption["caption"].split())):
        words = " ".join(caption["caption"].split()[:count])
        ids = small_model.modalities["caption"].vocabulary.encode(words)
        if np.array_equal(caption.tokens["caption"][: len(ids)], ids):  # no word that is spelled in another way
            again = begun(small_model, words, temperature=0.0)
            assert np.array_equal(again.tokens["caption"], caption.tokens["caption"])
            tried += 1
    assert tried > 2
    assert np.array_equal(begun(small_model, "", temperature=0.0).tokens["caption"], caption.tokens["caption"])


def test_what_is_begun_in_a_batch_is_what_it_is_alone(small_model, picture):
    """Starts of different lengths, none at all, other inputs; chained and apart; steps end in the same value."""
    inputs = [DEPTH, {"rgb": picture}, {"rgb": 255 - picture}, DEPTH]
    starts = [{"caption": "a red car on the"}, {"caption": "a"}, {}, {"caption": "the table", "color_palette": RED}]
    targets, how = ["caption", "color_palette"], {"temperature": 2.0, "guidance": 2.0}
    for chain in (True, False):
        together = small_model.generate_batch(inputs, targets, start=starts, seed=7, chain=chain, **how)
        for number, (mine, start) in enumerate(zip(inputs, starts, strict=True)):
            alone = small_model.generate(mine, targets, start=start, seed=7 + number, chain=chain, **how)
            steps = list(small_model.stream(mine, targets, start=start, seed=7 + number, chain=chain, **how))
            for name in targets:
                assert np.array_equal(together[number].tokens[name], alone.tokens[name]), (chain, number, name)
                last = [step for step in steps if step.target == name][-1]
                assert np.array_equal(last.partial, alone[name]) and last.done
    assert np.array_equal(together[3]["color_palette"][:1], RED) and len(together[3]["color_palette"]) > 1


def test_several_draws_begin_alike(small_model):
    out = begun(small_model, "a red", samples=4, temperature=3.0, seed=2)
    assert out["caption"].startswith("a red") and len(out.uncertainty["caption"]) == len(out["caption"].split())
    assert out.uncertainty["caption"][:2].max() == 0 < out.uncertainty["caption"].max()


def test_a_start_that_cannot_be_is_refused_in_one_sentence(small_model):
    long = " ".join(["car"] * 30)
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"depth": np.ones((32, 32))}, {}, "'depth' is no sequence that could begin with something"),
        ({"captoin": "a"}, {}, "start names 'captoin', which is not a target; did you mean 'caption'"),
        ({"caption": long}, {}, "begins with has 30 tokens of 24: no room for the rest"),
        ({"caption": 5}, {}, "caption takes text"),
        ({"caption": "a"}, {"keep": {"caption": True}}, "kept in part and cannot begin with something too"),
        ({"caption": "a"}, {"size": (48, 48)}, "start is for pictures of the model's size"),
    ]
    for start, more, says in cases:
        inputs = {"rgb": np.zeros((32, 32, 3), np.uint8)} | ({"caption": "a ___"} if "keep" in more else {})
        with pytest.raises(am.AnymodalError, match=says):
            small_model.generate(inputs, ["caption", "depth"], start=start, **more)
    for mark in (SPACE.end, SPACE.sentinel(2)):
        with pytest.raises(GenerationError, match="cannot begin with a mark that ends it"):
            template([np.array([30, mark])], SPACE, "words")
    with pytest.raises(GenerationError, match="start is a dict such as"):
        small_model.generate(DEPTH, "caption", start="a")
    with pytest.raises(GenerationError, match="start has 2 entries for 1 sample;"):
        small_model.generate_batch([DEPTH], "caption", start=[{}, {}])


PIECES = st.lists(st.one_of(st.integers(1, 3), st.lists(st.integers(30, 34), min_size=1, max_size=3)), max_size=5)


@given(PIECES, st.integers(0, 2**30))
def test_what_is_written_beside_the_pieces_is_found_again(pieces, seed):
    """Whatever is drawn, pieces stand where they were, and the model decides as many tokens as a number says."""
    known = [piece if isinstance(piece, int) else np.array(piece) for piece in pieces]
    start, rng = template(known, SPACE, "words"), np.random.default_rng(seed)
    text, drawn = Text(HOLE, SPACE, None, start), []
    while not text.done and len(text.written) < SPACE.length:
        token = int(rng.choice([60, 61, 62] if text.open else [3, 5, 60, 61, 62]))
        drawn += [token] * (text.given is None)
        text.add(token)
    ids, closed = text.value(SPACE.length), bool(pieces) and isinstance(pieces[-1], int)
    decided = start[start != SPACE.end]
    assert np.array_equal(ids[: len(decided)][decided != OPEN], decided[decided != OPEN]) and ids[-1] == SPACE.end
    *spans, rest = written_beside(ids, known, SPACE.end)
    assert list(map(len, spans)) == [piece for piece in pieces if isinstance(piece, int)]
    assert np.concatenate([*spans, rest]).tolist() == [token for token in drawn if token >= 60]
    assert not (closed and len(rest))


def test_nothing_ends_where_the_model_has_to_decide():
    import torch

    scores = torch.zeros(2, 100)
    scores[:, 3] = 9.0
    inside, after = (Text(HOLE, SPACE, None, np.array(start, np.int64)) for start in ([OPEN], []))
    allowed = without_ends(scores, [inside, after]).argmax(-1).tolist()
    assert allowed[0] not in (3, *range(4, 24)) and allowed[1] == 3


@pytest.mark.parametrize("option", ["keep", "start"])
@pytest.mark.parametrize("given", [np.ones((4, 4)), 0, "", "a red"])
def test_a_part_without_the_name_of_its_target_is_refused(small_model, option, given):
    """A mask alone is what people try first; an array is neither true nor false."""
    for size in ({}, {"size": (48, 48)}):
        with pytest.raises(GenerationError, match=f"{option} is a dict such as"):
            small_model.generate(DEPTH, "rgb", **{option: given}, **size)
