"""Loading a model from a file, in a process of its own after its imports."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordPiece

from anymodal.checkpoints.formats.fourm.config import write_model_config
from anymodal.checkpoints.formats.fourm.layout import VOCABULARY
from anymodal.checkpoints.formats.fourm.model import save_transformer
from benchmarks.harness.base import BENCHMARKS, Case, Part, Sample, Timed, Work
from benchmarks.harness.models import transformer, words

THREE = ["rgb", "depth", "normal"]
CHILD = """
import json, resource, sys, time
import anymodal as am
from anymodal.checkpoints.load import load
am.load
import torch, safetensors.torch
names = json.loads(sys.argv[2])
from pathlib import Path
wall, cpu = time.perf_counter(), time.process_time()
am.load(sys.argv[1], modalities=names, local_files_only=True)
spent = [time.perf_counter() - wall, time.process_time() - cpu]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = Path("/proc/self/status")
if status.exists():  # on Linux, that of getrusage begins with the peak of the process that started this one
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
print(json.dumps([*spent, peak / 1024]))
"""


@BENCHMARKS.register("loading")
@attrs.frozen
class Loading(Timed):
    """All of a published file, or three modalities of it; the floor is reading its bytes once."""

    target: ClassVar[str] = "1.1 times the size of the file, 1 s after the imports"

    def cases(self, quick: bool) -> list[Case]:
        if quick:
            return [{"size": "s", "modalities": "all"}]
        return [{"size": size, "modalities": names} for size in ("s", "B") for names in ("all", "three")]

    def prepare(self, case: Case) -> Work:
        self_destructing = tempfile.TemporaryDirectory()
        folder = Path(self_destructing.name)
        model = transformer(case["size"])
        save_transformer(model, folder)
        (folder / "config.json").write_text(json.dumps(write_model_config(model.config, model.layout)))
        write_words(folder)
        names = THREE if case["modalities"] == "three" else None
        del model

        def run() -> Sample:
            assert self_destructing
            command = [sys.executable, "-c", CHILD, str(folder), json.dumps(names)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return Sample(*json.loads(done.stdout.splitlines()[-1]))

        return Work(run, partial(floor, folder) if names is None else tuple)


def write_words(folder: Path) -> None:
    """A vocabulary with the ids of 4M's and made-up words, beside the model: the published file may not be here."""
    special = ["[PAD]", "[UNK]", "[SOS]", "[EOS]", *(f"[S_{k}]" for k in range(200))]
    special += [f"v{k}={v}" for k in range(4) for v in range(1000)]
    every = [*special, *(f"w{k}" for k in range(words() - len(special)))]
    tokenizer = Tokenizer(WordPiece({word: k for k, word in enumerate(every)}, unk_token="[UNK]"))
    marks = [AddedToken(word, special=True, normalized=False, single_word=k >= 4) for k, word in enumerate(special)]
    tokenizer.add_special_tokens(marks[:4])
    tokenizer.add_special_tokens(marks[4:])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.save(str(folder / VOCABULARY))


def floor(folder: Path) -> list[Part]:
    """Copying the bytes of the file into memory once; it has more of them than the model, which needs no tables for
    what grids are fed."""
    (path,) = folder.glob("*.safetensors")
    return [Part("read", 1, lambda: np.fromfile(path, np.uint8), 0, path.stat().st_size)]
