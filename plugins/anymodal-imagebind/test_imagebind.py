"""The ImageBind plugin: spaces, values and sampling."""

import numpy as np
import pytest

import anymodal as am
from anymodal.testing import conformance

test_conformance = conformance("imagebind")

Imagebind = am.registry().modality("imagebind")


def test_space_and_published_tokenizer():
    (stream,) = Imagebind().streams()
    assert stream.space == am.TokenSpace.grid(8192, 16, 16)
    assert Imagebind().channels == 1280
    assert Imagebind.repository == "EPFL-VILAB/4M_tokenizers_ImageBind-H14_8k_224-448"


def test_values_of_another_network_are_refused():
    with pytest.raises(am.ValueProblem, match=r"features of shape \(rows, columns, 1280\), got .*16"):
        Imagebind().accept(np.zeros((4, 4, 16), np.float32))


def test_sampling_is_slow_only_where_the_picture_has_to_be_invented():
    grounded, free = Imagebind().sampling(True), Imagebind().sampling(False)
    assert (grounded.steps, free.steps) == (1, 8)
    assert (str(free.scheme), free.temperature, str(free.guidance)) == ("roar", 0.01, "2")
