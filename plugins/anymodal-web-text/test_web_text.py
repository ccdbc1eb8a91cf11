from pathlib import Path

from anymodal_web_text import WebText

from anymodal.testing import conformance

test_conformance = conformance("web_text")


def test_text_is_taken_as_it_is(tmp_path: Path) -> None:
    text = WebText()
    text.write("Some words.", tmp_path / "a.txt")
    assert text.read(tmp_path / "a.txt") == text.parse(text.spell("Some words.")) == "Some words."
