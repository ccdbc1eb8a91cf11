"""`anymodal app` as people start it: what it says, what it refuses, and that nothing is left when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from anymodal_app import server
from anymodal_app.command import app
from anymodal_app.settings import Limits, Settings
from click.testing import CliRunner
from processor_time import patience

from anymodal.errors import AnymodalError, ConfigError


def refused(*arguments: object) -> str:
    """The sentence with which the command ends before anything is loaded."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(done.exception, AnymodalError), done.output
    assert "\n" not in str(done.exception) and done.stdout == ""
    return str(done.exception)


def test_a_taken_port_is_told_before_anything_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--port", port, "--no-open")
    assert f"port {port}" in said and "--port" in said


class Listener:
    """What launches as Gradio's server does, and serves nothing."""

    def launch(self, server_name: str, server_port: int, **options: object) -> tuple[None, str, None]:
        with socket.create_server((server_name, server_port)):
            return None, f"http://{server_name}:{server_port}/", None


def test_a_port_that_is_taken_at_the_last_moment_is_left_and_another_one_found(monkeypatch):
    found = server.free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        late = [taken.getsockname()[1]]
        monkeypatch.setattr(server, "free_port", lambda given: late.pop() if late else found(given))
        assert server._launched(Listener(), Settings(port=0)).startswith("http://127.0.0.1:") and not late
        monkeypatch.setattr(server, "free_port", lambda given: taken.getsockname()[1])
        with pytest.raises(ConfigError, match="taken at once; choose one with --port"):
            server._launched(Listener(), Settings(port=0))


def test_what_is_no_model_address_or_index_is_told(tmp_path):
    assert "did you mean 'tiny'" in refused("--model", "tinny", "--no-open")
    assert "--host" in refused("--host", "203.0.113.7", "--no-open")
    assert "index" in refused("--index", tmp_path, "--no-open")
    assert "is no device" in refused("--device", "1+1", "--no-open")


def test_without_gradio_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install 'anymodal[app]'" in refused("--no-open")


@pytest.mark.parametrize("arguments", [["--port", "99999"], ["--queue", "0"], ["--max-variants", "99"], ["--wat"]])
def test_options_out_of_range_are_usage_errors(arguments):
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_its_help_imports_neither_gradio_nor_torch():
    code = "import sys, anymodal_app.command; print(*{'gradio', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("host", "names", "yes", "no"),
    [
        ("127.0.0.1", (), ["127.0.0.1", "localhost", "[::1]", "127.0.0.2"], ["evil.example", "10.0.0.1", "", "a:b:c"]),
        ("0.0.0.0", (), ["10.0.0.1", "localhost", socket.gethostname()], ["evil.example", "localhost.evil.example"]),
        ("192.168.1.5", ("box.lan",), ["192.168.1.5", "BOX.lan"], ["evil.lan"]),
    ],
)
def test_it_answers_to_its_own_names_alone(host, names, yes, no):
    settings = Settings(host=host, names=names)
    assert all(settings.answers_to(name) for name in yes) and not any(settings.answers_to(name) for name in no)


def test_limits_bound_the_whole_request():
    assert 3 * 1024**2 * 4 / 3 < Limits(upload_mb=3).body < 6 * 1024**2


def start(*arguments: object, **environ: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "anymodal", "app", *map(str, arguments)]
    environ = {**os.environ, **environ}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_serves_until_it_is_ended_and_leaves_nothing(how, checkpoint, tmp_path):
    """Behind a proxy, too, which would not find this machine's own address."""
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    with start("--model", checkpoint, "--port", 0, "--no-open", "--json", TMPDIR=str(tmp_path), **proxy) as process:
        said = json.loads(process.stdout.readline())
        assert said["mcp"] == f"{said['address']}gradio_api/mcp/"
        answer = httpx.get(f"{said['address']}about", timeout=patience(20), trust_env=False)
        assert answer.json()["model"] == str(checkpoint)
        assert list(tmp_path.glob("anymodal-app-*"))
        process.send_signal(how)
        _, errors = process.communicate(timeout=patience(30))
    assert process.returncode == (0 if how == signal.SIGTERM else 130), errors
    assert "Traceback" not in errors and "gradio" not in errors.lower()
    assert not list(tmp_path.glob("anymodal-app-*"))


@pytest.mark.slow
def test_a_page_for_others_comes_with_a_word_of_warning(checkpoint):
    with start("--model", checkpoint, "--host", "0.0.0.0", "--port", 0, "--no-open") as process:
        said = process.stdout.readline()
        warned = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
    assert "serving" in said and str(Path(checkpoint).parent) not in said
    assert "without a password" in warned
