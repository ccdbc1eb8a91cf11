"""Changed files and killed commands: a short slice of `make fuzz`, what it found, and that it would find a fault."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import attrs
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save
from small_runs import ALONE

import anymodal as am
from anymodal.config import parse_yaml, read_config
from anymodal.errors import ConfigError
from anymodal.families.pictures import colors_of
from fuzz import report, worker
from fuzz.damage import BY_ENDING, damaged
from fuzz.plain import NotPlain, read_png
from fuzz.rewrite import rewritten
from fuzz.subjects import Subject, digest

ROOT = Path(__file__).parents[2]


@attrs.frozen(eq=False)
class Held:
    """A value with an array, as instances and people are."""

    numbers: np.ndarray


@pytest.mark.slow
def test_a_slice_of_the_campaign_finds_no_fault(tmp_path):
    options = {"count": 2000, "seconds": 300, "jobs": 1, "seed": 7, "kills": 46, "out": tmp_path}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    done = subprocess.run([sys.executable, "tests/fuzz", *words], cwd=ROOT, env=ALONE, capture_output=True, text=True)
    known = json.loads((tmp_path / "results.json").read_text())
    assert done.returncode == 0, [known["reading"]["faults"], known["kills"]["details"]]
    assert known["reading"]["next"] > 100 and sum(each["in time"] for each in known["kills"]["kinds"].values()) > 20


class TestFaultsAreSeen:
    """Readers with a fault of each kind."""

    @staticmethod
    def kinds(read, files=None, plain=None, count=40):
        files = files or {"a.json": b'{"a": [1, 2, 3], "b": "text"}'}
        reader = worker.Reader(0, [Subject("x", "y", files, tuple(files), read, plain=plain)])
        return {reader.outcome(number).kind for number in range(count)}

    def test_another_exception(self):
        assert "other exception" in self.kinds(lambda folder: json.loads((folder / "a.json").read_bytes()))

    def test_a_clean_error_and_a_value(self):
        def read(folder):
            try:
                return repr(json.loads((folder / "a.json").read_text("utf-8-sig")))
            except (ValueError, RecursionError):
                raise am.DataError("no JSON") from None

        assert self.kinds(read) == {"clean error", "read"}

    def test_the_same_in_another_spelling_is_another_value(self):
        assert "another value" in self.kinds(lambda folder: (folder / "a.json").read_bytes())

    def test_another_value_than_an_independent_reader_has(self):
        assert "another value" in self.kinds(lambda folder: 1, plain=lambda data: 2)

    def test_a_hang(self, monkeypatch):
        monkeypatch.setattr(worker, "SECONDS", 0.05)

        def read(folder):
            end = time.process_time() + 2
            while time.process_time() < end:
                pass

        assert self.kinds(read, count=1) == {"hang"}

    def test_memory(self, monkeypatch):
        monkeypatch.setattr(worker, "MEMORY", 2**25)
        # Much, as the process may reuse or let go of what earlier tests held in the same moment.
        assert self.kinds(lambda folder: len(np.ones(2**29, np.uint8)), count=1) == {"memory"}

        def swallowed(folder):
            try:
                raise MemoryError
            except MemoryError as error:
                raise am.DataError("cannot be read") from error

        assert "memory" in self.kinds(swallowed, count=1)


def test_what_is_compared_tells_values_apart():
    long = np.arange(3000.0)
    other = np.where(long == 1500, 0, long)
    for left, right in (
        ([1, 23], [12, 3]),
        (["a", "b"], ["a'b"]),
        ({"a": {"b": 1}, "c": 2}, {"a": {}, "b": 1, "c": 2}),
        ({"a": []}, {"a": ()[:0], "b": []}),
        (Held(long), Held(other)),
    ):
        assert digest(left) != digest(right)
    assert digest({"a": [1, (2,), Held(long)]}) == digest({"a": (1, [2], Held(long.copy()))})


def test_inputs_are_a_function_of_seed_and_number():
    subject = Subject("x", "y", {"a.json": b"[1, 2, 3]"}, ("a.json",), lambda folder: None)
    first, second = (worker.Reader(3, [subject]).input(9)[2] for _ in range(2))
    assert first == second != worker.Reader(4, [subject]).input(9)[2]


def test_changes_take_whatever_lies_in_a_file():
    """No change fails, also on what other changes have left."""
    for ending in BY_ENDING:
        for seed in range(60):
            rng = random.Random(seed)
            data = (
                b'{"a": 1e999, "b": [1%s, "x"], "c": {}}' % (b"0" * 400)
                if seed % 2
                else rng.randbytes(rng.randrange(200))
            )
            assert isinstance(damaged(f"a{ending}", data, rng), bytes)


@pytest.mark.parametrize(
    ("ending", "data"),
    [
        (".json", json.dumps({"a": ["b", {"c": 1.5}]}).encode()),
        (".safetensors", save({"a": np.zeros(3), "b": np.ones((2, 2))})),
        (".parquet", b"PAR1" + b"x" * 40 + b"foot" + (4).to_bytes(4, "little") + b"PAR1"),
    ],
)
def test_changes_take_what_other_changes_have_left(ending, data):
    for seed in range(2000):
        rng, changed = random.Random(seed), data
        for _ in range(4):
            changed = damaged(f"a{ending}", changed, rng)


def test_the_plain_reader_of_png_reads_what_pillow_writes():
    array = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    assert np.array_equal(read_png(file.getvalue()), array)
    assert np.array_equal(read_png(rewritten("a.png", file.getvalue(), random.Random(1))), array)
    with pytest.raises(NotPlain):
        read_png(file.getvalue()[:-20])


def test_the_table_is_put_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results of make fuzz -->\nold\n<!-- end -->\nafter\n")
    row = {"in time": 2, "same result": 1, "faults": 1}
    known = {
        "date": "2026-01-01",
        "version": "1",
        "reading": {"seed": 0, "groups": {"tars": {"read": 3, "hang": 1}}},
        "kills": {"seed": 0, "commands": {"train": row}, "kinds": {"SIGKILL": row}},
    }
    report.renew(page, known)
    text = page.read_text()
    assert "| tars | 0 | 3 | 0 | 1 |" in text and "| train | 2 | 0 | 1 | 0 | 0 | 0 | 1 |" in text and "old" not in text
    assert "| SIGKILL | 2 | 0 | 1 | 0 | 0 | 0 | 1 |" in text and "2 interruptions of seed 0" in text
    assert text.startswith("before\n") and text.endswith("<!-- end -->\nafter\n") and report.faults(known) == 2


# What the campaign found.


@pytest.mark.parametrize(
    "text",
    [
        '"\\uD83D\\uDE00"',
        '"\\uD800": 1',
        "[&a '\\', \"\\uDFFF\"]",
        '!!timestamp "x"',
        '!!float ""',
        "!!bool x",
        "!!map [a]",
    ],
)
def test_what_only_looks_like_yaml_is_one_clean_error(text):
    with pytest.raises(ConfigError):
        parse_yaml(text)
    assert parse_yaml("[é, 2001-01-01, !!set {a}]")[0] == "é"


def test_a_base_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text('base: "\\uD83D\\uDE00"')
    with pytest.raises(ConfigError, match=r"a\.yaml is not YAML"):
        read_config(path)


def test_a_base_that_can_be_no_path_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text('base: "a\\0b"')
    with pytest.raises(ConfigError, match=r"a\.yaml: 'base' must be the path of another file"):
        read_config(path)


def test_a_color_profile_that_is_none_is_passed_over():
    picture = Image.new("RGB", (4, 3), (1, 2, 3))
    picture.info["icc_profile"] = 7  # as Pillow gives a tag of another type
    assert colors_of(picture, True).tolist() == [[[1, 2, 3]] * 4] * 3


def test_depths_near_the_end_of_float32_give_finite_tensors():
    value = np.full((16, 16), 0.25, np.float32)
    value[0, 0] = 3e38
    depth = am.registry().modality("depth")(size=8, patch=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(depth.preprocess(value)).all()


@pytest.mark.parametrize("scaling", ["standardize", "log"])
def test_holes_beside_depths_near_the_end_of_float32_are_filled_with_finite_ones(scaling):
    low = {"low": 0.1} if scaling == "log" else {}
    depth = am.registry().modality("depth")(size=8, patch=4, scaling=scaling, **low)
    value = np.full((8, 8), 1e38, np.float32)
    value[2:4, 3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(depth.preprocess(value)).all()
