"""Named numbers, and several modalities in one stream."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymodal import Crop, ModalitySet, Number, NumbersModality, SharedModality, StructuredModality
from anymodal.errors import PluginError, ValueProblem
from anymodal.plugins.registry import registry
from anymodal.text import Vocabulary, parse_value


class Weather(NumbersModality):
    """What the sky does."""

    fields = {"cloud": Number(0, 0, 1, 50), "wind": Number(1, 0, 30, edges=(3, 10)), "height": Number(2, step=32)}


class Crowd(NumbersModality):
    """How many there are."""

    fields = {"people": Number(5), "dogs": Number(6)}


class Mood(StructuredModality):
    """A word of its own."""

    def accept(self, value):
        return value

    def spell(self, value, rng=None):
        return f"mood {value}"

    def parse(self, text):
        words = text.split()
        return next((b for a, b in pairwise(words) if a == "mood"), None)

    def score(self, predictions, truths):
        return {"right": sum(p == t for p, t in zip(predictions, truths, strict=True)) / len(truths)}


class Trip(StructuredModality):
    """Whole kilometers of five days; no more is said of it than how it is spelled."""

    name, days = "trip", ("mo", "tu", "we", "th", "fr")

    def accept(self, value):
        return value

    def spell(self, value, rng=None):
        return " ".join(f"{day} v0={number}" for day, number in zip(self.days, value, strict=True))

    def parse(self, text):
        return [parse_value(word)[1] for word in text.split()[1::2]]


VALUE = {"weather": {"cloud": 0.5, "height": 640}, "crowd": {"people": 3, "dogs": 0}, "mood": "glad"}
words = st.one_of(
    st.builds("v{}={}".format, st.integers(0, 3), st.integers(0, 1200)), st.sampled_from(["mood", "glad"]), st.text()
)


def joined(**settings) -> SharedModality:
    return SharedModality("facts", [Weather(), Crowd(), Mood()], **settings)


@pytest.mark.parametrize("name", ["cloud", "wind", "height"])
@given(value=st.floats(0, 40))
def test_what_a_level_stands_for_has_that_level(name, value):
    field = Weather.fields[name]
    level = field.level(value, 1000)
    assert field.level(field.value(level), 1000) == level and field.knows(level)


def test_levels_are_clamped_and_whole():
    cloud, people = Weather.fields["cloud"], Crowd.fields["people"]
    assert [cloud.level(v, 1000) for v in (-1, 0, 0.5, 1, 9)] == [0, 0, 24, 49, 49]
    assert [Weather.fields["wind"].level(v, 1000) for v in (0, 3, 9.9, 10, 99)] == [0, 1, 1, 2, 2]
    assert [people.level(v, 1000) for v in (0, 7, 5000)] == [0, 7, 999]
    assert people.level(5000, 256) == 255


def test_a_level_stands_for_the_middle_of_what_has_it():
    """Bins are 49 equal parts from 0 to 1, and 1 itself; edges lie at 3 and 10 of 30; steps are counted from 0."""
    cloud, wind, height = (Weather.fields[name] for name in ("cloud", "wind", "height"))
    assert [cloud.value(level) for level in (0, 24, 49)] == pytest.approx([0.5 / 49, 24.5 / 49, 1.0])
    assert [wind.value(level) for level in (0, 1, 2)] == [1.5, 6.5, 20.0]
    assert [height.value(level) for level in (0, 20)] == [0, 640]


@given(st.lists(words, max_size=20).map(" ".join))
def test_any_text_is_parsed_into_values_that_are_accepted(text):
    modality = joined()
    value = modality.parse(text)
    said = {name: part for name, part in value.items() if part is not None}  # a mood that no word says is absent
    assert set(value) == {"weather", "crowd", "mood"} and modality.accept(value) == said


def test_members_share_one_text_and_take_their_own():
    modality = joined()
    text = modality.spell(VALUE)
    assert text == "v1=0 v0=24 v1=2 v0=20 v1=5 v0=3 v1=6 v0=0 mood glad"
    value = modality.parse(text)
    assert value["crowd"] == {"people": 3, "dogs": 0} and value["mood"] == "glad"
    assert value["weather"] == {"cloud": pytest.approx(0.5, abs=0.02), "height": 640}


def test_draws_mix_the_chunks_of_all_members():
    modality = joined()
    texts = {modality.spell(VALUE, np.random.default_rng(seed)) for seed in range(20)}
    assert len(texts) > 10
    assert all(modality.parse(text) == modality.parse(modality.spell(VALUE)) for text in texts)
    assert any(text.split().index("mood") == 2 for text in texts)  # between chunks of one member


def test_one_stream_of_a_set_and_its_tokens():
    vocabulary = Vocabulary.train(["mood glad sad"] * 3, size=4400)
    modality = joined(length=30)
    (stream,) = ModalitySet([modality], vocabulary).layout.streams
    assert stream.name == "facts" and stream.space.length == 30
    (ids,) = modality.tokenize([VALUE])["facts"]
    assert modality.detokenize([ids])[0]["mood"] == "glad" and ids[-1] == vocabulary.end
    (mixed,) = modality.tokenize([VALUE], np.random.default_rng(1))["facts"]
    assert sorted(mixed) == sorted(ids)


def test_files_are_shared_or_told_apart(tmp_path):
    path, modality = tmp_path / "a.json", joined()
    modality.write(VALUE, path)
    assert modality.read(path) == VALUE
    path.write_text(json.dumps({"cloud": 1, "people": 2, "unknown": 3}))
    both = SharedModality("facts", [Weather(), Crowd()])
    assert both.read(path) == {"weather": {"cloud": 1}, "crowd": {"people": 2}}
    modality.write(VALUE, path)
    assert both.read(path) == {name: VALUE[name] for name in ("weather", "crowd")}  # and passes over the mood


def test_what_is_written_beside_kept_numbers_is_not_lost():
    modality, kept = joined(), {"weather": {"cloud": 0.5}, "mood": "glad"}
    whole = modality.joined(kept, [modality.spell(kept), None], ["v1=2 v0=20 v1=0 v0=3 v1=5 v0=3 mood sad"])
    assert whole == {"weather": {"cloud": 0.5, "height": 640}, "crowd": {"people": 3}, "mood": "glad"}


def test_scores_crops_and_pictures_come_from_the_members():
    modality, part = joined(), {"weather": VALUE["weather"], "mood": "sad"}
    assert modality.score([VALUE], [VALUE]) == {
        "weather.found": 1, "weather.cloud": 0, "weather.height": 0,
        "crowd.found": 1, "crowd.people": 0, "crowd.dogs": 0, "mood.right": 1,
    }  # fmt: skip
    assert modality.score([part], [VALUE])["mood.right"] == 0
    assert modality.crop(VALUE, Crop(flip=True)) == VALUE
    assert SharedModality("facts", [Weather(), Crowd()]).show({"weather": {"cloud": 0.5}}, 64).size == (64, 64)


def test_members_are_drawn_over_the_scene_as_they_are_alone():
    det = registry().modality("det")()
    boxes, scene = det.examples(np.random.default_rng(0))["one"], np.full((64, 64, 3), 90, np.uint8)
    shown = SharedModality("facts", [det]).show_over({"det": boxes}, scene, 64)
    assert np.array_equal(np.asarray(shown), np.asarray(det.show_over(boxes, scene, 64)))


@pytest.mark.parametrize(
    "bad", [3, [1], {"clouds": 1}, {"cloud": "a"}, {"cloud": float("nan")}, {"cloud": True}], ids=str
)
def test_other_values_are_refused(bad):
    with pytest.raises(ValueProblem):
        Weather().accept(bad)
    with pytest.raises(ValueProblem):
        joined().accept({"weather": bad})


def test_numbers_that_a_file_lacks_may_be_null(tmp_path):
    (tmp_path / "a.json").write_text('{"cloud": null, "wind": 3, "other": null}')
    assert Weather().read(tmp_path / "a.json") == Weather().accept({"wind": 3, "cloud": None}) == {"wind": 3}
    with pytest.raises(ValueProblem, match="cloudy"):
        Weather().accept({"cloudy": None})
    (tmp_path / "a.json").write_text('{"weather": null, "crowd": {"people": 3}, "mood": null}')
    assert joined().read(tmp_path / "a.json") == joined().accept({"crowd": {"people": 3}, "mood": None})
    assert joined().read(tmp_path / "a.json") == {"crowd": {"people": 3}}


def test_a_wrong_name_and_no_member():
    with pytest.raises(ValueProblem, match="did you mean 'weather'"):
        joined().accept({"wether": {}})
    with pytest.raises(PluginError, match="at least one"):
        SharedModality("facts", [])


def test_a_table_for_people():
    assert Weather().show({"cloud": 0.2, "height": 640}, 96).size == (96, 96)
    assert Weather().show({}, 96).size == (96, 96)


def test_what_is_spelled_is_shown_and_scored_with_no_code_for_it():
    first, second = Trip().show([1, 2, 3, 4, 5], 64), Trip().show([5, 4, 3, 2, 1], 64)
    assert first.mode == "RGB" and first.size == (64, 64) and first.tobytes() != second.tobytes()
    assert Trip().score([[1, 2, 3, 4, 5], [0, 0, 0, 0, 0]], [[1, 2, 3, 4, 5], [1, 0, 0, 0, 0]]) == {"alike": 0.5}
