"""Settings that would ask for more memory than any machine has are refused by their names, whichever they are."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_runs import command

import anymodal as am
from anymodal.errors import AnymodalError, ConfigError
from anymodal.families.grids import MOST_NUMBERS, MOST_PIXELS
from anymodal.text import Vocabulary
from anymodal.tokenizers.quantizers.config import CosineConfig


def whole_settings():
    for name in am.modalities():
        cls = am.registry().modality(name)
        for key in cls.settings:
            default = getattr(cls, key)
            if type(default) is int or key == "larger":
                yield name, key


huge = st.one_of(st.integers(2**16, 2**40), st.sampled_from([10**k for k in (5, 6, 9, 18, 30, 308, 400, 5000)]))


@pytest.mark.parametrize(("name", "key"), list(whole_settings()))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(huge)
@example(10**9)
def test_a_huge_number_is_refused_by_its_name_or_needs_no_memory(name, key, number):
    cls = am.registry().modality(name)
    try:
        made = cls(**{key: [number] if key == "larger" else number})
    except ConfigError as error:
        assert key in str(error) or "pixels a side" in str(error)
        assert len(str(error)) < 200
        return
    assert number <= 2**24
    for stream in made.streams():
        assert stream.space.length <= 2**24
        assert getattr(stream.space, "width", getattr(stream.space, "size", 0)) <= 2**28
    if max(made.sizes, default=0):
        assert made.cells**2 * made.channels <= MOST_NUMBERS


def test_many_channels_make_a_large_size_too_large():
    with pytest.raises(ConfigError, match="16384 x 16384 x 6 numbers"):
        am.image("planet", channels=6, size=MOST_PIXELS)


def test_a_class_states_limits_of_its_own_beside_those_of_its_family():
    class Small(am.ImageModality):
        limits = {"size": 64, "codebook": (2, 1024)}

    assert Small(size=64).size == 64
    with pytest.raises(ConfigError, match="'size' of 'small': expected at most 64, got 80"):
        Small(size=80)
    with pytest.raises(ConfigError, match="'codebooks' of 'small': expected at most 1024"):
        Small(codebooks=2000)
    assert Small(codebook=2).codebook == 2
    for wrong, says in ((1, "at least 2, got 1"), (1025, "at most 1024, got 1025")):
        with pytest.raises(ConfigError, match=f"'codebook' of 'small': expected {says}"):
            Small(codebook=wrong)


@pytest.mark.parametrize("numbers", [{"size": 2**24, "latent": 2**24}, {"size": 10**400, "latent": 1}])
def test_tables_of_codes_are_bounded(numbers):
    with pytest.raises(ConfigError, match="CosineConfig"):
        CosineConfig(**numbers)


@pytest.mark.parametrize("numbers", [{"bins": 10**9}, {"sentinels": 10**9}, {"bins": (1, 1, 1, 10**9)}])
def test_a_vocabulary_is_refused_before_its_words_are_made(numbers):
    with pytest.raises(AnymodalError, match="no room for"):
        Vocabulary.train(["a dog"], **numbers)


CONFIG = """
data: DATA
modality: normal
settings: {size: SIZE, patch: 8, codebook: 16, latent: 4}
encoder: {dim: 8, depth: 1, heads: 1}
decoder: {dim: 8, depth: 1, heads: 1}
training: {steps: 1, batch_size: 1, lr: 1.0e-3}
"""


def test_a_configuration_ends_in_one_sentence(tmp_path, capsys):
    path = tmp_path / "normal.yaml"
    path.write_text(CONFIG.replace("SIZE", str(10**9)).replace("DATA", str(tmp_path)))
    assert command("train-tokenizer", path, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "'size' of 'normal': expected at most 16384, got 1000000000" in said
    assert not (tmp_path / "out").exists()
