"""What the site holds for programs: llms.txt, llms-full.txt and the directory of plugins."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from generate import configuration
from generated import plugin_directory, site_files

from anymodal.plugins import published as directory
from anymodal.plugins.described import Described
from anymodal.plugins.published import published
from anymodal.testing import definition

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of pages with these files, from pages whose generated parts are left out."""
    out = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, out / "pages", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (out / "mkdocs.yml").write_text(yaml.safe_dump(configuration(out / "pages")))
    site_files.write(out)
    return out / "pages"


def test_llms_txt_has_the_form_and_links_to_every_page(site):
    text = (site / "llms.txt").read_text()
    assert re.match(r"# anymodal\n\n> \S.+\.\n\n", text)
    links = re.findall(rf"^- \[[^]]+\]\({site_files.ADDRESS}(\S*)\)", text, re.MULTILINE)
    assert links.pop() == "llms-full.txt" and (site / "llms-full.txt").is_file()
    assert all(any((DOCS / path).is_file() for path in (f"{link[:-1]}.md", f"{link}index.md")) for link in links)
    assert len(links) == len(set(links)) == len(list(DOCS.rglob("*.md")))
    assert len(text) < 12_000


def test_every_address_of_the_site_begins_with_that_of_its_configuration():
    assert configuration(DOCS)["site_url"] == site_files.ADDRESS == definition.PAGE.removesuffix("reference/rules/")
    assert f"{site_files.ADDRESS}plugins.json" == directory.ADDRESS


def test_llms_full_txt_holds_the_text_of_the_pages(site):
    text = (site / "llms-full.txt").read_text()
    for page in ("index.md", "how-to/publish-a-plugin.md"):
        assert (DOCS / page).read_text().splitlines()[0] in text
    assert "<!-- run -->" not in text and "hide: [toc]" not in text and len(text) < 400_000


def test_the_directory_is_what_the_search_reads(site):
    names = [plugin.name for plugin in published(str(site / "plugins.json"))]
    ours = [path.name for path in (DOCS.parent / "plugins").glob("anymodal-*/")]
    assert set(names) <= set(ours) and "anymodal-depth" in names
    facts = {each["name"]: each for each in json.loads((site / "plugins.json").read_text())["plugins"]}
    assert facts["anymodal-depth"]["provides"] == ["modality depth", "labeler depth"]


def test_names_are_sorted_and_alone(tmp_path):
    names = plugin_directory.names()
    assert names == sorted(names) and len(names) == len(set(names))
    (tmp_path / "names.txt").write_text("# who\nacme-thermal  # heat\n\nacme-x\n")
    assert plugin_directory.names(tmp_path / "names.txt") == ["acme-thermal", "acme-x"]


def test_what_a_plugin_says_of_itself_is_text(tmp_path):
    odd = Described("acme-x", "1", "<script>|[a](javascript:x) `b`", links={"Source": "https://x.org/a)<b>"})
    row = plugin_directory.markdown([odd]).splitlines()[-1]
    assert not re.search(r"[<`\[\]]|javascript:", row) and row.count("|") == 7


def test_a_name_that_no_index_has_is_listed_without_facts(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    (tmp_path / "names.txt").write_text("acme-nowhere\n")
    assert plugin_directory.listed(tmp_path / "names.txt")[-1] == Described("acme-nowhere")
