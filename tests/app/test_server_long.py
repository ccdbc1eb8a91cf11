"""The app's server over many runs, and with an index of photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_served import picture_of, picture_url, served

from anymodal.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

MEGABYTES = 12  # that 150 runs may add; with the state of every session, which Gradio keeps, they add 26


def resident(process) -> float:
    """Megabytes of memory of a process."""
    (line,) = [each for each in Path(f"/proc/{process}/status").read_text().splitlines() if "VmRSS" in each]
    return int(line.split()[1]) / 1024


def test_memory_is_steady_over_two_hundred_runs(checkpoint):
    asked = {"targets": ["depth", "semseg", "caption"], "options": {"depth": {"steps": 2}, "semseg": {"steps": 2}}}
    seen = []
    with served(checkpoint) as app:
        for run in range(200):
            photo = {"data": picture_url(200, seed=run), "name": "photo.png"}
            assert app.ask(inputs={"rgb": photo}, seed=run, **asked)[-1]["event"] == "done"
            seen.append(resident(app.process.pid))
        size = sum(path.stat().st_size for path in app.folder.rglob("*") if path.is_file())
    assert seen[-1] - seen[49] < MEGABYTES, seen[::10]
    assert size < 256 * 1024**2


def test_an_index_is_asked_and_shows_its_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in ("samples copy data/rgb", "retrieve index data --by dinov2_global --out index"):
        with pytest.raises(SystemExit) as ended:
            main(words.split())
        assert ended.value.code == 0
    with served(Path("tiny"), index=tmp_path / "index") as app:
        facts = app.client.get("about").json()
        assert facts["can"]["search"] and facts["fn"]["search"] == 1
        photo = {"data": picture_url(64), "name": "photo.png"}
        session, _ = app.join({"inputs": {"rgb": photo}, "count": 3}, "search")
        (last,) = [each for each in app.listen(session) if each["msg"] == "process_completed"]
        results = last["output"]["data"][0]["results"]
        assert len(results) == 3 and results[0]["score"] >= results[1]["score"] >= results[2]["score"]
        assert picture_of(results[0]["picture"]).shape == (256, 256, 3)
        session, _ = app.join({"inputs": {"rgb": photo}, "count": 0}, "search")
        (last,) = [each for each in app.listen(session) if each["msg"] == "process_completed"]
        assert "count is a whole number" in last["output"]["data"][0]["error"]
