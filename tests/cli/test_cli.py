"""The command line as people run it: real processes, their output, exit codes and times."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from command_tree import leaves
from processor_time import patience, slowness
from rich.console import Console

import anymodal
from anymodal.cli.main import cli, main
from anymodal.cli.output import Output, _drawn
from anymodal.cli.overview import overview
from anymodal.plugins.registry import registry


def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """`anymodal` with these arguments in a process of its own."""
    command = [sys.executable, "-m", "anymodal", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ}, timeout=patience(120))


def one_line(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The error line of a command that failed as it should."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def one_object(done: subprocess.CompletedProcess[str]) -> dict:
    """The only thing on stdout: one JSON object on one line."""
    (line,) = done.stdout.splitlines()
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def shelf(tmp_path) -> Path:
    """A folder for PYTHONPATH with a plugin that breaks, one that prints, and one that adds a command."""

    def put(distribution: str, entry: str, source: str) -> None:
        module = entry.partition("= ")[2].partition(":")[0]
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nSummary: Of a test\n"
        )
        (info / "entry_points.txt").write_text(f"[anymodal]\n{entry}\n")
        (tmp_path / f"{module}.py").write_text(source)

    put("crashing", "crash = am_crash:Crash", "import sys\nsys.exit('no')")
    put(
        "loud",
        "loud = am_loud:Loud",
        "print('hello')\nfrom anymodal import TextModality\nclass Loud(TextModality): pass",
    )
    put(
        "greeting",
        "command-greet = am_greet",
        "import click\nfrom anymodal import hookimpl\n"
        "@hookimpl\ndef anymodal_commands(cli):\n"
        "    @cli.command()\n    def greet():\n        'Greet.'\n        click.echo('hello world')\n",
    )
    return tmp_path


@pytest.mark.parametrize("module", ["anymodal", "anymodal.cli"])
def test_a_module_starts_it(module):
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("anymodal ") and done.returncode == 0


def test_nothing_is_looked_through_for_garbage_at_the_end():
    last = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0)); "
    code = last + "from anymodal.cli import main; main(['--version'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["True"] and done.returncode == 0


def test_commands_call_the_same_thing_alike():
    """Data is an argument of all that read it, and how much of it is read is `--count`."""
    options = [(words, each) for words, command in leaves([], cli) for each in command.params]
    counted = {" ".join(words) for words, each in options if "Only the first" in (getattr(each, "help", None) or "")}
    assert counted == {"calibrate", "data check", "eval", "label", "retrieve index", "tokenize"}
    assert counted <= {" ".join(words) for words, each in options if "--count" in each.opts}
    assert all(isinstance(each, click.Argument) for _, each in options if each.name == "data")


@pytest.mark.parametrize("words", [("data", "check", "x"), ("retrieve", "query", "x", "caption=y")])
def test_a_sheet_is_a_png_file(words):
    done = run(*words, "--sheet", "sheet.jpg")
    assert done.returncode == 2 and "sheet.jpg is to be a PNG file; let its name end in .png" in done.stderr


def test_version_and_help():
    assert run("--version").stdout == f"anymodal {anymodal.__version__}\n"
    done = run("--help")
    assert done.returncode == 0
    for command in ("data", "doctor", "generate", "modalities", "plugin", "train", "train-tokenizer"):
        assert f"\n  {command} " in done.stdout


def test_alone_it_says_what_to_try(tmp_path):
    bare = run()
    assert bare.returncode == 0 and "21 modalities" in bare.stdout and not bare.stderr
    tried = [line.split("  ")[1].strip() for line in bare.stdout.splitlines() if line.startswith("  anymodal ")]
    assert len(tried) > 6
    for words in map(shlex.split, tried):
        found, words = click.Context(cli, info_name="anymodal"), words[1:]
        _, made, rest = cli.resolve_command(found, words)
        while isinstance(made, click.Group) and rest:
            _, made, rest = made.resolve_command(click.Context(made, parent=found), rest)
        made.make_context(made.name, rest, resilient_parsing=False)


def test_alone_it_names_only_what_is_installed(monkeypatch):
    monkeypatch.setattr(registry(), "candidates", lambda: ())
    assert "anymodal[all]" in overview() and "generate rgb" not in overview()


@pytest.mark.parametrize(
    "words", [["scenes", "--count", "1", "--workers", "1", "--out", "scenes"], ["samples", "copy"]]
)
def test_a_command_ends_with_the_next_one(words, tmp_path, monkeypatch):
    said = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Output, "next", lambda self, command: said.append(command))
    with pytest.raises(SystemExit):
        main(words)
    assert len(said) == 1 and said[0].startswith("anymodal ")


def test_modalities_as_a_table_and_as_json():
    lines = run("modalities").stdout.splitlines()
    assert lines[0].split("\t") == ["name", "distribution", "version", "summary", "status"]
    rows = one_object(run("modalities", "--json"))["modalities"]
    assert [line.split("\t") for line in lines[1:]] == [list(row.values())[:5] for row in rows]
    assert all(row["family"] and row["space"] for row in rows)
    assert {row["name"] for row in rows} == set(anymodal.modalities())
    assert {row["status"] for row in rows} == {"installed"}


@pytest.mark.timing
def test_modalities_is_quick():
    def seconds() -> float:
        began = os.times()
        assert run("modalities").returncode == 0
        ended = os.times()
        return ended.children_user + ended.children_system - began.children_user - began.children_system

    assert min(seconds() for _ in range(3)) < 0.5 * slowness()


@pytest.mark.parametrize(
    ("arguments", "plugins"),
    [
        ([], set()),
        (["--help"], set()),
        (["modalities"], set()),
        (["plugin", "list"], set()),
        (["data", "check", "--help"], set()),
        (["scenes", "--help"], {"anymodal_scenes", "anymodal_scenes.command"}),
    ],
)
def test_listing_and_help_import_no_other_plugin_and_nothing_heavy(arguments, plugins):
    script = (
        "import sys, anymodal.cli\n"
        f"try: anymodal.cli.main({arguments!r})\n"
        "except SystemExit: pass\n"
        "heavy = {m for m in sys.modules if m in ('numpy', 'torch', 'rich') or m.startswith('anymodal_')}\n"
        f"sys.exit(', '.join(sorted(heavy - {plugins!r})) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_modality():
    facts = one_object(run("modalities", "depth", "--json"))
    assert facts["distribution"] == "anymodal-depth"
    (stream,) = [s for s in facts["streams"] if s["stream"] == "depth"]
    assert stream["target"] and stream["length"] == stream["shape"][0] * stream["shape"][1]
    assert facts["settings"]
    table = run("modalities", "depth")
    assert f"family\t{facts['family']}" in table.stdout.splitlines()


def test_unknown_names_get_a_suggestion():
    assert "did you mean 'depth'?" in one_line(run("modalities", "deph"))
    assert "no command 'modalitys'; did you mean 'modalities'?" in one_line(run("modalitys"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["modalities", "--bogus"], "--bogus"),
        (["scenes", "--count", "3", "--seed", "0"], "Missing option '--out'"),
        (["scenes", "--count", "-1", "--seed", "0", "--out", "x"], "'--count': -1"),
        (["scenes", "--count", "1", "--seed", "0", "--size", "15", "--out", "x"], "'--size': 15"),
        (["scenes", "--count", "1", "--seed", "0", "--size", "513", "--out", "x"], "16<=x<=512"),
        (["scenes", "--count", "many", "--seed", "0", "--out", "x"], "'many'"),
    ],
)
def test_usage_errors_are_one_line(arguments, words, tmp_path):
    line = one_line(run(*arguments))
    assert words in line
    assert line.endswith("--help")


def test_scenes(tmp_path):
    out = tmp_path / "scenes"
    done = run("scenes", "--count", 2, "--seed", 3, "--size", 16, "--workers", 1, "--out", out, "--json")
    facts = one_object(done)
    assert (facts["count"], facts["seed"], facts["size"], facts["out"]) == (2, 3, 16, str(out))
    assert len(list((out / "rgb").iterdir())) == 2
    assert done.stderr == ""


def test_scenes_into_a_place_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("scenes", "--count", 1, "--seed", 0, "--out", tmp_path / "file" / "below")
    line = one_line(done)
    assert "file" in line and "choose another folder" in line


def test_broken_plugins_do_not_hurt_others(shelf):
    rows = one_object(run("modalities", "--json", PYTHONPATH=str(shelf)))["modalities"]
    assert {"crash", "loud", "depth"} <= {row["name"] for row in rows}
    assert one_object(run("modalities", "depth", "--json", PYTHONPATH=str(shelf)))["name"] == "depth"
    line = one_line(run("modalities", "crash", PYTHONPATH=str(shelf)))
    assert "crash (crashing 1.0, load): raises at import: it calls sys.exit('no')" in line


def test_a_plugin_that_prints_does_not_spoil_json(shelf):
    done = run("modalities", "loud", "--json", PYTHONPATH=str(shelf))
    assert one_object(done)["name"] == "loud"
    assert "prints to stdout" in done.stderr


def test_disabled_and_ambiguous_are_listed(shelf):
    for distribution in ("second", "third"):
        info = shelf / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[anymodal]\ntwice = am_twice:Twice\n")
    done = run("plugin", "list", "--json", PYTHONPATH=str(shelf), ANYMODAL_DISABLE="loud")
    status = {(row["name"], row["distribution"]): row["status"] for row in one_object(done)["plugins"]}
    assert status["loud", "loud"] == "disabled by ANYMODAL_DISABLE"
    assert status["command-greet", "greeting"] == "installed"
    for distribution in ("second", "third"):
        assert status["twice", distribution].startswith("ambiguous: ask for")


def test_the_command_of_a_plugin_has_its_name(shelf):
    assert run("greet", PYTHONPATH=str(shelf)).stdout == "hello world\n"
    told = run("--help", PYTHONPATH=str(shelf)).stdout
    assert "\n  greet   Of a test\n" in told.partition("Commands of plugins:\n")[2]
    assert "no command 'greet'" in one_line(run("greet"))


def test_doctor_finds_problems(shelf):
    done = run("doctor", "--json", PYTHONPATH=str(shelf))
    assert done.returncode == 1
    facts = one_object(done)
    assert facts["machine"]["anymodal"] == anymodal.__version__
    assert facts["machine"]["device"]
    status = {plugin["name"]: plugin["status"] for plugin in facts["plugins"]}
    assert (status["crash"], status["loud"], status["depth"]) == ("problem", "problem", "ok")
    assert {problem["plugin"] for problem in facts["problems"]} == {"crash", "loud"}
    listed = one_object(run("models", "--json", PYTHONPATH=str(shelf)))["models"]
    presets = {(preset["preset"], preset["status"]) for preset in facts["presets"]}
    assert presets and presets <= {(each["name"], each["status"]) for each in listed}


def test_an_empty_installation_is_healthy():
    done = run("doctor", ANYMODAL_DISABLE="*")
    assert done.returncode == 0, done.stdout
    assert run("modalities", ANYMODAL_DISABLE="*").returncode == 0


def test_strict_and_debug(shelf):
    info = shelf / "bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[anymodal]\nbad = no good:\n")
    assert "malformed value" in run("modalities", PYTHONPATH=str(shelf)).stderr
    assert "malformed value" in one_line(run("modalities", PYTHONPATH=str(shelf), ANYMODAL_STRICT="1"))
    assert "Traceback" in run("modalities", "deph", ANYMODAL_DEBUG="1").stderr


def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -m anymodal modalities | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_interruption_is_quiet(shelf):
    (shelf / "am_crash.py").write_text("raise KeyboardInterrupt")
    done = run("modalities", "crash", PYTHONPATH=str(shelf))
    assert (done.returncode, done.stdout) == (130, "")
    assert "Traceback" not in done.stderr


def test_json_holds_what_is_not_finite(capsys):
    Output(as_json=True).data({"loss": float("nan"), "path": Path("a/b"), "shape": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {"loss": None, "path": "a/b", "shape": [1, 2]}


def test_names_that_utf_8_cannot_hold_are_printed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    with pytest.raises(SystemExit):
        main(["modalities"])
    assert sys.stdout.errors == "backslashreplace"


@pytest.mark.parametrize(
    "body",
    [
        "import subprocess; subprocess.run(['echo', 'hello'])",
        "import os; os.write(1, b'hello\\n')",
        "import atexit; atexit.register(print, 'bye')",
    ],
)
def test_json_is_one_object_whatever_a_plugin_prints(tmp_path, body):
    info = tmp_path / "anymodal_sloppy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: anymodal-sloppy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[anymodal]\nsloppy = sloppy_mod:Sloppy\n")
    source = f"{body}\nfrom anymodal import TextModality\nclass Sloppy(TextModality):\n    'sloppy'\n"
    (tmp_path / "sloppy_mod.py").write_text(source)
    joined = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    assert one_object(run("modalities", "sloppy", "--json", PYTHONPATH=joined))


@pytest.mark.parametrize("width", [80, 60])
def test_tables_cut_nothing_off(width):
    """Names of the first column stand whole in one line; everything else is all there, in several lines if need be."""
    columns = ["name", "distribution", "version", "summary", "status"]
    rows = [
        [c.name, c.distribution, c.version, c.summary, "installed"] for c in anymodal.registry().modalities().values()
    ]
    drawn = io.StringIO()
    Console(width=width, file=drawn).print(_drawn(columns, rows, width))
    assert "…" not in drawn.getvalue()
    words = drawn.getvalue().split()
    lines = drawn.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for row in rows:
        assert row[0] in words and any(line.startswith(row[0]) for line in lines)
        assert width < 80 or {row[1], row[2], row[4]} <= {*words}
    letters = "".join(sorted("".join(words).replace("─", "")))
    texts = [*columns, *(cell for row in rows for cell in row)]
    assert letters == "".join(sorted("".join("".join(texts).split())))
