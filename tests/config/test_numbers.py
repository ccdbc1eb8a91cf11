"""Numbers that people give: those of numpy are as good as Python's, and what is stored is Python's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymodal.config.validators import integer, real
from anymodal.errors import ConfigError
from anymodal.generation.tiles import tiles_of
from anymodal.retrieval.record import check_weights
from anymodal.sampling import Sampling
from anymodal.sampling.options import plain_options

WHOLE = st.sampled_from([np.int8, np.int32, np.int64, np.uint16, np.float32])
BROKEN = st.sampled_from([np.float16, np.float32, np.float64])


@given(WHOLE, st.integers(1, 100), BROKEN, st.floats(0, 10, width=16), st.floats(-10, 10, width=16))
def test_sampling_takes_numbers_of_numpy(whole, steps, broken, temperature, guidance):
    given = Sampling(steps=whole(steps), temperature=broken(temperature), guidance=broken(guidance))
    assert given == Sampling(steps=steps, temperature=temperature, guidance=guidance)
    assert json.loads(json.dumps(plain_options(given)))["steps"] == steps


def test_sizes_and_weights_may_be_numbers_of_numpy():
    assert tiles_of((np.int64(192), np.int64(128)), np.float32(0.25), 128, 16) == tiles_of((192, 128), 0.25, 128, 16)
    check_weights({"rgb": 1}, {"rgb": np.float32(0.5)})
    with pytest.raises(ConfigError, match="expected a number that fits 64 bits"):
        check_weights({"rgb": 1}, {"rgb": 10**400})


@pytest.mark.parametrize("value", [True, np.True_, "3", None, 1j, np.array(3), np.datetime64(3, "D")])
def test_what_is_no_number_is_refused(value):
    for convert in (integer, real):
        with pytest.raises(ConfigError, match="expected a"):
            convert(value)
