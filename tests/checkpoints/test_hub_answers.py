"""What a Hub, a mirror or a proxy says is data, checked before it becomes a name, a place or a size."""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import attrs
import huggingface_hub.constants as constants
import pytest
from hub_server import LocalHub
from hypothesis import given, settings
from hypothesis import strategies as st

import anymodal as am
from anymodal.checkpoints import download, repository
from anymodal.checkpoints.hub_cache import check_name
from anymodal.checkpoints.hub_errors import Request
from anymodal.checkpoints.repository import Access, Folder, Repository
from anymodal.errors import CheckpointError

NAME, COMMIT = "me/small", "1" * 40
CONFIG = b'{"a": 1}'
BLOB = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(repository, "PATIENCE", 60.0)  # of a busy machine, not of people


def point_at(address: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(
        constants, "HF_URL_HOSTS", getattr(constants, "HF_URL_HOSTS", set()) | {"127.0.0.1"}, raising=False
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)


@attrs.define
class Said:
    """What the server answers for any file, and how often it was asked for one by each method."""

    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = CONFIG
    status: int = 200
    wait: float = 0.0
    asked: list[str] = attrs.field(factory=list)
    address: str = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Said]:
    said = Said({"X-Repo-Commit": COMMIT, "ETag": f'"{BLOB}"'})

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            said.asked.append(f"{self.command} {unquote(self.path)}")
            time.sleep(said.wait)
            self.send_response(said.status)
            for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(said.body)

        do_GET = do_HEAD  # noqa: N815

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        said.address = f"http://127.0.0.1:{running.server_address[1]}"
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        point_at(said.address, monkeypatch, tmp_path / "cache")
        yield said
        running.shutdown()


def files_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_an_honest_answer_is_kept_in_the_layout_of_huggingface_hub(server, tmp_path):
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    path = Repository(NAME).path("config.json")
    assert path.read_bytes() == CONFIG
    assert try_to_load_from_cache(NAME, "config.json") == str(path)
    assert [each.repo_id for each in scan_cache_dir().repos] == [NAME]
    assert path.resolve() == (tmp_path / f"cache/models--me--small/blobs/{BLOB}").resolve()


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"X-Repo-Commit": "../../../elsewhere"}, "is no commit"),
        ({"X-Repo-Commit": "1" * 39}, "is no commit"),
        ({"X-Repo-Commit": "G" * 40}, "is no commit"),
        ({"X-Repo-Commit": ""}, "is no commit"),
        ({"ETag": '"../../../elsewhere"'}, "names no content"),
        ({"ETag": '"/elsewhere"'}, "names no content"),
        ({"ETag": '".."'}, "names no content"),
        ({"ETag": f'"{"a" * 300}"'}, "names no content"),
        ({"ETag": ""}, "names no content"),
        ({"X-Linked-Etag": '"a/b"'}, "names no content"),
        ({"X-Linked-Size": "-5"}, "states no size"),
        ({"X-Linked-Size": str(10**18)}, "has 10{18} bytes"),
        ({"X-Linked-Size": "1" * 5000}, "does not answer as the Hub does"),
        ({"X-Linked-Size": "many"}, "me/small"),
        ({"Location": "file:///etc/hostname"}, "sends on to"),
        ({"Location": "x" * 20_000}, "me/small"),
    ],
)  # fmt: skip
def test_what_a_server_says_becomes_no_name_and_no_place(server, tmp_path, headers, words):
    server.headers |= headers
    before = files_under(tmp_path)
    with pytest.raises(CheckpointError, match=words) as caught:
        Repository(NAME).path("config.json")
    assert len(str(caught.value)) < 1500
    left = files_under(tmp_path) - before
    assert all(name.startswith("cache/") for name in left)
    assert not any("config.json" in name or "elsewhere" in name for name in left)


def test_weights_that_no_disk_holds_are_refused_before_the_download(server):
    server.headers |= {"X-Linked-Size": str(10**18), "X-Linked-Etag": f'"{"a" * 64}"'}
    with pytest.raises(CheckpointError, match=r"has 10{18} bytes, and \d+ are free"):
        Repository(NAME).path("model.safetensors")
    assert not any(line.startswith("GET") for line in server.asked)


def test_more_bytes_than_stated_are_not_written(server, tmp_path):
    server.headers |= {"X-Linked-Size": "3", "X-Linked-Etag": '"mirror-1"'}
    with pytest.raises(CheckpointError, match=r"longer than .* states|another size"):
        Repository(NAME).path("config.json")
    assert all((tmp_path / name).stat().st_size <= 3 for name in files_under(tmp_path) if "blobs" in name)


@pytest.mark.parametrize("status", [400, 404, 418, 500, 503])
def test_any_status_is_one_sentence(server, status):
    server.status = status
    with pytest.raises(CheckpointError):
        Repository(NAME).path("config.json")


def test_another_commit_than_the_first_is_refused(server):
    files = Repository(NAME)
    files.path("config.json")
    server.headers["X-Repo-Commit"] = "2" * 40
    with pytest.raises(CheckpointError, match="of another commit"):
        files.path("vocabulary.json")


def test_a_mirror_without_hashes_is_read(server):
    server.headers["ETag"] = 'W/"5d41402a"'
    assert Repository(NAME).path("config.json").read_bytes() == CONFIG


# What the cache knows is not asked for.


def test_a_cached_commit_needs_no_request(server):
    Repository(NAME, COMMIT).path("config.json")
    server.headers |= {"X-Error-Code": "EntryNotFound"}
    server.status = 404
    assert Repository(NAME, COMMIT).find("vocabulary.json") is None
    asked = len(server.asked)
    files = Repository(NAME, COMMIT)
    assert files.path("config.json").read_bytes() == CONFIG and files.find("vocabulary.json") is None
    assert len(server.asked) == asked


def test_a_branch_needs_one_request_and_waits_no_longer_than_patience(server, monkeypatch):
    Repository(NAME).path("config.json")
    server.asked.clear()
    files = Repository(NAME)
    files.path("config.json"), files.path("config.json")
    assert len(server.asked) == 1
    server.wait = 20.0
    monkeypatch.setattr(repository, "PATIENCE", 0.5)
    start = time.monotonic()
    with pytest.warns(
        UserWarning, match="(did not answer in 0.5 s|cannot reach) .* what the cache has of me/small, commit 1111"
    ):
        assert Repository(NAME).path("config.json").read_bytes() == CONFIG
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("answer", [{"X-Repo-Commit": "login page"}, {"ETag": ""}])
def test_a_page_that_asks_to_log_in_falls_back_on_the_cache(server, answer):
    Repository(NAME).path("config.json")
    server.headers |= answer
    with pytest.warns(UserWarning, match="does not answer as the Hub does"):
        assert Repository(NAME).path("config.json").read_bytes() == CONFIG


def test_a_whole_model_from_the_cache_asks_for_nothing(checkpoint, monkeypatch, tmp_path):
    with LocalHub() as hub:
        point_at(hub.address, monkeypatch, tmp_path / "cache")
        commit = hub.add(NAME, checkpoint)
        am.load(NAME, modalities=["rgb", "caption"])
        asked = len(hub.requests)
        am.load(NAME, modalities=["rgb", "caption"], revision=commit)
        assert len(hub.requests) == asked
        am.load(NAME, modalities=["rgb", "caption"])
        assert len(hub.requests) == asked + 1


# What was verified, and what was not.


def cached(tmp_path: Path) -> Path:
    return tmp_path / f"cache/models--me--small/blobs/{BLOB}"


def test_a_file_that_was_never_verified_is_verified_and_removed_if_damaged(server, tmp_path):
    path = Repository(NAME).path("config.json")
    for mark in (tmp_path / "cache/models--me--small/.anymodal/verified").iterdir():
        mark.unlink()  # as of a download by other software, or of one that was killed before it was compared
    cached(tmp_path).write_bytes(b'{"a": 2}')
    with pytest.raises(CheckpointError, match="its hash differs from the one the Hub states; it was removed"):
        Repository(NAME, COMMIT).path("config.json")
    assert not path.exists() and not cached(tmp_path).exists()
    assert Repository(NAME, COMMIT).path("config.json").read_bytes() == CONFIG


def test_a_file_that_changed_after_it_was_verified_is_verified_again(server, tmp_path):
    Repository(NAME).path("config.json")
    cached(tmp_path).write_bytes(b'{"a": 2}')
    with pytest.raises(CheckpointError, match="its hash differs"):
        Repository(NAME, COMMIT).path("config.json")


def test_damaged_content_never_gets_a_name(server, tmp_path):
    server.body = b'{"a": 2}'
    with pytest.raises(CheckpointError, match="its hash differs"):
        Repository(NAME).path("config.json")
    assert not any("snapshots" in name or "blobs" in name for name in files_under(tmp_path))


def test_a_cache_that_cannot_be_written_to_is_read(server, tmp_path, monkeypatch):
    Repository(NAME).path("config.json")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refuse)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert Repository(NAME, COMMIT).path("config.json").read_bytes() == CONFIG


def test_threads_that_want_one_file_download_it_once(server):
    server.wait = 0.1
    found: list[bytes] = []
    work = lambda: found.append(Repository(NAME).path("config.json").read_bytes())  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONFIG] * 6
    assert sum(line.startswith("GET") for line in server.asked) == 1


FETCH = """
import sys
import huggingface_hub.constants as constants
from anymodal.checkpoints.repository import Access, Repository
template = sys.argv[1] + "/{repo_id}/resolve/{revision}/{filename}"
constants.ENDPOINT, constants.HUGGINGFACE_CO_URL_TEMPLATE = sys.argv[1], template
print(Repository("me/small", None, Access(cache_dir=sys.argv[2])).path("config.json").read_text())
"""


def test_processes_that_want_one_file_download_it_once(server, tmp_path):
    server.wait = 0.3
    command = [sys.executable, "-c", FETCH, server.address, str(tmp_path / "cache")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in running] == [CONFIG.decode()] * 2
    assert sum(line.startswith("GET") for line in server.asked) == 1


def test_a_process_that_is_killed_while_it_downloads_leaves_no_file(server, tmp_path):
    server.headers |= {"Content-Length": str(len(CONFIG) + 1), "X-Linked-Size": str(len(CONFIG) + 1)}  # never ends
    command = [sys.executable, "-c", FETCH, server.address, str(tmp_path / "cache")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not any(line.startswith("GET") for line in server.asked):
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not any("snapshots" in name or name.endswith(BLOB) for name in files_under(tmp_path))
    server.headers |= {"Content-Length": str(len(CONFIG)), "X-Linked-Size": str(len(CONFIG))}
    assert Repository(NAME).path("config.json").read_bytes() == CONFIG


# Names.


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/../b", "/a", "a//b", "a\\b", "C:a", "a\0b", "a\nb", "x" * 256, "\ud800", "a/"]
)
def test_names_that_lead_elsewhere_are_refused(name, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be the name of a file"):
        Folder(tmp_path).find(name)
    with pytest.raises(CheckpointError, match="cannot be the name of a file"):
        Repository(NAME, COMMIT, Access(cache_dir=tmp_path)).find(name)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_a_plain_name_stays_in_its_folder(name):
    try:
        check_name(name)
    except CheckpointError:
        return
    assert (Path("/a/b") / name).resolve().is_relative_to("/a/b")


@pytest.mark.parametrize("revision", ["../x", "/x", "a\0", "x" * 300])
def test_revisions_that_lead_elsewhere_are_refused(revision, tmp_path):
    with pytest.raises(CheckpointError, match="is no revision"):
        Repository(NAME, revision, Access(cache_dir=tmp_path)).find("config.json")


@settings(deadline=None)
@given(st.one_of(st.none(), st.text()), st.one_of(st.none(), st.text()), st.one_of(st.none(), st.integers()), st.text())
def test_no_answer_is_anything_but_an_answer_or_an_error(commit, etag, size, address):
    with pytest.raises(CheckpointError):
        download.Answer(Request(NAME, "config.json"), commit, etag, size, address)
