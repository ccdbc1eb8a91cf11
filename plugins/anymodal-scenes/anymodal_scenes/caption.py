"""Captions: sentences made from exact geometry, and the way back from any sentence to what it speaks of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache

from .catalog import COLORS, KINDS
from .rng import Stream
from .types import Relation, SceneObject, Setting

_SHADES = {"grey": "gray", "violet": "purple"} | {name: name for name in COLORS}
_TOPS = {"shirt", "shirts", "t-shirt", "t-shirts", "top", "tops", "jumper", "sweater", "jacket", "coat", "dress"}
_WEARING = {"in", "wearing", "wears", "dressed"}
_NUMBERS = ("no", "one", "two", "three", "four")
_IRREGULAR = {"person": "people", "man": "men", "woman": "women", "child": "children", "sheep": "sheep"}
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
        options += {
            "daylight": (),
            "lamplight": ("in a room by lamplight",),
            "evening": ("in a room in the evening",),
            "night": ("in a room at night", "indoors at night", f"in a room with {setting.wall} at night"),
        }[setting.light]
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
        "dusk": (" at dusk", " at dusk", ""),
        "night": (" at night", " at night", " under the stars"),
    }
    views = {
        "hills": " with hills behind", "trees": " with a forest behind", "fence": " in front of a fence",
        "sea": " by the sea", "buildings": " with buildings behind",
    }  # fmt: skip
    view = views[setting.backdrop] if setting.backdrop and draw.chance(0.4) and not setting.above else ""
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
    """A caption that names exactly the objects `named`, biggest first unless a relation orders them.

    Some captions count, some say what is not there, some that the view is from above.
    """
    where = _place(draw, setting)
    where += _absent(draw.fork("absent"), {thing.kind for thing in objects}, setting, where)
    text = _wrapped(draw, _things(draw, objects, named, relations, setting), where)
    high = draw.fork("high")
    if setting.above and high.chance(0.6):
        text = high.pick((f"{text}, seen from above", f"{text} from above", f"seen from above, {text}"))
    return text


def _things(
    draw: Stream, objects: Sequence[SceneObject], named: Sequence[int], relations: Sequence[Relation], setting: Setting
) -> str:
    """The objects `named`, with what relates them or how many there are."""
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
        return text
    count, many = draw.fork("count"), _countable(objects, named, setting)
    if many and count.chance(0.95):
        others = [full[k] for k in named if k not in many]
        return _joined([*others, _counted(count, [objects[k] for k in many])])
    usable = [r for r in relations if r.subject in named and r.other in named]
    if usable and draw.chance(0.8):
        relation = draw.pick(usable)
        rest = [k for k in named if k not in (relation.subject, relation.other)]
        text = f"{full[relation.subject]} {_phrase(draw, relation.predicate)} {full[relation.other]}"
        if rest:
            text += draw.pick((" and ", ", with ", " with ")) + _joined([full[k] for k in rest])
        return text
    return _joined([full[k] for k in named])


def _countable(objects: Sequence[SceneObject], named: Sequence[int], setting: Setting) -> list[int]:
    """Objects of one kind, two or more, all there are in the picture and all of them named; or none."""
    for kind in dict.fromkeys(objects[k].kind for k in named):
        every = [k for k, thing in enumerate(objects) if thing.kind == kind]
        forest = kind == "tree" and setting.backdrop == "trees"
        if len(every) > 1 and set(every) <= set(named) and not forest:
            return every
    return []


def _counted(draw: Stream, things: Sequence[SceneObject]) -> str:
    """Several things of a kind: "two red chairs", "three people dancing, one in red and two in blue"."""
    number = _NUMBERS[len(things)]
    word = _plural(draw.pick(KINDS[things[0].kind].words))
    doings = {_doing(thing) for thing in things}
    doing = doings.pop() if len(doings) == 1 else ""
    dress = "" if things[0].pose is None else draw.pick(("in ", "dressed in ", "wearing "))
    colors = Counter(thing.color for thing in things)
    if None in colors:
        return f"{number} {word}"
    if len(colors) > 1:
        each = [f"{_NUMBERS[count]} {dress}{color}" for color, count in colors.items()]
        return f"{number} {word}{doing}, {_joined(each)}"
    return f"{number} {word} {dress}{things[0].color}{doing}" if dress else f"{number} {things[0].color} {word}"


def _absent(draw: Stream, kinds: Collection[str], setting: Setting, where: str) -> str:
    """Sometimes, what is not there: people or things that might have been, given the kinds that are."""
    if not draw.chance(0.08):
        return ""
    link = " and" if " with " in where else " with"
    if "person" not in kinds and draw.chance(0.75):
        room = (f"{link} nobody in it",) if where.startswith("in a room") else ()
        return draw.pick((f"{link} no people", f"{link} nobody around", " without people", *room))
    usual = ("dog", "chair", "couch", "dining table") if setting.place == "room" else ("dog", "car", "bench", "bus")
    word = _plural(KINDS[draw.pick([kind for kind in usual if kind not in kinds])].words[0])
    return draw.pick((f"{link} no {word}", f" without {word}"))


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
    extra = {"person": ("man", "woman", "boy", "girl", "child", "someone", "somebody", "guy", "lady", "persons")}
    for kind in KINDS.values():
        for word in (*kind.words, kind.name, *extra.get(kind.name, ())):
            parts = tuple(word.split())
            table[parts] = table[(*parts[:-1], _plural(parts[-1]))] = kind.name
    return table


_BREAKS = frozenset({
    "a", "an", "the", "and", "or", "with", "of", "on", "in", "at", "by", "to", "from", "near", "beside", "next",
    "no", "not", "without", "one", "two", "three", "four",
    "behind", "front", "left", "right", "top", "under", "over", "is", "are", "wearing", "standing", "sitting",
    ",", ".", ";", ":",
})  # fmt: skip


def _plural(word: str) -> str:
    """The plural of a noun."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "ch", "sh", "x")) else "s")


def mentions(caption: str) -> set[tuple[str | None, str]]:
    """The (color, kind) pairs that a text speaks of; for a person the color is the shirt's, None where unsaid.

    Understands every caption of this module and tolerates free text: plurals, "grey", "the chair is red", repeated
    references ("the chair"), clothes other than shirts, unknown words. What is said not to be there ("no dogs") is no
    mention; of several things that differ ("two chairs, one red and one blue") each is.
    """
    words = re.findall(r"[a-z]+(?:-[a-z]+)*|[,.;:]", caption.lower())
    lexicon = _lexicon()
    found: set[tuple[str | None, str]] = set()
    spans = _spans(words, lexicon)
    for number, (start, end, kind) in enumerate(spans):
        stop = spans[number + 1][0] if number + 1 < len(spans) else len(words)
        before, definite = _before(words, start)
        if _negated(words, start):
            continue
        each = _each(words[end:stop], stop < len(words))
        found |= {(one, kind) for one in each}
        color = before
        if kind == "person":
            color = _shirt(words[end:stop]) or before
        elif color is None:
            color = _predicate(words[end:stop])
        if color is None and (each or (definite and any(other == kind for _, other in found))):
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


def _negated(words: Sequence[str], start: int) -> bool:
    """Whether a noun follows "no", "not" or "without" within its phrase, as dogs and cats in "no dogs or cats"."""
    for word in reversed(words[max(start - 4, 0) : start]):
        if word in ("no", "not", "without"):
            return True
        if word in _BREAKS and word not in ("a", "an", "or"):
            return False
    return False


def _each(after: Sequence[str], more: bool) -> list[str]:
    """The colors of ", one red and two in blue"; where `more` is true the last words are those of the next noun."""
    end = len(after)
    while more and end and after[end - 1] not in _BREAKS:
        end -= 1
    starts = [k for k, word in enumerate(after[:end]) if word in _NUMBERS[1:]]
    stops = [*starts[1:], end]
    if more and starts and starts[-1] == end - 1:
        starts.pop()
    colors = (
        [_SHADES[word] for word in after[a:b][:5] if word in _SHADES] for a, b in zip(starts, stops, strict=False)
    )
    return [found[0] for found in colors if found]


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
