"""The plugin of ImageBind for whole pictures: space, values and score."""

import numpy as np
import pytest

import anymodal as am
from anymodal.testing import conformance

test_conformance = conformance("imagebind_global")

ImagebindGlobal = am.registry().modality("imagebind_global")


def test_space_and_published_tokenizer():
    (stream,) = ImagebindGlobal().streams()
    assert stream.space == am.TokenSpace(8192, 16, learned=True)
    assert ImagebindGlobal().channels == 1280
    assert ImagebindGlobal.repository == "EPFL-VILAB/4M_tokenizers_ImageBind-H14-global_8k_16_224"


def test_values_of_another_network_are_refused():
    with pytest.raises(am.ValueProblem, match=r"a vector of shape \(1280,\), got .*\(1, 1280\)"):
        ImagebindGlobal().accept(np.zeros((1, 1280), np.float32))


def test_the_score_is_the_cosine():
    modality = ImagebindGlobal()
    up, right = np.eye(1280, dtype=np.float32)[:2]
    assert modality.score([up, up], [3 * up, right]) == {"cosine": pytest.approx(0.5)}
