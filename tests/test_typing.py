"""The names that type checkers know are the names there are; `make types` runs the checkers over `tests/typing`."""

from __future__ import annotations

import attrs

from anymodal.sampling import Sampling, SamplingOptions


def test_type_checkers_know_every_sampling_option() -> None:
    assert SamplingOptions.__optional_keys__ == {field.name for field in attrs.fields(Sampling)}
