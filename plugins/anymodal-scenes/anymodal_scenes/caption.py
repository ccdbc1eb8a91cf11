"""Captions: sentences made from exact geometry, and the way back from any sentence to what it speaks of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from .catalog import COLORS, KINDS
from .rng import Stream
from .types import Relation, SceneObject, Setting

_SHADES = {"grey": "gray", "violet": "purple"} | {name: name for name in COLORS}
_TOPS = {"shirt", "shirts", "t-shirt", "t-shirts", "top", "tops", "jumper", "sweater", "jacket", "coat", "dress"}
_WEARING = {"in", "wearing", "wears", "dressed"}
_NEAR = ("beside", "close to", "near", "next to")


def article(phrase: str) -> str:
    """The phrase with "a" or "an" before it."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


# ---- from a scene to a sentence


def _noun(draw: Stream, thing: SceneObject) -> str:
    """What a caption calls a thing, without an article."""
    words = KINDS[thing.kind].words
    word = words[0] if draw.chance(0.7) else draw.pick(words)
    if thing.pose is None:
        return f"{thing.color} {word}" if thing.color else word
    shirt = draw.pick(("in a {} shirt", "wearing a {} shirt", "in a {} top", "dressed in {}", "wearing {}"))
    clothes = shirt.format(thing.color)
    return f"{word} {clothes.replace(' a orange', ' an orange')}"


def _doing(thing: SceneObject) -> str:
    return f" {thing.pose.action}" if thing.pose is not None else ""


def _place(draw: Stream, setting: Setting) -> str:
    """Where it all is, without any word for a kind."""
    if setting.place == "room":
        options = [
            "in a room", f"in a room with {article(setting.ground)}", f"in a room with {setting.wall}",
            "indoors", f"on {article(setting.ground)}",
        ]  # fmt: skip
        if setting.light != "daylight":
            options.append(
                "in a room in the evening" if setting.light == "evening" else f"in a room by {setting.light}"
            )
        return draw.pick(options)
    grounds = {
        "grass": ("on the grass", "on a meadow", "on a lawn"),
        "sand": ("on the sand", "on a beach", "on a sandy beach"),
        "road": ("on a road", "on the street", "on the asphalt"),
        "pavement": ("on the pavement", "on a paved square", "in the city"),
        "snow": ("in the snow", "on the snow", "on a snowy field"),
        "dirt": ("on a dirt field", "on bare ground", "on dry ground"),
    }
    times = {
        "noon": ("", " in the sun", " at noon", " on a sunny day"),
        "overcast": ("", " under an overcast sky", " on a cloudy day"),
        "evening": (" in the evening", " at sunset", ""),
        "morning": ("", " in the morning"),
    }
    views = {
        "hills": " with hills behind", "trees": " with a forest behind", "fence": " in front of a fence",
        "sea": " by the sea", "buildings": " with buildings behind",
    }  # fmt: skip
    view = views[setting.backdrop] if setting.backdrop and draw.chance(0.4) else ""
    return draw.pick(grounds[setting.ground]) + view + draw.pick(times[setting.light])


def _phrase(draw: Stream, predicate: str) -> str:
    """Words for a relation."""
    return {
        "left of": draw.pick(("to the left of", "left of")),
        "right of": draw.pick(("to the right of", "right of")),
        "in front of": "in front of",
        "behind": "behind",
        "on": draw.pick(("on", "on top of")),
        "next to": draw.pick(_NEAR),
    }[predicate]


def _joined(phrases: Sequence[str]) -> str:
    """An English list."""
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def describe(
    draw: Stream, objects: Sequence[SceneObject], named: Sequence[int], relations: Sequence[Relation], setting: Setting
) -> str:
    """A caption that names exactly the objects `named`, biggest first unless a relation orders them."""
    where = _place(draw, setting)
    full = {k: article(_noun(draw, objects[k])) + _doing(objects[k]) for k in named}
    supports = [k for k in named if any(r.predicate == "on" and r.other == k and r.subject in named for r in relations)]
    if supports:
        holder = supports[0]
        tops = [r.subject for r in relations if r.predicate == "on" and r.other == holder and r.subject in named]
        rest = [k for k in named if k != holder and k not in tops]
        things = _joined([full[k] for k in tops])
        first = draw.pick((
            f"{things} {_phrase(draw, 'on')} {full[holder]}",
            f"{full[holder]} with {things} on it",
            f"{things} standing on {full[holder]}",
        ))  # fmt: skip
        text = first + (f" and {_joined([full[k] for k in rest])}" if rest else "")
        return _wrapped(draw, text, where)
    usable = [r for r in relations if r.subject in named and r.other in named]
    if usable and draw.chance(0.8):
        relation = draw.pick(usable)
        rest = [k for k in named if k not in (relation.subject, relation.other)]
        text = f"{full[relation.subject]} {_phrase(draw, relation.predicate)} {full[relation.other]}"
        if rest:
            text += draw.pick((" and ", ", with ", " with ")) + _joined([full[k] for k in rest])
        return _wrapped(draw, text, where)
    return _wrapped(draw, _joined([full[k] for k in named]), where)


def _wrapped(draw: Stream, text: str, where: str) -> str:
    """The things and the place, in one of several sentences."""
    return draw.pick((
        f"{text} {where}", f"{text} {where}", f"{where}, {text}", f"a picture of {text} {where}", f"{text}, {where}",
    ))  # fmt: skip


# ---- from a sentence to what it speaks of


@cache
def _lexicon() -> dict[tuple[str, ...], str]:
    """All words for kinds, in singular and plural, as tuples of words."""
    table: dict[tuple[str, ...], str] = {}
    extra = {"person": ("man", "woman", "boy", "girl", "child", "someone", "somebody", "guy", "lady")}
    irregular = {"people": "person", "men": "person", "women": "person", "children": "person", "sheep": "sheep"}
    for kind in KINDS.values():
        for word in (*kind.words, kind.name, *extra.get(kind.name, ())):
            parts = tuple(word.split())
            table[parts] = table[(*parts[:-1], _plural(parts[-1]))] = kind.name
    return table | {(word,): name for word, name in irregular.items()}


_BREAKS = frozenset({
    "a", "an", "the", "and", "or", "with", "of", "on", "in", "at", "by", "to", "from", "near", "beside", "next",
    "behind", "front", "left", "right", "top", "under", "over", "is", "are", "wearing", "standing", "sitting",
    ",", ".", ";", ":",
})  # fmt: skip


def _plural(word: str) -> str:
    """The regular plural of a noun."""
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "ch", "sh", "x")) else "s")


def mentions(caption: str) -> set[tuple[str | None, str]]:
    """The (color, kind) pairs that a text speaks of; for a person the color is the shirt's, None where unsaid.

    Understands every caption of this module and tolerates free text: plurals, "grey", "the chair is red", repeated
    references ("the chair"), clothes other than shirts, unknown words.
    """
    words = re.findall(r"[a-z]+(?:-[a-z]+)*|[,.;:]", caption.lower())
    lexicon = _lexicon()
    found: set[tuple[str | None, str]] = set()
    spans = _spans(words, lexicon)
    for number, (start, end, kind) in enumerate(spans):
        stop = spans[number + 1][0] if number + 1 < len(spans) else len(words)
        before, definite = _before(words, start)
        color = before
        if kind == "person":
            color = _shirt(words[end:stop]) or before
        elif color is None:
            color = _predicate(words[end:stop])
        if color is None and definite and any(other == kind for _, other in found):
            continue
        found.add((color, kind))
    return found


def _spans(words: Sequence[str], lexicon: dict[tuple[str, ...], str]) -> list[tuple[int, int, str]]:
    """Where kinds are named, the longest names first."""
    spans, i = [], 0
    while i < len(words):
        for length in (2, 1):
            kind = lexicon.get(tuple(words[i : i + length]))
            if kind and i + length <= len(words):
                spans.append((i, i + length, kind))
                i += length - 1
                break
        i += 1
    return spans


def _before(words: Sequence[str], start: int) -> tuple[str | None, bool]:
    """The color nearest before a noun within its phrase, and whether the phrase starts with "the"."""
    color = None
    for k in range(start - 1, max(start - 5, -1), -1):
        if color is None and words[k].removesuffix("-shirted") in _SHADES:
            color = _SHADES[words[k].removesuffix("-shirted")]
        elif words[k] in _BREAKS:
            return color, words[k] == "the"
    return color, False


def _predicate(after: Sequence[str]) -> str | None:
    """The color of "... (that) is red"."""
    tail = [word for word in after[:4] if word not in ("that", "which")]
    if len(tail) >= 2 and tail[0] in ("is", "are") and tail[1] in _SHADES:
        return _SHADES[tail[1]]
    return None


def _shirt(after: Sequence[str]) -> str | None:
    """The color of the shirt in what follows a person: of a garment for the upper body, else of plain "in red"."""
    for k, word in enumerate(after):
        if k and word in _TOPS and after[k - 1] in _SHADES:
            return _SHADES[after[k - 1]]
    for k, word in enumerate(after):
        if k and word in _SHADES and after[k - 1] in _WEARING:
            return _SHADES[word]
    return None
