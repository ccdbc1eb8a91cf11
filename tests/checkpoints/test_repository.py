"""Models on the Hub, against a real server on loopback: what is downloaded, what is cached, and what goes wrong."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import huggingface_hub.constants as constants
import numpy as np
import pytest
from hub_server import TOKEN, LocalHub
from huggingface_hub import file_download
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars
from small_runs import command

import anymodal as am
from anymodal.checkpoints.repository import fetch
from anymodal.errors import CheckpointError

NAME = "me/small"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    with LocalHub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_URL_HOSTS", constants.HF_URL_HOSTS | {"127.0.0.1"})
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(file_download, "_DEFAULT_RETRY_ON_EXCEPTIONS", ())  # no waiting for a server that is gone
        disable_progress_bars()
        yield server
        enable_progress_bars()


@pytest.fixture
def filled(hub: LocalHub, checkpoint: Path) -> LocalHub:
    hub.add(NAME, checkpoint)
    return hub


def load(**options: object) -> am.AnyModel:
    return am.load(NAME, **{"cache_dir": constants.HF_HUB_CACHE, "modalities": ["rgb", "depth"], **options})


def weights(checkpoint: Path) -> str:
    return hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()


def test_only_the_files_of_the_wanted_modalities_are_fetched_and_only_once(filled, checkpoint):
    model = load()
    parts = {f"modalities/{name}/{file}" for name in ("depth", "rgb") for file in ("config.json", "model.safetensors")}
    assert set(filled.fetched("HEAD")) == {"config.json", "vocabulary.json", "model.safetensors", *parts}
    before = len(filled.requests)
    assert load().modalities.layout == model.modalities.layout
    assert [kind for kind, _, _ in filled.requests[before:]] == ["HEAD"]  # whether main has moved


def test_offline_the_cache_is_enough(filled, monkeypatch):
    load()
    load(modalities=["caption"])  # has no tokenizer, and that is known offline too
    filled.stop()
    assert "caption" in load(modalities=["caption"], local_files_only=True).modalities
    ours = load(local_files_only=True)
    assert "depth" in ours.modalities
    assert "depth" in load().modalities  # the server is gone, the cache is not
    with pytest.raises(CheckpointError, match=r"modalities/normal.* is not in the cache .*local_files_only forbids"):
        load(modalities=["normal"], local_files_only=True)


def test_nothing_cached_and_no_server(filled):
    filled.stop()
    with pytest.raises(CheckpointError, match=r"cannot reach http://127\.0\.0\.1.* not in the cache"):
        load()
    with pytest.raises(CheckpointError, match=r"config.json of me/small is not in the cache .*local_files_only"):
        load(local_files_only=True)


def test_revisions(filled, checkpoint):
    first = filled.models[NAME].head
    filled.commit(NAME, {"config.json": b"{}"})
    assert "depth" in load(revision=first).modalities
    with pytest.raises(CheckpointError, match="does not describe"):
        load()
    with pytest.raises(CheckpointError, match="me/small has no revision 'v9'; give a branch, tag or commit"):
        load(revision="v9")


def test_outputs_are_made_again_by_the_commit_that_made_them(filled, tmp_path):
    model = load()
    assert model.origin.commit == filled.models[NAME].head and model.origin.revision is None
    model.generate({}, "depth", steps=1).save(tmp_path / "out")
    filled.commit(NAME, {"config.json": b"{}"})
    assert command("repeat", tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hub: hub.models.clear(), "there is no folder and no repository 'me/small' at http"),
        (lambda hub: hub.gated.add(NAME), "me/small is gated: ask for access at http"),
        (lambda hub: hub.refused.add(NAME), r"refuses access to me/small \(403\)"),
        (lambda hub: hub.models[NAME].commits[hub.models[NAME].head].pop("config.json"), "has no file 'config.json'"),
        (lambda hub: hub.models[NAME].commits[hub.models[NAME].head].pop("model.safetensors"), "pickles, are not read"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_not_allowed(filled, change: Callable[[LocalHub], object], words: str):
    change(filled)
    with pytest.raises(CheckpointError, match=words) as caught:
        load()
    assert "\n" not in str(caught.value)


def test_a_token_opens_a_gated_repository(filled):
    filled.gated.add(NAME)
    assert "depth" in load(token=TOKEN).modalities


def test_a_server_that_dies_in_the_middle_and_comes_back(filled, checkpoint, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)
    sha = weights(checkpoint)
    filled.drop[sha] = 100_000
    assert "depth" in load().modalities
    assert [status for _, path, status in filled.requests if path == f"/cdn/{sha}"] == [200, 206]


@pytest.mark.parametrize(("fault", "words"), [("corrupt", "its hash differs"), ("cut", "another size")])
def test_damage_on_the_way_is_noticed_and_not_kept(filled, checkpoint, fault, words):
    getattr(filled, fault).add(weights(checkpoint))
    with pytest.raises(CheckpointError, match=words):
        load()
    getattr(filled, fault).clear()
    assert "depth" in load().modalities


@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # huggingface_hub's own
def test_push_and_load_back(hub, small_model, picture):
    address = small_model.push_to_hub(NAME, private=True, token=TOKEN, commit_message="First")
    assert address.endswith(NAME) and hub.models[NAME].private
    with pytest.raises(CheckpointError, match="no repository"):
        load()
    theirs = load(token=TOKEN, modalities=None)
    ours, theirs = (m.generate({"rgb": picture}, "depth", temperature=0.0) for m in (small_model, theirs))
    assert np.array_equal(ours["depth"], theirs["depth"])
    card = hub.models[NAME].commits[hub.models[NAME].head]["README.md"].decode()
    assert card.startswith("---\n") and 'am.load("me/small")' in card
    small_model.push_to_hub(NAME, token=TOKEN, max_shard_size="50KB")  # what it replaces is gone
    assert "model.safetensors" not in hub.models[NAME].commits[hub.models[NAME].head]
    assert "depth" in load(token=TOKEN).modalities
    with pytest.raises(CheckpointError, match="refuses access to me/small"):
        small_model.push_to_hub(NAME, token="hf_wrong")
    with pytest.raises(CheckpointError, match="not the name of a repository"):
        small_model.push_to_hub("small")


def test_shards_are_fetched_as_needed(hub, small_model, tmp_path, picture):
    folder = small_model.save_pretrained(tmp_path / "sharded", max_shard_size=40_000)
    shards = sorted(p.name for p in folder.glob("model-*.safetensors"))
    assert len(shards) > 3 and not (folder / "model.safetensors").exists()
    hub.add(NAME, folder)
    ours = load()
    assert np.array_equal(
        *(m.generate({"rgb": picture}, "depth", temperature=0.0)["depth"] for m in (small_model, ours))
    )
    assert "model.safetensors.index.json" in hub.fetched()


# The command line, in a process of its own.


def environment(hub: LocalHub, tmp_path: Path) -> dict[str, str]:
    ours = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, **ours, "OMP_NUM_THREADS": "1"}


def generate(hub: LocalHub, tmp_path: Path, *words: str, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "anymodal", "generate", "caption=a dog", "--to", "depth", *words]
    return subprocess.run(command, env=environment(hub, tmp_path), text=True, **{"capture_output": True, **options})


def test_the_command_line_loads_and_fails_in_one_line(filled, tmp_path):
    done = generate(filled, tmp_path, "--model", NAME, "--revision", filled.models[NAME].head, "--json")
    assert done.returncode == 0 and '"depth"' in done.stdout, done.stderr
    done = generate(filled, tmp_path, "--model", "me/nothing")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: there is no folder and no repository 'me/nothing'")


def written_to(terminal: int) -> Iterator[bytes]:
    """What comes out of a terminal until nobody holds its other end."""
    with suppress(OSError):
        while piece := os.read(terminal, 65536):
            yield piece


def test_a_slow_download_shows_a_bar(filled, tmp_path):
    filled.delay = 0.1
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.extend(written_to(master)))  # a full terminal would stop the command
    reader.start()
    generate(filled, tmp_path, "--model", NAME, capture_output=False, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    reader.join()
    os.close(master)
    shown = b"".join(seen)
    assert b"model.safetensors" in shown and re.search(rb"\d/\d", shown)


# A single file at a fixed address.


def test_a_file_at_a_fixed_address(hub, tmp_path):
    content = b"words"
    sha = hashlib.sha256(content).hexdigest()
    hub.blobs[sha] = content
    address, path = f"{hub.address}/cdn/{sha}", tmp_path / "cache" / "words.json"
    with pytest.raises(CheckpointError, match="must not be reached offline"):
        fetch(address, sha, path, 100, offline=True)
    with pytest.raises(CheckpointError, match="does not hold the expected file"):
        fetch(address, sha, path, 3)
    with pytest.raises(CheckpointError, match="does not hold the expected file"):
        fetch(address, "0" * 64, path, 100)
    assert not path.exists()
    assert fetch(address, sha, path, 100).read_bytes() == content
    hub.stop()
    assert fetch(address, sha, path, 100) == path
    path.write_bytes(b"other")
    with pytest.raises(CheckpointError, match="cannot download"):
        fetch(address, sha, path, 100)
