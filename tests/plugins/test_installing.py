"""`anymodal plugin install` and `search`: real pip, real wheels, an index on the loopback, nothing of the network."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from environments import Environment, build_wheel

import anymodal
from anymodal.cli.main import cli
from anymodal.errors import PluginError
from anymodal.plugins.described import Described, read
from anymodal.plugins.installer import why
from anymodal.plugins.installing import target_of
from anymodal.plugins.published import as_json, published
from anymodal.plugins.template import write_plugin

MODULE = (
    "from anymodal import ImageModality\n\n\nclass Thermal(ImageModality):\n    channels, low, high = 1, 0.0, 1.0\n"
)


def wheel(
    index: Path,
    name: str,
    version: str = "1.0",
    *,
    entries: str = "thermal = {module}:Thermal",
    requires: tuple[str, ...] = (),
    code: str = MODULE,
    summary: str = "Heat",
) -> Path:
    """A wheel with one module, where an index of that folder offers it."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", f"Summary: {summary}"]
    metadata += [f"Requires-Dist: {each}" for each in requires]
    metadata += [
        "License-Expression: MIT",
        "Project-URL: Source, https://example.org/heat",
        "Keywords: infrared,camera",
    ]
    files = {
        f"{module}.py": code,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **({f"{info}/entry_points.txt": f"[anymodal]\n{entries.format(module=module)}\n"} if entries else {}),
    }
    path = index / name / f"{module}-{version}-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        record = []
        for file, text in files.items():
            archive.writestr(file, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{file},sha256={digest},{len(text.encode())}")
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return path


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    """A folder, and the address of a package index that offers the wheels in it; a listing is a page of links."""
    folder = tmp_path_factory.mktemp("index")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def refused(index, monkeypatch) -> Path:
    """The folder of the index that this process' pip asks; for what ends before anything is installed."""
    folder, address = index
    ask_only(address, monkeypatch)
    return folder


def ask_only(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process' pip ask one index alone."""
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", address)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def said(*words: str) -> tuple[int, str]:
    """The exit code of `anymodal plugin ...` and its error."""
    done = CliRunner().invoke(cli, ["plugin", *words])
    error = done.exception
    assert isinstance(error, PluginError), done.output
    assert "\n" not in str(error)
    return done.exit_code, str(error)


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("depth", "anymodal-depth"),
        ("canny-edge", "anymodal-canny-edge"),
        ("canny_edge", "anymodal-canny-edge"),
        ("height_map", "anymodal-height-map"),
        ("acme-thermal", "acme-thermal"),
        ("acme-thermal>=2", "acme-thermal>=2"),
        ("depth==0.1", "anymodal-depth==0.1"),
        ("anymodal-depth[extra]", "anymodal-depth[extra]"),
    ],
)
def test_what_a_word_stands_for(word, target):
    assert target_of(word) == target


@pytest.mark.parametrize(
    "word",
    ["--index-url=http://evil", "-e", "git+https://example.org/x", "x @ https://example.org/x.whl", "a b", "; ls",
     "./no", "no.whl", "x; python_version > '3'", ""],
)  # fmt: skip
def test_other_words_are_refused(word):
    with pytest.raises(PluginError):
        target_of(word)


def test_a_folder_and_a_wheel_are_themselves(tmp_path, monkeypatch):
    project = write_plugin("luma", "image", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert target_of(project.name) == str(project)
    assert target_of(str(wheel(tmp_path, "anymodal-heat"))).endswith(".whl")


def test_what_does_not_exist(refused):
    message = said("install", "dpeth")[1]
    assert "no package index in use has a wheel of anymodal-dpeth" in message and "did you mean 'depth'" in message
    assert "did you mean" not in said("install", "depth==99")[1]
    assert "an address is for pip itself" in said("install", "https://example.org/x.whl")[1]


def test_no_plugin_is_refused(refused):
    wheel(refused, "acme-table", entries="")
    assert "acme-table 1.0 is no plugin" in said("install", "acme-table")[1]


def test_a_name_that_is_taken(refused):
    wheel(refused, "acme-depth", entries="depth = {module}:Thermal")
    message = said("install", "acme-depth")[1]
    assert "'depth', which is there from anymodal-depth" in message and "pip uninstall anymodal-depth" in message


def test_one_for_another_version_of_anymodal(refused):
    wheel(refused, "acme-late", requires=("anymodal>=99",))
    assert "requires anymodal >=99" in said("install", "acme-late")[1]


def test_requirements_that_cannot_be_met(refused):
    wheel(refused, "acme-needy", requires=("acme-nowhere>=1",))
    assert "a wheel of acme-nowhere>=1, which acme-needy==1.0 needs, for" in said("install", "acme-needy")[1]
    wheel(refused, "acme-tied", requires=("acme-lib<2", "acme-lib>=2"))
    wheel(refused, "acme-lib", "2.0", entries="")
    assert "acme-tied" in said("install", "acme-tied")[1]
    assert "there are 2.0" in said("install", "acme-lib==3")[1]


def test_nobody_is_asked_where_nobody_looks(refused):
    wheel(refused, "acme-thermal")
    assert "acme-thermal is not published by the anymodal project; --yes" in said("install", "acme-thermal")[1]


def test_no_index_answers(monkeypatch):
    ask_only("http://127.0.0.1:9", monkeypatch)
    assert "no package index answers" in said("install", "acme-thermal")[1]


def test_a_wheel_that_is_none(tmp_path):
    broken = tmp_path / "acme_odd-1.0-py3-none-any.whl"
    broken.write_bytes(b"PK")
    assert "acme_odd" in said("install", str(broken))[1]


def test_a_python_of_the_system(monkeypatch, tmp_path):
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    message = said("install", "acme-thermal")[1]
    assert "PEP 668" in message and "python3 -m venv" in message
    monkeypatch.setenv("PIP_BREAK_SYSTEM_PACKAGES", "1")
    ask_only("http://127.0.0.1:9", monkeypatch)
    assert "no package index answers" in said("install", "acme-thermal")[1]


def test_what_uv_says_is_one_sentence_too():
    absent = (
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because foo was not found in the package registry"
    )
    assert "has a wheel of foo" in why("foo", absent)
    offline = "error: Request failed\n  Caused by: Failed to fetch: `https://x/simple/foo/`\n  Caused by: dns error"
    assert "no package index answers" in why("foo", offline)
    tied = "error: No solution\n  cause: Because only a<2 is available and foo depends on a>=2, your requirements are"
    assert "foo depends on a>=2" in why("foo", f"{tied} unsatisfiable.")
    assert why("foo", "").count("\n") == 0


@pytest.fixture
def directory_file(tmp_path, monkeypatch) -> Path:
    """A directory of plugins of which one is installed, one is not, and one is odd."""
    far = Described(
        "acme-thermal", "2.0", "Heat\x1b[31m", "MIT", provides=("modality thermal",), keywords=("infrared",)
    )
    path = tmp_path / "plugins.json"
    listed = as_json([far])
    listed["plugins"] += [{"name": 3}, "odd", {"name": "acme-odd", "links": {"Source": "javascript:alert(1)"}}]
    path.write_text(json.dumps(listed))
    monkeypatch.setenv("ANYMODAL_DIRECTORY", str(path))
    return path


def test_search(directory_file):
    found = json.loads(CliRunner().invoke(cli, ["plugin", "search", "INFRARED", "heat", "--json"]).stdout)["plugins"]
    assert [(each["name"], each["installed"], each["ours"]) for each in found] == [("acme-thermal", False, False)]
    everything = CliRunner().invoke(cli, ["plugin", "search"])
    assert "anymodal-depth" in everything.stdout and "acme-odd" in everything.stdout
    assert "\x1b" not in everything.stdout


def test_search_of_what_nobody_has(directory_file):
    done = CliRunner().invoke(cli, ["plugin", "search", "quasar"])
    assert done.exit_code == 0 and "nothing of quasar" in done.stderr


def test_search_without_the_network(monkeypatch):
    monkeypatch.setenv("ANYMODAL_DIRECTORY", "http://127.0.0.1:9/plugins.json")
    done = CliRunner().invoke(cli, ["plugin", "search", "depth"])
    assert "anymodal-depth" in done.stdout and "cannot be read: Connection refused" in done.stderr


def test_a_directory_is_read_as_it_was_written(directory_file, index):
    folder, address = index
    (folder / "plugins.json").write_text(directory_file.read_text())
    near, far = published(), published(f"{address}/plugins.json")
    assert near == far and [each.name for each in near] == ["acme-thermal", "acme-odd"]
    assert near[1].links == {} and read({}) == Described("")


@pytest.mark.parametrize(
    "answer", [b"no answer of the web", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz"]
)
def test_a_server_that_breaks_off_is_told_of(answer):
    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer + b"\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=[listening], daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(PluginError, match=r"the directory of plugins at .* cannot be read: "):
            published(address)


@pytest.mark.parametrize("text", ["[]", "{}", '{"plugins": 3}', "no json"])
def test_what_is_no_directory(text, tmp_path):
    (tmp_path / "plugins.json").write_text(text)
    with pytest.raises(anymodal.errors.AnymodalError, match=r"plugins\.json"):
        published(str(tmp_path / "plugins.json"))


@pytest.fixture(scope="module")
def environment(index, tmp_path_factory) -> Environment:
    """An environment with everything of this checkout, whose pip asks the index."""
    made = Environment(tmp_path_factory.mktemp("environment"), in_checkout=True)
    made.environ |= {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": index[1], "PIP_CONFIG_FILE": os.devnull}
    return made


def installed_by(environment: Environment, *words: str) -> tuple[int, dict]:
    """The exit code and the JSON of `anymodal plugin install --json`."""
    done = subprocess.run(
        [str(environment.bin / "python"), "-m", "anymodal", "plugin", "install", *words, "--json"],
        cwd=environment.folder,
        env=environment.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_a_plugin_of_somebody_else(environment, index, tmp_path):
    """What `plugin new` writes, built, offered by an index, installed by name, upgraded, and usable."""
    folder = index[0] / "anymodal-height-map"
    folder.mkdir()
    project = write_plugin("height_map", "image", tmp_path)
    build_wheel(project, folder)
    code, told = installed_by(environment, "height_map", "--dry-run")
    assert code == 0 and not told["installed"] and told["comes"] == {"anymodal-height-map": "0.1.0"}
    assert "height_map" not in environment.run("anymodal", "modalities")
    code, told = installed_by(environment, "height_map", "--yes")
    assert code == 0 and told["installed"] and told["problems"] == []
    (facts,) = told["plugins"]
    assert facts["provides"] == ["modality height_map"] and told["strangers"] == ["anymodal-height-map"]
    assert "height_map" in environment.run("anymodal", "modalities")
    code, told = installed_by(environment, "height_map")
    assert code == 0 and told["comes"] == {}
    toml = project / "pyproject.toml"
    toml.write_text(toml.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
    build_wheel(project, folder)
    assert installed_by(environment, "height_map")[1]["comes"] == {}
    code, told = installed_by(environment, "height_map", "--upgrade", "--yes")
    assert code == 0 and told["comes"] == {"anymodal-height-map": "0.2.0"} and told["changes"] == {}
    assert "\t0.2.0\t" in next(
        line for line in environment.run("anymodal", "plugin", "list").splitlines() if line.startswith("height_map")
    )
    assert installed_by(environment, str(tmp_path / "anymodal-height-map"), "--yes")[0] == 0


@pytest.mark.slow
def test_other_packages_and_broken_plugins(environment, index):
    """What else would come or change is said; a plugin that does not load is told at once, with exit code 1."""
    folder, _ = index
    wheel(folder, "acme-lib", "1.0", entries="")
    wheel(folder, "acme-lib", "2.0", entries="")
    wheel(folder, "acme-first", entries="first = {module}:First", code=MODULE.replace("Thermal", "First"),
          requires=("acme-lib<2",))  # fmt: skip
    wheel(folder, "acme-second", entries="second = {module}:Second", code="raise RuntimeError('odd')",
          requires=("acme-lib>=2",))  # fmt: skip
    code, told = installed_by(environment, "acme-first", "--yes")
    assert code == 0 and told["comes"] == {"acme-first": "1.0", "acme-lib": "1.0"}
    code, told = installed_by(environment, "acme-second", "--yes")
    assert told["changes"] == {"acme-lib": {"from": "1.0", "to": "2.0"}}
    assert code == 1 and "odd" in told["problems"][0]["message"]
