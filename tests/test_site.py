"""The pages that are written whole: the gallery of modalities, the families, the house; two builders take them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from generate import configuration, navigation
from generated import families, gallery, house
from generated.exhibits import exhibits
from generated.tables import table
from known_model import SIDE
from pages import ROOT, blocks, run_steps, steps_of
from PIL import Image
from test_imports import ORDER

import anymodal as am
from anymodal.plugins.registry import Registry, use
from benchmarks import samplers
from benchmarks.claims import page as claims
from benchmarks.harness import report


class Warmth(am.ImageModality):
    """Long-wave infrared, kelvin."""

    channels, low, high, unit = 1, 233.0, 393.0, "K"


class Odd(am.Modality):
    """A number, of no family."""

    def streams(self):
        return (am.Stream(self.name, self.name, am.TokenSpace(16, 1)),)

    def examples(self, rng):
        return {"three": 3}

    def show(self, value, size=256):
        return Image.new("RGB", (size, size // 2))


@pytest.fixture(scope="module")
def shown():
    """What the gallery shows of some modalities, one of them of a stranger, and the model that it asks."""
    with use(Registry()) as registry:
        registry.add(Warmth)
        registry.add(Odd)
        model = am.load("tiny", modalities=["rgb", "depth", "semseg", "canny_edge", "det"], device="cpu")
        names = ["rgb", "depth", "semseg", "canny_edge", "det", "t5_caption", "warmth", "odd"]
        made = list(exhibits(model, names, {"coffee": am.sample("coffee")}))
        pages = {each.modality.name: gallery.page(each, {"value": each.origin}, model) for each in made}
    return {each.modality.name: each for each in made}, pages


def section(page: str, title: str) -> str:
    found = re.search(rf"^## {title}\n\n(.+?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def test_a_page_says_all_there_is_to_say_of_a_modality(shown):
    page = shown[1]["depth"]
    assert page.startswith("# depth\n\nDepth along the optical axis.\n")
    assert f"float32 array of shape ({SIDE}, {SIDE})" in section(page, "Value") and " m |" in section(page, "Value")
    assert "families/ImageModality.md" in section(page, "Value")
    (ids,) = re.findall(r"```text\n(.+?)```", section(page, "Tokens"), re.DOTALL)
    assert len(ids.split()) == 256 and max(map(int, ids.split())) < 1024
    assert "1024 ids | 16 × 16 | any | input and target" in section(page, "Tokens")
    assert "8192 ids | 14 × 14" in section(page, "Tokens")
    assert "size 1024" in section(page, "Tokenizer") and "parameters" in section(page, "Tokenizer")
    assert "| abs_rel | 0." in section(page, "Metrics") and "8 held-out scenes" in section(page, "Metrics")
    assert "`.npy`" in section(page, "Files")
    assert "Intel/zoedepth" in section(page, "Labelers")
    assert "scheme='roar'" in section(page, "Generation")
    assert "pip install anymodal-depth" in section(page, "Install")


def test_tokens_of_a_sequence_are_told_as_words(shown):
    (words,) = re.findall(r"```text\n(.+?)```", section(shown[1]["det"], "Tokens"), re.DOTALL)
    assert words.startswith("v0=") and words.endswith("[EOS]:3\n")
    assert "shared with every sequence" in section(shown[1]["det"], "Tokens")


def test_only_inputs_have_no_tokens_and_generate_nothing(shown):
    assert not shown[0]["t5_caption"].tokens
    assert "Only ever an input" in section(shown[1]["t5_caption"], "Generation")


def test_a_modality_of_a_stranger_gets_a_page_too(shown):
    warmth, page = shown[0]["warmth"], shown[1]["warmth"]
    assert not warmth.known and warmth.restored is None
    assert "an example value" in page and " K |" in section(page, "Value")
    assert "families/ImageModality.md" in page
    assert "api.md#anymodal.Modality" in section(shown[1]["odd"], "Value")


def test_pictures_of_truth_tokens_and_model_differ_and_fit(shown):
    parts = gallery.drawn(shown[0]["depth"])
    assert set(parts) == {"value", "restored", "made"}
    assert len({picture.tobytes() for _, picture in parts.values()}) == 3
    assert all(max(picture.size) <= gallery.SIDE for _, picture in parts.values())
    assert max(gallery.drawn(shown[0]["odd"])["value"][1].size) <= gallery.SIDE


def test_photographs_are_shown_where_the_value_is_exact(shown):
    having = {name for name, each in shown[0].items() if each.photographs}
    assert having == {"rgb", "canny_edge"}


def test_every_public_family_has_a_page_with_what_comes_with_it():
    for cls in families.family_classes():
        page = families.page(cls)
        assert f"::: anymodal.{cls.__name__}\n" in page
        assert section(page, "What comes with it").count("\n") > 5
    page = families.page(am.StructuredModality)
    assert "`spell`" in section(page, "Left to the plugin") and "gallery/det.md" in page
    assert "| score | The share of values that are spelled as the true ones. |" in page
    assert "am.image(" in section(families.page(am.ImageModality), "Example")


def test_the_drawn_house_is_the_one_that_the_test_of_imports_holds():
    drawn = re.findall(r'y="([\d.]+)" fill="currentColor" text-anchor="start">([a-z_]+)/?</text>', house.drawing())
    names = [name for name in ORDER if not name.startswith("__")]
    assert [name for _, name in drawn] == names
    heights = [float(y) for y, _ in drawn]
    assert heights == sorted(heights, reverse=True)
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`([a-z_]+)/?`", row)]
    assert told == names


def test_a_folder_in_the_navigation_stands_for_its_pages(tmp_path):
    (tmp_path / "zoo").mkdir()
    for name in ("index", "cat", "ape"):
        (tmp_path / "zoo" / f"{name}.md").write_text("")
    entries = navigation([{"Beasts": "zoo/"}, {"More": [{"One": "one.md"}]}], tmp_path)
    assert entries[0] == {"Beasts": ["zoo/index.md", {"ape": "zoo/ape.md"}, {"cat": "zoo/cat.md"}]}
    assert entries[1] == {"More": [{"One": "one.md"}]}
    assert configuration(tmp_path)["docs_dir"] == "pages"


def test_tables_of_measurements_are_those_of_their_files(tmp_path, monkeypatch):
    results = ROOT / "benchmarks" / "results"
    files = {path: json.loads(path.read_text()) for path in results.glob("*.json")}
    runs = {path: result for path, result in files.items() if "machine" in result}
    assert {path.stem for path in runs} >= {"quick", "against", "refresh"}
    for path, result in runs.items():
        assert path.with_suffix(".md").read_text() == report.page(result), "--json and --table write both from one run"
    kept = json.loads((results / "samplers.json").read_text())
    count = int(kept["of"].rpartition(", ")[2].removesuffix(" scenes"))
    assert (results / "samplers.md").read_text() == samplers.table(kept["rows"], count)
    docs = shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("browser", "generated"))
    monkeypatch.setattr(claims, "DOCS", docs)
    monkeypatch.setattr(claims, "PAGE", docs / "reference" / "claims.md")
    claims.write_page()
    for page in docs.rglob("*.md"):
        was, now = (
            re.sub(r"Written on \S+", "", each.read_text()) for each in (ROOT / "docs" / page.relative_to(docs), page)
        )
        assert was == now, "python -m benchmarks.claims --page writes the pages anew"


def test_bars_in_cells_are_borders_of_none():
    made = table(["a", "b"], [["one|two", "`three|four`"]])
    assert made.splitlines()[-1] == "| one\\|two | `three|four` |"


@pytest.mark.slow
def test_both_builders_take_the_whole_site_and_its_code_runs(tmp_path):
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--out", tmp_path], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "pages" / "gallery"
    for name in am.modalities():
        assert (folder / f"{name}.md").exists()
        assert (folder / f"{name}-value.webp").stat().st_size < 60_000
    config = tmp_path / "mkdocs.yml"
    assert yaml.safe_load(config.read_text())["strict"]
    for command in (["mkdocs", "build", "--site-dir", tmp_path / "site"], ["zensical", "build"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "--strict", "--config-file", config], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr + done.stdout
    for page in [*folder.glob("*.md"), *(tmp_path / "pages" / "families").glob("*.md")]:
        if any(block.runs and block.language == "python" for block in blocks(page)):
            run_steps(
                ROOT / "docs" / page.relative_to(tmp_path / "pages"), steps_of(page, ("python",)), tmp_path, None, {}
            )
