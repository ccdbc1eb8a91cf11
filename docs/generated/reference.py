"""The parts of the reference: commands, configurations, rules, recipes and what they plan."""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import attrs
import click

import anymodal as am
from anymodal import errors
from anymodal.cli.main import Commands
from anymodal.cli.modalities import stream_facts
from anymodal.config import load_config
from anymodal.data.config import CropConfig, DataConfig
from anymodal.masking import SCHEMES as MASKINGS
from anymodal.masking import Component, MaskingConfig
from anymodal.model import ModelConfig
from anymodal.plugins.public import PUBLIC_MODULES
from anymodal.teachers.config import TowerConfig
from anymodal.testing.definition import TOPICS, Rule
from anymodal.testing.rules import RULES
from anymodal.tokenizers.config import MLPConfig, NoiseConfig, OverlapConfig, UNetConfig, UViTConfig, ViTConfig
from anymodal.tokenizers.quantizers.config import QUANTIZERS
from anymodal.training.moments import MOMENTS
from anymodal.training.multimodal.config import EvaluationConfig, TrainConfig
from anymodal.training.multimodal.estimate import plan, short
from anymodal.training.multimodal.start import LoraConfig, StartConfig
from anymodal.training.optim import OPTIMIZERS
from anymodal.training.schedules import SCHEDULES
from anymodal.training.settings import ParallelConfig, SavingConfig, TrainingSettings
from anymodal.training.teachers.config import TeacherRun
from anymodal.training.tokenizers.config import (
    AdversarialConfig,
    ExpectedConfig,
    PerceptualConfig,
    TokenizerRun,
    VocabularyConfig,
)
from anymodal.training.tokenizers.estimate import plan_tokenizer
from anymodal.training.trackers import TrackingConfig
from anymodal.transfer.tuning.settings import (
    MAP_HEADS,
    TASKS,
    TUNINGS,
    HeldOutConfig,
    ThinkConfig,
    TransferConfig,
)
from generated.tables import table

CONFIGURATIONS = (
    TrainConfig,
    StartConfig,
    LoraConfig,
    ModelConfig,
    MaskingConfig,
    Component,
    DataConfig,
    CropConfig,
    EvaluationConfig,
    TrainingSettings,
    ParallelConfig,
    SavingConfig,
    TrackingConfig,
    TokenizerRun,
    ViTConfig,
    MLPConfig,
    OverlapConfig,
    UNetConfig,
    UViTConfig,
    NoiseConfig,
    ExpectedConfig,
    PerceptualConfig,
    AdversarialConfig,
    VocabularyConfig,
    TeacherRun,
    TowerConfig,
    TransferConfig,
    HeldOutConfig,
    ThinkConfig,
    *(each[name] for each in (TASKS, TUNINGS, MAP_HEADS, MASKINGS) for name in each),
    *(each[name] for each in (OPTIMIZERS, MOMENTS, SCHEDULES, QUANTIZERS) for name in each),
)

ROOT = Path(__file__).parent.parent.parent
RECIPES = ROOT / "recipes"


def commands() -> str:
    """Every command of the command line: usage, what it does, examples, options."""
    group = Commands("anymodal")
    sections = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        sections += [_command(path, each) for path, each in _leaves(f"anymodal {name}", command)]
    return "\n\n".join(sections)


def modalities() -> str:
    """The installed modalities in a table, each with a link to its page of the gallery."""
    rows = []
    for name, candidate in am.modalities().items():
        modality = am.registry().modality(name)()
        link = f"[{name}](../gallery/{name}.md)"
        rows.append([link, candidate.summary, modality.family, *_ways(modality), f"`{candidate.distribution}`"])
    return table(["modality", "what", "family", "enters as", "leaves as", "package"], rows)


def stream_rows(modality: am.Modality) -> list[list[str]]:
    """The streams of an instance: name, what it holds, positions, order, and how it is used."""
    streams = [stream_facts(stream) for stream in modality.streams()]
    return [[f"`{s['stream']}`", s["holds"], _positions(s), s["order"], _used(s)] for s in streams]


def sampling_words(modality: am.Modality) -> str:
    """The defaults of generation, and those beside a photographic input where they differ."""
    alone, grounded = (_settings(modality.sampling(seen)) for seen in (False, True))
    return f"`{alone}`" + (f"; given a picture: `{grounded}`" if grounded != alone else "")


def kinds_of_files() -> str:
    """What the image-like modalities read from files of every kind: the files and the table are those of the tests."""
    sys.path.insert(0, str(ROOT / "tests"))
    import file_kinds

    names = ["rgb", "depth", "normal", "semseg", "canny_edge", "sam_instance"]
    with tempfile.TemporaryDirectory() as folder:
        return table(["file", *names], file_kinds.table(names, folder))


def configurations() -> str:
    """What configuration files may hold: a section for each class that they fill."""
    return "\n\n".join(map(_configuration, CONFIGURATIONS))


def error_tree() -> str:
    """The tree of errors as the module of errors draws it."""
    tree = (errors.__doc__ or "").partition("\n")[2].strip()
    return f"```text\n{tree}\n```"


def rules() -> str:
    """The rules of conformance by topic, a section each."""
    sections = []
    for topic in TOPICS:
        mine = [rule for _, rule in sorted(RULES.items()) if rule.topic == topic]
        sections += [f"## {topic.capitalize()}", *map(_rule, mine)]
    return "\n\n".join(sections)


def recipes() -> str:
    """The published models, a row each, from dry runs on 64 GPUs."""
    rows = []
    for path in sorted((RECIPES / "fourm").glob("*.yaml")):
        made = plan(load_config(path, TrainConfig), world=64)
        counts = made.parameters
        rows.append(
            [
                f"`{path.stem}`",
                str(len(made.modalities)),
                " / ".join(short(n or 0) for n in (counts.total, counts.published, counts.transformer)),
                f"{made.samples_per_step:,} × {made.tokens_per_step // made.samples_per_step}",
                f"{made.steps:,}",
                f"{made.peak_lr:g}",
                short(made.flops_per_step * made.steps),
                f"{made.memory.total / 2**30:.0f} GiB, {made.strategy}",
                made.start or "–",
            ]
        )
    columns = ["recipe", "modalities", "parameters", "batch × tokens", "steps", "peak lr", "FLOP", "memory", "from"]
    return table(columns, rows)


def tokenizer_recipes() -> str:
    """The published tokenizers at their first size, a row each, from dry runs on 8 GPUs."""
    rows = []
    for path in sorted((RECIPES / "fourm" / "tokenizers").glob("*.yaml")):
        if path.stem.endswith(("-448", "-512")):
            continue
        made = plan_tokenizer(load_config(path, TokenizerRun), world=8)
        parts = made.parameters
        rows.append(
            [
                f"`{path.stem}`",
                f"{made.tokens} of {made.ids}",
                f"{short(parts.encoder)} / {short(parts.decoder)}",
                f"{made.samples_per_step:,}",
                f"{made.steps:,}",
                f"{made.peak_lr:g}",
                short(made.flops_per_step * made.steps),
                f"{made.memory.total / 2**30:.0f} GiB",
            ]
        )
    columns = ["recipe", "tokens of ids", "encoder / decoder", "batch", "steps", "peak lr", "FLOP", "memory"]
    return table(columns, rows)


def public_modules() -> str:
    """The modules that a plugin may import from, and what each holds."""
    return table(
        ["module", "what"],
        [
            [f"`anymodal.{name}`", (import_module(f"anymodal.{name}").__doc__ or "").partition("\n\n")[0]]
            for name in PUBLIC_MODULES
        ],
    )


def _leaves(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The command, or those of a group, with the words that call it."""
    if isinstance(command, click.Group):
        for name, each in sorted(command.commands.items()):
            yield from _leaves(f"{path} {name}", each)
    else:
        yield path, command


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    prose, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    records = [p.get_help_record(context) for p in command.params if isinstance(p, click.Option)]
    # A bracket would open a cross-reference.
    options = [[f"`{name}`", text.replace("[", "\\[")] for name, text in filter(None, records)]
    parts = [f"## {path}", f"```text\n{usage}\n```", prose.strip(), table(["option", "meaning"], options)]
    return "\n\n".join([*parts, *([f"```bash\n{examples.strip()}\n```"] if examples else [])])


def _configuration(cls: type) -> str:
    rows = [
        [f"`{field.name}`", f"`{_kind(field.type)}`", _default(field)]
        for field in attrs.fields(attrs.resolve_types(cls))
    ]
    return "\n\n".join([f"### {cls.__name__}", inspect.getdoc(cls) or "", table(["key", "type", "default"], rows)])


def _kind(annotation: Any) -> str:
    name = annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    return re.sub(r"\b(?:\w+\.)+", "", name)


def _default(field: attrs.Attribute) -> str:
    if field.default is attrs.NOTHING:
        return "required"
    if not isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        return f"`{field.default!r}`"
    if field.default.takes_self:
        return "from the others"
    made = field.default.factory()
    return "empty" if not attrs.has(type(made)) else f"`{type(made).__name__}`"


def _rule(rule: Rule) -> str:
    facts = [["level", rule.level], ["for", rule.scope], ["fix", rule.fix]]
    facts += [["after", ", ".join(f"[{n}](#{n.lower()})" for n in rule.after)]] if rule.after else []
    facts += [["profile", rule.profile]] if rule.profile != "quick" else []
    return "\n\n".join([f"### {rule.number}", f"**{rule.title}.** {rule.why}", table(["", ""], facts)])


def _ways(modality: am.Modality) -> tuple[str, str]:
    """What a modality enters and leaves the model as."""

    def kinds(side: str) -> str:
        used = [s for s in modality.streams() if getattr(s, side)]
        return " or ".join("numbers" if s.is_dense else "tokens" for s in used) or "–"

    return kinds("input"), kinds("target")


def _positions(stream: dict[str, Any]) -> str:
    return " × ".join(map(str, stream["shape"])) if stream["shape"] else f"up to {stream['length']}"


def _used(stream: dict[str, Any]) -> str:
    return " and ".join(way for way in ("input", "target") if stream[way])


def _settings(sampling: am.Sampling) -> str:
    """The scheme, and what is not at its default."""
    off = attrs.asdict(am.Sampling(), recurse=False)
    values = {k: v for k, v in attrs.asdict(sampling, recurse=False).items() if k == "scheme" or v != off[k]}
    plain = {k: v if isinstance(v, (int, float)) else str(v) for k, v in values.items()}
    return ", ".join(f"{key}={value!r}" for key, value in plain.items())
