"""The commands that are interrupted, over small data, and their runs in forks of this process."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import attrs
import conftest
import torch
from datasets_made import write_config, write_pictures
from published_made import SEVEN, config_of, write_model, write_words
from small_runs import MODEL, STEPS, model_config, write_yaml

import anymodal as am
from anymodal.cli.main import main
from anymodal.errors import AnymodalError
from anymodal.model import ModelConfig
from anymodal.text import Vocabulary

LONGEST = 240.0  # seconds of a run that nobody interrupts


@attrs.frozen
class Job:
    """A command that writes into a folder.

    Args:
        name: what the tables call it.
        words: the words of the command line by the folder it writes to.
        resume: further words that take it up.
        result: the folder inside that is compared in the end.
        action: what is called instead of a command; it gets the folder, and 1 for the second of two writers, else 0.
        before: what lies in the folder at the start.
        inputs: the files that it reads.
        replaces: whether it takes another sample in the place of one that vanished and says so, which is no fault.
    """

    name: str
    words: Callable[[Path], list[str]] = lambda out: []
    resume: tuple[str, ...] = ()
    result: str = ""
    action: Callable[[Path, int], None] | None = None
    before: Path | None = None
    inputs: tuple[Path, ...] = ()
    replaces: bool = False


@attrs.frozen
class Run:
    """A run of a command, which leads a group of processes of its own."""

    pid: int
    log: Path

    def wait(self, seconds: float = LONGEST) -> int | None:
        """The exit code, negative for a signal, or None if it still runs after so many seconds."""
        end = time.monotonic() + seconds
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.kill()  # what it has started and left
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                return None
            time.sleep(0.002)

    def finish(self) -> int:
        """The exit code, 124 for a run that takes too long, which is ended."""
        if (code := self.wait()) is None:
            self.kill()
            os.waitpid(self.pid, 0)
            return 124
        return code

    def kill(self) -> None:
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace").strip()


def start(
    job: Job,
    out: Path,
    log: Path,
    again: bool = False,
    writer: int = 0,
    prepare: Callable[[], Callable[[], None] | None] = lambda: None,
) -> Run:
    """Begin a run in a fork of this process.

    Args:
        job: the command.
        out: the folder it writes to.
        log: gets what it says.
        again: whether it takes up what lies there.
        writer: 1 for the second of two writers.
        prepare: called in the fork first; what it returns is called after the run, if it comes to its end.
    """
    if pid := os.fork():
        with suppress(OSError):  # whoever comes first, parent or child, makes the group
            os.setpgid(pid, pid)
        return Run(pid, log)
    code, after = 70, None
    try:
        os.setpgid(0, 0)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        after = prepare()
        if job.action is not None:
            job.action(out, writer)
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
        if after is not None:
            after()
        os._exit(code)


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
    tokens = Job("tokens", lambda out: [*main_of, "--out", str(out)])
    assert start(tokens, folder / "tokens", folder / "log").finish() == 0
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
    whole = (*files_in(data), config, *files_in(config.parent / "tokenizers"))
    return [
        Job(
            "train",
            lambda out: ["train", str(train), "--out", str(out)],
            ("--resume",),
            "model",
            inputs=(train, *files_in(folder / "tokens"), *files_in(config.parent / "tokenizers")),
            replaces=True,
        ),
        Job(
            "train-tokenizer",
            lambda out: ["train-tokenizer", str(learn), "--out", str(out)],
            ("--resume",),
            "modalities",
            inputs=(learn, *files_in(data / "depth")),
            replaces=True,
        ),
        Job("tokenize", lambda out: [*main_of, "--out", str(out)], inputs=whole),
        Job("label", lambda out: [*label, "--out", str(out)], inputs=files_in(data / "rgb")),
        Job("scenes", lambda out: [*scenes, "--out", str(out)]),
        Job("convert", lambda out: [convert[0], convert[1], str(out), *convert[2:]], inputs=files_in(published)),
        Job("generate", lambda out: [*generate, "--out", str(out)], inputs=(picture, *files_in(old))),
        Job("save_pretrained", action=_save_other(model), before=old),
    ]


def files_in(folder: Path) -> tuple[Path, ...]:
    return tuple(path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")


def _save_other(model: am.AnyModel) -> Callable[[Path, int], None]:
    """Save a model whose weights have the other sign; those of the second writer are three times as large."""

    def save(out: Path, writer: int) -> None:
        with torch.no_grad():
            for each in parameters(model):
                each.mul_(3 if writer else -1)
        model.save_pretrained(out)

    return save


def parameters(model: am.AnyModel) -> list[torch.Tensor]:
    tokenizers = [m.tokenizer for m in model.modalities if m.tokenizer is not None]
    return [each for part in (model.transformer, *tokenizers) for each in part.parameters()]
