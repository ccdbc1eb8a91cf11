"""Signals: shapes, lengths, channels, files, scores and plots; and the plugin of the tutorial."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.config import structure
from anymodal.errors import ConfigError, PluginError, ValueProblem
from anymodal.testing import check
from anymodal.testing.tiny import tiny_model
from anymodal.tokenizers.config import plain_config
from anymodal.training.tokenizers.estimate import plan_tokenizer
from anymodal.training.tokenizers.recipe import TokenizerRun

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "anymodal-spectrogram"
SOUND = am.signal("sound", shape=(64,), cell=(8,), rate=16.0)
BANDS = am.signal("bands", shape=(6, 20), cell=(3, 5), low=-80, high=0, unit="dB", silence=-80.0)
STEREO = am.signal("stereo", channels=2, shape=(32,), cell=(8,))
TRAINING = {"steps": 1, "batch_size": 1, "lr": 1e-3}
STRIPES = am.signal("stripes", channels=3, shape=(4, 8), cell=(2, 4))
EACH = (SOUND, BANDS, STEREO, STRIPES)


@pytest.fixture(scope="module")
def model():
    return tiny_model(EACH)


@settings(max_examples=30)
@given(st.sampled_from(EACH), st.integers(0, 9))
def test_tensors_hold_the_signal_cell_by_cell_and_give_it_back(cls, seed):
    modality = cls()
    shape = modality.shape + ((cls.channels,) if cls.channels > 1 else ())
    value = np.random.default_rng(seed).uniform(modality.low, modality.high, shape).astype(np.float32)
    tensor = modality.preprocess(value)
    assert tensor.shape == (np.prod(modality.cell) * cls.channels, *modality.grid)
    assert np.allclose(modality.postprocess(tensor), value, atol=1e-4 * (modality.high - modality.low))
    first = value[tuple(slice(n) for n in modality.cell)]  # the first cell is the first column of the tensor
    own = 2 * (first - modality.low) / (modality.high - modality.low) - 1
    assert np.allclose(np.sort(tensor[:, 0, 0]), np.sort(own.ravel()), atol=1e-4)


def test_streams_are_a_line_or_a_grid_of_cells():
    assert (SOUND().streams()[0].space.length, SOUND().streams()[0].space.shape) == (8, None)
    assert BANDS().streams()[0].space.shape == (2, 4)


def test_longer_signals_lose_their_end_and_shorter_ones_end_in_silence():
    value = np.arange(100, dtype=np.float32) / 100
    assert np.array_equal(SOUND().at_shape(value)[:, 0], value[:64])
    assert np.array_equal(SOUND().at_shape(value[:10])[:, 0], [*value[:10], *[0] * 54])
    short = np.full((6, 7), -20, np.float32)
    assert (BANDS().at_shape(short)[:, 7:] == -80).all()
    assert (am.signal("kelvin", shape=(8,), cell=(8,), low=200, high=300)().at_shape([250.0])[1:] == 200).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_becomes_silence(bad):
    value = np.full((6, 20), -20, np.float32)
    value[2, 3] = bad
    assert BANDS().at_shape(value)[2, 3, 0] == -80 and np.isfinite(BANDS().preprocess(value)).all()


@pytest.mark.parametrize(
    ("cls", "shape"),
    [(SOUND, (0,)), (SOUND, (64, 2)), (SOUND, ()), (BANDS, (5, 20)), (BANDS, (6, 0)), (STEREO, (9,)), (STEREO, (2, 9))],
)
def test_other_shapes_are_refused_by_name(cls, shape):
    with pytest.raises(ValueProblem, match=f"{cls.name} takes a signal of shape"):
        cls().accept(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"shape": (65,)}, "does not split into cells"),
        ({"shape": (8, 8)}, "does not split into cells"),
        ({"shape": (2**25,), "cell": (1,)}, "at most 16777216"),
        ({"shape": (8, 8, 8), "cell": (1, 1, 1)}, "one or two whole numbers"),
        ({"shape": (0,), "cell": (1,)}, "one or two whole numbers"),
        ({"shape": (8.5,), "cell": (1,)}, "one or two whole numbers"),
        ({"shape": 8}, "expected a list"),
        ({"rate": 0.0}, "rate above 0"),
        ({"low": 1.0}, "low must be below high"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        am.signal("odd", **{"cell": (8,), "shape": (64,), **settings})


def test_files_hold_natural_numbers(tmp_path):
    value = np.linspace(-1, 1, 50).astype(np.float32)
    SOUND().write(value, tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), value)
    assert np.array_equal(SOUND().read(tmp_path / "a.npy"), value)


def test_a_file_at_another_rate_is_refused_as_a_wav_file_is(tmp_path):
    """The file says so, and its tones would be others."""
    value = np.linspace(-1, 1, 50).astype(np.float32)
    SOUND(rate=8.0).write(value, tmp_path / "a.npy")
    with pytest.raises(ValueProblem, match=r"a\.npy: it has 8 samples a second, and sound 16; resample it"):
        SOUND().accept(tmp_path / "a.npy")
    assert np.array_equal(SOUND(rate=8.0, shape=(128,), cell=(16,)).accept(tmp_path / "a.npy"), value)
    np.save(tmp_path / "b.npy", value)  # which says nothing
    assert np.array_equal(SOUND().accept(tmp_path / "b.npy"), value)


def test_samples_of_sound_as_files_have_them_are_no_natural_values():
    samples = np.array([0, 20000, -32768], np.int16)
    with pytest.raises(
        ValueProblem, match=r"from -1 to 1, got whole numbers from -32768 to 20000; .* value / 32768 for"
    ):
        SOUND().accept(samples)
    assert SOUND().accept(samples / 32768)[2] == -1 and SOUND().accept(np.array([0, 1, -1])).dtype == np.float32
    assert BANDS().accept(np.full((6, 20), -80)).min() == -80


def test_scores_are_over_the_time_that_both_have():
    value = np.zeros(100, np.float32)
    longer = np.concatenate([value + 0.5, np.full(30, 9, np.float32)])
    assert SOUND().score([longer], [value]) == {"mae": 0.5, "psnr": pytest.approx(-10 * np.log10(0.25 / 4))}
    holes = np.full((6, 20), np.nan, np.float32)
    assert BANDS().score([np.zeros((6, 20))], [holes])["mae"] == 0


def test_a_plot_shows_a_line_or_rows_with_the_first_one_lowest():
    rows = np.full((6, 20), -80, np.float32)
    rows[0] = 0
    picture = np.asarray(BANDS().show(rows, 128)).astype(int).sum(2)
    assert picture[110, 64] > picture[30, 64] + 300
    flat, loud = (np.asarray(SOUND().show(np.full(64, level, np.float32), 128)) for level in (0.0, 0.9))
    assert (flat != loud).any() and SOUND().show(np.zeros(1, np.float32), 64).size == (64, 64)


def test_signals_are_generated_from_each_other(model):
    out = model.generate({"sound": np.zeros(500)}, ["bands", "stereo"], seed=0)
    bands, stereo = (model.modalities[name] for name in ("bands", "stereo"))
    assert out["bands"].shape == bands.shape and out["stereo"].shape == (*stereo.shape, 2)
    assert bands.low <= out["bands"].min() <= out["bands"].max() <= bands.high


def test_a_long_line_keeps_a_small_table_of_positions():
    long = am.signal("long", shape=(2**18,), cell=(64,))()
    assert plain_config(long, width=32).image_size == 128


def test_a_dry_run_counts_the_cells_of_a_signal(registry):
    registry.add(BANDS)
    part = {"dim": 16, "depth": 1, "heads": 2}
    run = {"modality": "bands", "data": "data", "encoder": part, "decoder": part, "training": TRAINING}
    assert plan_tokenizer(structure(run, TokenizerRun, "here")).tokens == 8


def test_no_setting_is_taken_over_by_what_it_is_derived_from():
    with pytest.raises(PluginError, match="has no setting 'size'"):
        am.signal("sound", size=3)


# The plugin of the tutorial.


def test_the_plugin_of_the_tutorial_is_the_example_and_short():
    code = (EXAMPLE / "anymodal_spectrogram.py").read_text()
    assert len(code.splitlines()) <= 40
    assert code in (ROOT / "docs" / "tutorial" / "waveform-to-spectrogram.md").read_text()


@pytest.mark.slow
def test_the_plugin_of_the_tutorial_keeps_every_rule(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    results = check(str(EXAMPLE))
    sys.modules.pop("anymodal_spectrogram", None)
    assert {r.modality for r in results} == {"waveform", "spectrogram"}
    assert not [str(r) for r in results if r.status in ("failed", "warned")]
