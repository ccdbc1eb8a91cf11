"""Files that exist for a moment: their folder is the process's, and goes with it, also with one that was killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from worker_parts import reads

from anymodal.content import PREFIX, file_in_memory
from anymodal.data.jobs.executors import Local, results
from anymodal.data.order import step_batches

READ = "from anymodal.content import file_in_memory\nwith file_in_memory(b'abc', '.txt') as path:\n    "


def folders(place: Path) -> list[Path]:
    return list(place.glob(f"{PREFIX}*"))


def run(code: str, place: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(place)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_files_of_a_process_share_a_folder_and_have_names_of_their_own():
    with file_in_memory(b"one", ".txt") as first, file_in_memory(b"two", ".txt") as second:
        assert first.parent == second.parent and first != second
        assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
        assert first.suffix == ".txt" and first.stat().st_size == 3
    assert not first.exists() and not second.exists()


def test_a_folder_that_was_cleaned_away_is_made_anew(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("anymodal.content._FOLDERS", {})
    with file_in_memory(b"one", ".txt") as path:
        folder = path.parent
    for link in folder.iterdir():
        link.unlink()
    folder.rmdir()
    with file_in_memory(b"two", ".txt") as path:
        assert path.read_bytes() == b"two"


def test_the_folder_goes_with_its_process(tmp_path):
    done = run(READ + "print(path.read_text())", tmp_path)
    assert done.stdout == "abc\n" and not folders(tmp_path)


def test_a_process_that_was_killed_leaves_nothing_for_long(tmp_path):
    killed = run(READ + "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert killed.returncode == -signal.SIGKILL and len(folders(tmp_path)) == 1
    run(READ + "pass", tmp_path)
    assert not folders(tmp_path)


def test_a_forked_process_leaves_the_folder_of_its_parent_alone(tmp_path):
    code = (
        f"import os\n{READ}pass\n"
        "child = os.fork()\n"
        "if not child:\n    raise SystemExit\n"
        "os.waitpid(child, 0)\n"
        "print(path.parent.is_dir())"
    )
    assert run(code, tmp_path).stdout == "True\n"


def test_the_folder_of_a_process_at_work_is_left_alone(tmp_path):
    code = f"import subprocess, sys\n{READ}subprocess.run([sys.executable, '-c', sys.argv[0]]); print(path.exists())"
    other = READ + "pass"
    done = run(code.replace("sys.argv[0]", repr(other)), tmp_path)
    assert done.stdout == "True\n"


def test_the_folders_of_workers_go_when_there_is_no_more_work(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert dict(results(Local(), reads, range(4), 2)) == {job: str(job) for job in range(4)}
    assert not folders(tmp_path)


def test_the_folders_of_workers_that_are_ended_at_work_go_with_them(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    found = results(Local(), reads, range(20), 2)
    next(found)
    assert folders(tmp_path)
    found.close()  # as Ctrl-C does
    assert not folders(tmp_path)


def test_the_folders_of_workers_that_load_data_go_with_them(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert list(step_batches(reads(0), 4, workers=2)(0)) == ["0", "1", "2", "3"]
    assert not folders(tmp_path)


def test_what_a_reader_raises_is_not_taken_for_a_lack_of_room():
    with pytest.raises(OSError, match=r"^the reader's own$"), file_in_memory(b"abc", ".png") as path:
        raise OSError("the reader's own")
    assert not path.is_symlink()
