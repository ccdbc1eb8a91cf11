"""Modalities of no family are second to none: by what they say of themselves, and the rule that this is true."""

from __future__ import annotations

import numpy as np
import pytest
from copies import UNTRUE, Heat, Tally
from planted import Thermal
from planted_more import Letters

import anymodal as am
from anymodal import families
from anymodal.testing import RULES, check
from anymodal.testing.choose import find
from anymodal.testing.run import Inspection
from anymodal.testing.subject import Subject


@pytest.mark.parametrize("cls", [Tally, Heat])
def test_a_copy_of_a_family_keeps_every_rule(cls):
    bases = {getattr(families, name) for name in families.__all__} | {families.grids.CroppedGrid}
    assert not bases & set(cls.__mro__)
    results = check(cls, profile="full")
    assert not [str(result) for result in results if result.status in ("failed", "warned")]


@pytest.mark.parametrize(("cls", "member", "files"), [(Tally, Letters, set()), (Heat, Thermal, {"AM108"})])
def test_it_is_held_to_the_same_rules_as_a_member_of_the_family(cls, member, files):
    """All but those on picture files, where it has none."""

    def applied(which: type[am.Modality]) -> set[str]:
        (target,) = find(which)
        subject = Subject(target)
        return {number for number, rule in RULES.items() if rule.applies(subject)}

    assert applied(member) - applied(cls) == files


def test_a_copy_is_used_as_the_family_is(tiny_model, vocabulary):
    model = tiny_model(Tally, Heat)
    heat = np.full((32, 32), 20, np.float32)
    out = model.generate({"heat": heat}, "tally", seed=0)
    assert isinstance(out["tally"], dict)
    back = model.generate({"tally": {"a": 3}}, "heat", steps=2, seed=0)["heat"]
    assert back.shape == (32, 32) and 0 <= back.min() <= back.max() <= 100
    assert Tally.draws and not Heat.draws and Heat.has_tokenizer and not Tally.has_tokenizer
    assert Heat().other_tokens({"codebook": 8}) == "codebook 8 of 'heat', not 1024"


@pytest.mark.parametrize("case", UNTRUE)
def test_what_is_not_true_is_found(case):
    cls, words = UNTRUE[case]
    (target,) = find(cls)
    result = Inspection(target).judge("AM011")
    assert result.status == "failed" and words in result.detail, result
