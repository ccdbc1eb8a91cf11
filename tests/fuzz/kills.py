"""Commands killed at random moments: what is there afterwards is whole, and running them again ends as if nothing was.

Every run is a fork of this process, which has imported everything, so that a kill costs no start of Python. After a
kill the same command runs to its end; its files must be those of a run that was never killed, or it must say in one
sentence why not. A model that is saved over another one must load as the old one or as the new one.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import conftest
import torch
from datasets_made import write_config, write_pictures
from published_made import SEVEN, config_of, write_model, write_words
from small_runs import MODEL, STEPS, model_config, write_yaml

import anymodal as am
from anymodal.cli.main import main
from anymodal.errors import AnymodalError, one_line
from anymodal.model import ModelConfig
from anymodal.text import Vocabulary
from fuzz.subjects import digest

LONGEST = 240.0  # seconds of a run that nobody kills
COLUMNS = ("kills", "too late", "same result", "files left", "clean error", "faults")
IGNORED = (".lock", "log.jsonl", "events.out")  # names, or how they begin, of files that hold times


@attrs.frozen
class Job:
    """A command that writes into a folder, the words to take it up with, and what is compared in the end."""

    name: str
    words: Callable[[Path], list[str]]
    resume: tuple[str, ...] = ()
    result: str = ""
    action: Callable[[Path], None] | None = None
    before: Path | None = None  # what lies in the folder at the start


def _run(job: Job, out: Path, again: bool, log: Path) -> int:
    """Start a run in a fork of this process, which leads a group of its own; the process id."""
    if pid := os.fork():
        with suppress(OSError):  # whoever comes first, parent or child, makes the group
            os.setpgid(pid, pid)
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        if job.action is not None:
            job.action(out)
            code = 0
        else:
            main([*job.words(out), *(job.resume if again else ())])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except AnymodalError as error:
        print(f"error: {error}")  # noqa: T201 - the log of the run
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _wait(pid: int, seconds: float) -> int | None:
    """The exit code, negative for a signal, or None if it still runs after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def _finish(job: Job, out: Path, again: bool, log: Path) -> int:
    pid = _run(job, out, again, log)
    if (code := _wait(pid, LONGEST)) is None:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return 124
    return code


def contents(folder: Path) -> dict[str, str]:
    """The hash of every file that is the same in every run."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(IGNORED))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def jobs(folder: Path) -> list[Job]:
    """The commands, over small data made in a folder."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.train(conftest.TEXTS, size=1200, bins=256, sentinels=16)
    members = conftest.build_set(["depth", "rgb", "caption", "color_palette"], vocabulary)
    model = am.AnyModel(members, ModelConfig(**MODEL))
    old, published, data = folder / "old", folder / "4M", folder / "data"
    model.save_pretrained(old)
    write_model(published, config_of(SEVEN))
    write_words(published)
    write_pictures(data, 12)
    few = ("rgb", "depth", "caption")
    config = write_config(folder, members, few)
    main_of = ["tokenize", str(data), "--config", str(config), "--workers", "1", "--shard-size", "2", "--crops", "2"]
    assert (
        _finish(Job("tokens", lambda out: [*main_of, "--out", str(out)]), folder / "tokens", False, folder / "log") == 0
    )
    training = {**STEPS, "steps": 12, "save_every": 2}
    components = [{"inputs": {"rgb": 1}, "targets": {"depth": 1, "rgb": 1}}]
    train = model_config(
        folder / "train.yaml", {n: {"length": 24} if n == "caption" else {} for n in few}, components, training=training
    )
    learn = write_yaml(
        folder / "depth.yaml",
        modality="depth",
        data=str(data),
        training=training,
        settings={"size": 32, "patch": 8, "codebook": 32, "latent": 8},
        encoder={"dim": 16, "depth": 1, "heads": 2},
        decoder={"dim": 16, "depth": 1, "heads": 2},
    )
    label = [
        "label",
        str(data / "rgb"),
        "--with",
        "canny_edge",
        "--with",
        "color_palette",
        "--workers",
        "1",
        "--shard-size",
        "2",
    ]
    scenes = ["scenes", "--count", "6", "--size", "32", "--workers", "1", "--kinds", "basic"]
    words = str(published / "text_tokenizer_4m_wordpiece_30k.json")
    convert = ["convert", str(published), "--vocabulary", words]
    picture = next((data / "rgb").iterdir())
    generate = ["generate", f"rgb={picture}", "--to", "depth,color_palette", "--model", str(old)]
    return [
        Job("train", lambda out: ["train", str(train), "--out", str(out)], ("--resume",), "model"),
        Job(
            "train-tokenizer",
            lambda out: ["train-tokenizer", str(learn), "--out", str(out)],
            ("--resume",),
            "modalities",
        ),
        Job("tokenize", lambda out: [*main_of, "--out", str(out)]),
        Job("label", lambda out: [*label, "--out", str(out)]),
        Job("scenes", lambda out: [*scenes, "--out", str(out)]),
        Job("convert", lambda out: [convert[0], convert[1], str(out), *convert[2:]]),
        Job("generate", lambda out: [*generate, "--out", str(out)]),
        Job("save_pretrained", list, action=_save_other(model), before=old),
    ]


def _save_other(model: am.AnyModel) -> Callable[[Path], None]:
    """Save a model of other weights, of which every number has the other sign."""

    def save(out: Path) -> None:
        with torch.no_grad():
            for each in _parameters(model):
                each.neg_()
        model.save_pretrained(out)

    return save


def _parameters(model: am.AnyModel) -> list[torch.Tensor]:
    tokenizers = [m.tokenizer for m in model.modalities if m.tokenizer is not None]
    return [each for part in (model.transformer, *tokenizers) for each in part.parameters()]


def _loaded(folder: Path) -> str:
    """What a saved model is, in one word."""
    return digest([each.detach() for each in _parameters(am.load(folder))])


def _judged(job: Job, out: Path, wanted: Any, folder: Path) -> tuple[str, str]:
    """What a killed command has left: the same after another run, one clean error, or a fault and what it was."""
    if job.before is not None:
        try:
            found = _loaded(out)
        except AnymodalError as error:
            return "clean error", one_line(error, 200)
        if found not in wanted["either"]:
            return "faults", "the model is neither the old one nor the new one"
    log = folder / "again.log"
    code = _finish(job, out, True, log)
    said = log.read_text(errors="replace").strip()
    if code == 2 and "Traceback" not in said:
        return "clean error", said[-200:]
    if code != 0:
        return "faults", f"exit code {code}: {said[-600:]}"
    found = contents(out / job.result)
    if found == wanted["files"]:
        return "same result", ""
    names = sorted(name for name in {*found, *wanted["files"]} if found.get(name) != wanted["files"].get(name))
    if all(any(part.startswith(".") for part in Path(name).parts) for name in names):
        return "files left", ", ".join(names[:5])
    return "faults", f"other files than without a kill: {', '.join(names[:5])}"


def campaign(count: int, seed: int, folder: Path, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Kill commands `count` times in all, each as often; the counts by command, and what the faults were."""
    torch.set_num_threads(1)
    rng, folder = random.Random(seed), folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    table: dict[str, dict[str, Any]] = {}
    for job in (made := jobs(folder)):
        counts: dict[str, Any] = dict.fromkeys(COLUMNS, 0)
        wanted, seconds = _unharmed(job, folder)
        details = []
        for _ in range(-(-count // len(made))):
            out = _start_folder(job, folder / job.name)
            kind = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
            moment = rng.uniform(0, seconds)
            pid = _run(job, out, False, folder / "killed.log")
            early = _wait(pid, moment)
            if early is None:
                os.killpg(pid, kind) if kind == signal.SIGKILL else os.kill(pid, kind)
                if _wait(pid, LONGEST) is None:
                    os.killpg(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    details.append(f"{kind.name} after {moment:.2f} s did not end it")
                    counts["faults"] += 1
            counts["kills" if early is None else "too late"] += 1
            outcome, said = _judged(job, out, wanted, folder)
            counts[outcome] += 1
            if said:
                details.append(f"{outcome}, {kind.name} after {moment:.2f} of {seconds:.2f} s: {said}")
            shutil.rmtree(out, ignore_errors=True)
        table[job.name] = {**counts, "details": details}
        say(f"{job.name}: {counts}")
    return table


def _start_folder(job: Job, out: Path) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    if job.before is not None:
        shutil.copytree(job.before, out)
    return out


def _unharmed(job: Job, folder: Path) -> tuple[dict[str, Any], float]:
    """What a run leaves that nobody kills, and how long it takes. Raises RuntimeError if it fails."""
    out, began = _start_folder(job, folder / job.name), time.monotonic()  # the card of a model names its folder
    if code := _finish(job, out, False, folder / "whole.log"):
        raise RuntimeError(f"{job.name} ends with {code}: {(folder / 'whole.log').read_text()[-800:]}")
    seconds = time.monotonic() - began
    wanted: dict[str, Any] = {"files": contents(out / job.result)}
    if job.before is not None:
        wanted["either"] = {_loaded(job.before), _loaded(out)}
    return wanted, seconds
