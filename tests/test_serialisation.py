"""Sequence modalities against the recorded strings and ids, through the plugins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from parity import serialization
from parity.vocabulary import find_vocabulary, verify_text

from anymodal.errors import UnknownModality
from anymodal.text import Vocabulary

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
pytestmark = pytest.mark.skipif(not (SHARED / "golden2/text").is_dir(), reason="needs the recorded sets")


@pytest.mark.parametrize(("folder", "count"), [("golden", 6), ("golden2", 10)])
def test_every_recorded_value_is_spelled_as_recorded(folder, count):
    results = list(verify_text(SHARED / folder / "text"))
    assert [r.line() for r in results if r.failed] == []
    assert sum(r.passed for r in results) == count


def test_a_difference_is_noticed():
    vocabulary = Vocabulary.load(find_vocabulary(SHARED / "golden/text"))
    cases = json.loads((SHARED / "golden2/text/transforms.json").read_text())
    changed = [case | {"string": case.get("string", "") + " cup"} if "ids" in case else case for case in cases]
    failed = {r.case for r in serialization.verify_transforms(changed, vocabulary) if r.failed}
    names = ("det", "caption", "metadata", "human_poses", "color_palette", "sam_instance")
    assert failed >= {f"text/transforms/{name}" for name in names if name != "metadata"}


def test_a_plugin_that_is_missing_is_named(monkeypatch):
    class Empty:
        def modality(self, name):
            raise UnknownModality(f"no installed plugin provides {name!r}")

    monkeypatch.setattr(serialization, "registry", Empty)
    cases = json.loads((SHARED / "golden2/text/transforms.json").read_text())
    results = list(serialization.verify_transforms(cases, None))
    assert results and all("no installed plugin" in r.skipped for r in results if "tok_rgb" not in r.case)
