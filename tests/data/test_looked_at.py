"""`anymodal data check` sees what a person would see, and draws it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from aligned_layouts import as_folder, as_tars, npy, picture, samples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_runs import command

import anymodal as am
from anymodal.data.check import check_dataset
from anymodal.data.files.alignment import misaligned
from anymodal.data.files.values import open_values
from anymodal.data.jobs.tokenize import tokenize_dataset

MODALITIES = {name: am.registry().modality(name) for name in ("rgb", "depth", "semseg", "caption")}


def found(root) -> dict[tuple[str, str], int]:
    return {(each.part, each.kind): each.count for each in check_dataset(root).problems}


@given(width=st.integers(40, 900), height=st.integers(40, 900), shrink=st.floats(1, 8))
def test_another_resolution_of_the_same_picture_fits(width, height, shrink):
    small = float(max(1, round(width / shrink))), float(max(1, round(height / shrink)))
    assert misaligned({"depth": small, "rgb": (float(width), float(height)), "caption": None}, MODALITIES) is None


@pytest.mark.parametrize(("other", "words"), [((400.0, 200.0), "turned by 90"), ((200.0, 300.0), "200 x 300 beside")])
def test_another_shape_is_named(other, words):
    part, what = misaligned({"caption": None, "semseg": other, "rgb": (200.0, 400.0)}, MODALITIES)
    assert part == "semseg" and words in what


def turned(root):
    """Five samples, of which one depth map lies across and one has another shape."""
    files = samples(5)
    files["depth"]["0001.npy"] = npy(np.full((40, 32), 0.2, np.float32))
    files["depth"]["0003.npy"] = npy(np.full((32, 80), 0.2, np.float32))
    return as_folder(root, files)


def test_parts_of_other_shapes_are_problems_of_the_dataset(tmp_path):
    assert found(turned(tmp_path)) == {("depth", "turned"): 1, ("depth", "another shape"): 1}


def test_no_part_is_cut_to_a_square_of_its_own(tmp_path, vocabulary):
    root = turned(tmp_path / "data")
    rgb, depth = (am.registry().modality(name)(size=32, patch=8) for name in ("rgb", "depth"))
    source = open_values(root, [rgb, depth])
    assert source.read(0)["depth"].shape == (32, 32)
    with pytest.raises(am.ValueProblem, match="do not show the same picture"):
        source.read(1)


def test_a_part_of_another_shape_is_left_out_of_tokens(tmp_path, vocabulary):
    from conftest import build_set

    root, modalities = turned(tmp_path / "data"), build_set(["rgb", "depth"], vocabulary)
    made = tokenize_dataset(root, lambda: modalities, tmp_path / "out", max_bad=0.5)
    assert made.problems == 2
    lines = [json.loads(line) for line in (tmp_path / "out/problems.jsonl").read_text().splitlines()]
    assert [(line["sample"], line["modality"]) for line in lines] == [("0001", "depth"), ("0003", "depth")]


def test_holes_constants_and_repetitions_are_said(tmp_path):
    files = samples(4)
    files["caption"] = {f"{k:04d}.txt": b"A red  cup" if k else b"a red cup" for k in range(4)}
    ids = np.full((32, 40), 3, np.uint8)
    ids[:16] = 255
    files["semseg"] = {f"{k:04d}.npy": npy(ids if k else np.full_like(ids, 255)) for k in range(4)}
    report = check_dataset(as_folder(tmp_path, files))
    notes = "; ".join(report.notes)
    assert "62.5% of semseg is unknown; 1 of 4 hold nothing else" in notes
    assert "4 of depth are the same everywhere" in notes and "1 of semseg are the same everywhere" in notes
    assert "3 of 4 caption repeat another" in notes and not len(report.problems)


def test_ids_that_nobody_named_and_boxes_outside_are_problems(tmp_path):
    files = samples(2)
    files["semseg"] = {f"{k:04d}.npy": npy(np.full((32, 40), 3 + 240 * k, np.uint8)) for k in range(2)}
    box = {"boxes": [0.1, 0.1, 1.5, 0.9], "class_name": "car", "score": 1.0}
    files["det"] = {"0000.json": json.dumps({"instances": [box]}).encode()}
    assert found(as_folder(tmp_path, files)) == {("semseg", "not readable"): 1, ("det", "not readable"): 1}


def test_ranges_are_shown_and_pictures_for_people_are_no_data(tmp_path, capsys):
    files = samples(3)
    metric = am.registry().modality("depth")(low=0.4, high=80.0, scaling="log")
    metric.write(np.full((32, 40), 3.03, np.float32), tmp_path / "depth.png")
    files["depth"] = {f"{k:04d}.png": (tmp_path / "depth.png").read_bytes() for k in range(3)}
    files["depth"]["0000.view.png"] = picture(1)
    for layout in (as_folder, as_tars):
        root = layout(tmp_path / layout.__name__, files)
        assert command("data", "check", root) == 0
        said = capsys.readouterr().out
        assert "depth\t3\t3.03 to 3.03" in said and "rgb\t3\t0 to 40" in said and "caption\t3\t\n" in said
        assert check_dataset(root).as_json(root)["ranges"]["rgb"] == {"unit": "", "low": 0.0, "high": 40.0}


def test_a_sheet_shows_parts_over_the_picture(tmp_path, capsys):
    files = samples(9)
    files["rgb"] = {f"{k:04d}.png": picture(12) for k in range(9)}
    files["depth"]["0000.npy"] = npy(np.full((40, 32), 0.2, np.float32))
    root, sheet = as_folder(tmp_path / "data", files), tmp_path / "sheet.png"
    command("data", "check", root, "--sheet", sheet)
    assert str(sheet) in "".join(capsys.readouterr())
    drawn = np.asarray(Image.open(sheet).convert("RGB")).astype(int)
    assert drawn.shape[0] > 6 * 192 and drawn.shape[1] > 3 * 192
    assert not list(tmp_path.glob(".sheet*"))


def test_a_sheet_of_tokens_is_refused(tmp_path, vocabulary, capsys):
    from conftest import build_set

    modalities = build_set(["rgb"], vocabulary)
    tokenize_dataset(as_folder(tmp_path / "data", samples(2)), lambda: modalities, tmp_path / "tokens")
    assert command("data", "check", tmp_path / "tokens", "--sheet", tmp_path / "sheet.png") == 2
    assert "no values to draw" in capsys.readouterr().err
