"""Sequence modalities against the recorded strings and ids, through the plugins."""

from __future__ import annotations

import json

import pytest
from parity import serialization
from parity.vocabulary import find_vocabulary, verify_text
from recordings import FULL, SMALL, needs_full_sets

from anymodal.errors import UnknownModality
from anymodal.text import Vocabulary

TRANSFORMS = json.loads((SMALL / "text/transforms.json").read_text())


@needs_full_sets
@pytest.mark.parametrize(("folder", "count"), [("golden", 6), ("golden2", 10)])
def test_every_recorded_value_is_spelled_as_recorded(folder, count):
    results = list(verify_text(FULL / folder / "text"))
    assert [r.line() for r in results if r.failed] == []
    assert sum(r.passed for r in results) == count


NAMES = ("det", "caption", "metadata", "human_poses", "color_palette", "sam_instance")


def test_another_string_is_noticed():
    changed = [case | {"string": case.get("string", "") + " cup"} if "ids" in case else case for case in TRANSFORMS]
    failed = {r.case for r in serialization.verify_transforms(changed, None) if r.failed}
    assert failed == {f"text/transforms/{name}" for name in NAMES}


@needs_full_sets
def test_other_ids_are_noticed():
    vocabulary = Vocabulary.load(find_vocabulary(FULL / "golden/text"))
    changed = [case | {"ids": [7, *case["ids"][1:]]} if case.get("ids") else case for case in TRANSFORMS]
    failed = {r.case for r in serialization.verify_transforms(changed, vocabulary) if r.failed}
    assert failed == {f"text/transforms/{name}" for name in NAMES}


def test_a_plugin_that_is_missing_is_named(monkeypatch):
    class Empty:
        def modality(self, name):
            raise UnknownModality(f"no installed plugin provides {name!r}")

    monkeypatch.setattr(serialization, "registry", Empty)
    results = list(serialization.verify_transforms(TRANSFORMS, None))
    assert results and all("no installed plugin" in r.skipped for r in results if "tok_rgb" not in r.case)
