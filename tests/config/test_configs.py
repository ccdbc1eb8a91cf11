"""Configurations: files built on files, overrides that reach everywhere, and what is printed loads again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_runs import command

from anymodal.config import dump_config, load_config, override_value, parse_yaml, structure
from anymodal.errors import ConfigError
from anymodal.masking import Component, MaskingConfig
from anymodal.masking.config import spelled_out
from anymodal.spaces import LEFT_TO_RIGHT, DenseSpace, Stream, TokenSpace
from anymodal.tokens import Layout
from anymodal.training.multimodal.config import TrainConfig
from anymodal.training.teachers.config import TeacherRun
from anymodal.training.tokenizers.config import TokenizerRun
from anymodal.training.trackers import TrackingConfig

RECIPES = Path(__file__).parents[2] / "recipes" / "tiny"
SCHEMAS = {"model": TrainConfig, "pictures": TrainConfig}


def read(text: str, schema: type, folder: Path, *overrides: str) -> Any:
    path = folder / "config.yaml"
    path.write_text(text)
    return load_config(path, schema, overrides)


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_printed_loads_as_the_same(path, tmp_path):
    schema = TeacherRun if path.parent.name == "teachers" else SCHEMAS.get(path.stem, TokenizerRun)
    config = load_config(path, schema)
    assert read(dump_config(config), schema, tmp_path) == config


names = st.text("abcdef_.*:{}é ", min_size=1, max_size=6)
shares = st.dictionaries(names, st.floats(0, 1e6), max_size=3)


@given(inputs=shares, weight=st.floats(1e-6, 1e6), keep=st.dictionaries(names, st.sampled_from(["all", "none"])))
def test_any_mixture_survives_being_printed(tmp_path_factory, inputs, weight, keep):
    config = MaskingConfig(components=[Component(inputs, {"a": 1.0}, weight, keep, (1, 2))], chunks={"a": 2})
    assert structure(yaml.safe_load(dump_config(config)), MaskingConfig, "here") == config


def test_print_config_fills_in_defaults_and_overrides(capsys):
    assert command("train", RECIPES / "model.yaml", "--print-config", "--json", "--set", "training.steps=7") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["training"]["steps"] == 7 and printed["training"]["optimizer"]["betas"] == [0.9, 0.95]
    assert printed["parallel"] == {"strategy": "ddp", "checkpoint_activations": False, "compile": False}


@pytest.mark.parametrize(
    ("verb", "recipe"),
    [("train", "model.yaml"), ("train-tokenizer", "rgb.yaml"), ("train-teacher", "teachers/clip.yaml")],
)
def test_a_run_needs_a_folder(verb, recipe, capsys):
    assert command(verb, RECIPES / recipe) == 2
    assert "missing option '--out'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "recipe", "meant"),
    [
        ("train", "rgb.yaml", "train-tokenizer"),
        ("train-tokenizer", "pictures.yaml", "train"),
        ("train-tokenizer", "teachers/clip.yaml", "train-teacher"),
        ("train-teacher", "model.yaml", "train"),
    ],
)
def test_a_recipe_of_another_command_is_told(verb, recipe, meant, tmp_path, capsys):
    assert command(verb, RECIPES / recipe, "--out", tmp_path / "out") == 2
    assert f"{recipe} is for `anymodal {meant}`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@attrs.frozen(kw_only=True)
class Inner:
    a: int = 0
    b: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class Outer:
    x: Inner = Inner()
    several: tuple[Inner, ...] = ()
    text: str = ""
    maybe: Inner | None = None
    rate: float = 0.0
    free: dict[str, Any] = attrs.field(factory=dict)


@pytest.mark.parametrize("text", ["1e-2", "1E-02", "1.e-2", "0.1e-1", ".1e-1", "+1e-2", "100e-4"])
def test_numbers_may_be_written_with_an_exponent_alone(text, tmp_path):
    written = read(f"rate: {text}\nfree: {{low: {text}}}", Outer, tmp_path)
    assert written == read("{}", Outer, tmp_path, f"rate={text}", f"free.low={text}")
    assert written.rate == written.free["low"] == 0.01
    assert read("x: {a: 1e3}", Outer, tmp_path).x.a == 1000


def test_text_that_looks_like_a_number_survives_being_printed(tmp_path):
    config = Outer(text="1e5", free={"a": "1e-3", "b": 1e-05, "c": 1e22})
    assert read(dump_config(config), Outer, tmp_path) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x: {a: 1}\ntext: b\nx: {a: 2}", "the key 'x' is given twice, first in line 1 in line 3"),
        ("text: 2026-13-45", "is not YAML: month must be in 1..12"),
        ("[" * 2000, "nested too deeply"),
    ],
)
def test_yaml_that_cannot_be_meant_is_refused(text, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        read(text, Outer, tmp_path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.lr=fast", "training.lr must be a number, got 'fast'"),
        ("training.lr=", "training.lr must be a number, got None"),
        ("training.optimizer={betas: 0.9}", "training.optimizer.betas must be a list, got 0.9"),
        ("training.optimizer={betas: [0.9]}", "training.optimizer.betas must be a list of 2, got [0.9]"),
        ("training.optimizer={betas: [0.9, x]}", "training.optimizer.betas[1] must be a number, got 'x'"),
        ("training.optimizer=sgd", "training.optimizer: there is no optimizer 'sgd'; choose from adamw, muon"),
        ("training=5", "training must be keys and values, got 5"),
        ("modalities=[rgb]", "modalities must be keys and values, got ['rgb']"),
        ("modalities.rgb=5", "modalities.rgb must be keys and values, got 5"),
        ("masking.components.0.inputs=5", "masking.components[0].inputs must be keys and values, got 5"),
        ("stream_weights.rgb=x", "stream_weights.rgb must be a number, got 'x'"),
        ("data=", "data must be a list, got None"),
        ("data={}", "data[0].path must be given"),
        ("data=[a, 5]", "data[1].path must be text, got 5"),
        ("data=[{path: a, crop: {flip: x}}]", "data[0].crop.flip must be a number, got 'x'"),
        ("data=[{path: a, modalities: rgb}]", "data[0].modalities must be a list, got 'rgb'"),
        ("evaluation=out", "evaluation must be keys and values, got 'out'"),
        ("evaluation={every: 5}", "evaluation.data must be given"),
        ("start={model: tiny, freeze: encoder}", "start.freeze must be a list, got 'encoder'"),
        ("workers=-1", "TrainConfig.workers must be at least 0, got -1"),
        ("workers=1000000000", "TrainConfig.workers must be at most 1024, got 1000000000"),
        ("training.steps=1000000000000", "TrainingSettings.steps must be from 1 to 999999999999, got 1e+12"),
        ("training.batch_size=1000000000000", "TrainingSettings.batch_size must be from 1 to 16777216, got 1e+12"),
        ("training.accumulate=1000000000", "TrainingSettings.accumulate must be from 1 to 16777216, got 1e+09"),
        (
            "training.seed=18446744073709551616",
            "TrainingSettings.seed must be in [0, 9223372036854775807], got 18446744073709551616",
        ),
        ("masking.input_tokens=-3", "masking needs input_tokens and target_tokens of at least 0, got -3 and 160"),
        ("masking.target_tokens=0", "masking.target_tokens must be at least 1, got 0"),
        (
            "masking.components.0.weight=.nan",
            "the weight of a mixture component must be a number from 0 to 1e+15, got nan",
        ),
        (
            "masking.components.0.inputs.depth=.inf",
            "depth in inputs of a mixture component must be a number from 0 to 1e+15, got inf",
        ),
        (
            "masking.components=[{inputs: {}, targets: {rgb: 1}, weight: 0}]",
            "all components of the mixture have the weight 0; give one of them more",
        ),
        ("stream_weights.rgb=-1", "stream_weights.rgb must be a number from 0 to 1e+15, got -1.0"),
        ("stream_weights.rgb=1e308", "stream_weights.rgb must be a number from 0 to 1e+15, got 1e+308"),
        (
            "masking.components.0.weight=1e308",
            "the weight of a mixture component must be a number from 0 to 1e+15, got 1e+308",
        ),
        ("data=[{path: a, weight: 1e308}]", "the weight of a must be a number from 1e-15 to 1e+15, got 1e+308"),
        ("data=[{path: a, weight: 0}]", "the weight of a must be a number from 1e-15 to 1e+15, got 0.0"),
        ("sampling.dept.grounded.steps=1", "sampling names 'dept', which is not in the set; did you mean 'depth'?"),
        (
            "sampling.depth.groundd.steps=1",
            "sampling.depth has 'groundd'; did you mean 'grounded'?; known: grounded, free",
        ),
        (
            "sampling.depth.free.step=1",
            "sampling.depth.free has no option 'step'; did you mean 'steps'?; known: scheme, steps, schedule,"
            " temperature, anneal, top_k, top_p, min_p, guidance, refresh, views, samples, choose",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_its_place(override, said):
    with pytest.raises(ConfigError) as caught:
        load_config(RECIPES / "model.yaml", TrainConfig, [override])
    assert str(caught.value) == f"{RECIPES / 'model.yaml'}: {said}"


def test_a_key_with_nothing_behind_it_is_empty():
    config = load_config(RECIPES / "model.yaml", TrainConfig, ["modalities.rgb=", "stream_weights=", "tracking="])
    assert config.modalities["rgb"] == {} and config.stream_weights == {} and config.tracking == TrackingConfig()
    with pytest.raises(ConfigError, match=r"training\.steps, training\.batch_size, training\.lr must be given"):
        load_config(RECIPES / "model.yaml", TrainConfig, ["training="])


def test_a_file_is_built_on_another(tmp_path):
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "lowest.yaml").write_text("x: {a: 1, b: [1, 2, 3]}\ntext: lowest\nmaybe: {a: 5}\n")
    (tmp_path / "low" / "middle.yaml").write_text("base: lowest.yaml\nx: {b: [4]}\n")
    config = read("base: low/middle.yaml\ntext: top\nmaybe: null\n", Outer, tmp_path, "x.a=2")
    assert config == Outer(x=Inner(a=2, b=(4,)), text="top", maybe=None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: config.yaml", "is built on"),
        ("base: other.yaml", "is built on"),
        ("base: none.yaml", "no such file.*none.yaml, the 'base' of"),
        ("base: [a]", "must be the path"),
        ("base: list.yaml", "keys and values"),
    ],
)
def test_wrong_bases_are_named(text, words, tmp_path):
    (tmp_path / "other.yaml").write_text("base: config.yaml")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match=words):
        read(text, Outer, tmp_path)


def test_overrides_reach_into_lists(tmp_path):
    text = "several: [{a: 1}, {a: 2, b: [5, 6]}]"
    config = read(text, Outer, tmp_path, "several.1.a=3", "several.1.b.0=9", "several.0={a: 7}", "maybe.a=4")
    assert config.several == (Inner(a=7), Inner(a=3, b=(9, 6))) and config.maybe == Inner(a=4)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("several.2.a=1", "names the part '2' of a list; known: 0 to 1"),
        ("several.first=1", "known: 0 to 1"),
        ("several.1.c=1", r"unknown key 'several\[1\].c'.*known: a, b"),
        ("several.1.b.0=1", "known: none, it is empty"),
        ("text.a=1", "goes through 'text', which holds the plain value 'words'"),
        ("x=[", "is not YAML"),
    ],
)
def test_wrong_overrides_name_what_is_known(override, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        read("text: words\nseveral: [{a: 1}, {b: []}]", Outer, tmp_path, override)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("maybe.a=4", "maybe.a=5"), "maybe.a is given twice, the second time as 'maybe.a=5'"),
        (("maybe.a=4", "maybe.a=4"), "given twice"),
        (("maybe.a=4", "text=x", "maybe={b: [1]}"), "replaces maybe.a, which is given before it"),
    ],
)
def test_overrides_of_which_nothing_would_be_left_are_refused(overrides, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        read("text: words", Outer, tmp_path, *overrides)
    assert read("text: words", Outer, tmp_path, "maybe={a: 4}", "maybe.b=[1]").maybe == Inner(a=4, b=(1,))


@pytest.mark.parametrize(
    ("arguments", "twice"),
    [
        (["train", RECIPES / "model.yaml", "--print-config"], "training.steps"),
        (["train-tokenizer", RECIPES / "normal.yaml", "--print-config"], "training.steps"),
        (["train-teacher", RECIPES / "teachers/dinov2.yaml", "--print-config"], "training.steps"),
        (["transfer", RECIPES.parent / "transfer/boxes3d.yaml", "--print-config"], "training.steps"),
        (["tokenize", "DATA", "--config", RECIPES / "model.yaml", "--out", "OUT"], "training.steps"),
        (["data", "check", "DATA", "--config", RECIPES / "model.yaml"], "training.steps"),
        (["label", "DATA", "--with", "normal", "--out", "OUT"], "normal.size"),
        (["eval", "semseg", "DATA"], "steps"),
        (["generate", "caption=a dog", "--to", "depth", "--out", "OUT"], "depth.steps"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_command_refuses_the_same_key_twice(arguments, twice, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    words = [{"DATA": data, "OUT": out}.get(word, word) if isinstance(word, str) else word for word in arguments]
    assert command(*words, "--set", f"{twice}=2", "--set", f"{twice}=3") == 2
    said = capsys.readouterr().err
    assert f"{twice.removeprefix('target.')} is given twice" in said.replace("target.", ""), said
    assert not out.exists()


@given(st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner) | st.lists(inner)))
def test_an_override_changes_what_it_names_or_refuses(raw):
    whole = {"top": raw}
    try:
        override_value(whole, "top.a.0=5")
    except ConfigError:
        return
    inside = whole["top"]["a"]
    assert inside[0] == 5 if isinstance(inside, list) else inside["0"] == 5


def layout() -> Layout:
    text = TokenSpace.sequence(100, 16, sentinels=(90, 10), end=1)
    return Layout(
        [
            Stream("rgb.pixels", "rgb", DenseSpace.grid(12, 2, 2), target=False),
            Stream("rgb", "rgb", TokenSpace.grid(8, 2, 2)),
            Stream("caption", "caption", text),
            Stream("t5", "t5", DenseSpace(6, 4, LEFT_TO_RIGHT), target=False),
            Stream("only", "only", TokenSpace.grid(8, 2, 2), input=False),
        ]
    )


def test_a_star_stands_for_all_that_is_not_named_and_fits():
    given = Component({"*": 0.5, "rgb.pixels": 9.0}, {"caption": 2.0, "*": 1.0}, keep={"*": "all", "t5": "none"})
    (component,) = spelled_out(MaskingConfig(components=[given]), layout()).components
    assert component.inputs == {"rgb.pixels": 9.0, "rgb": 0.5, "caption": 0.5, "t5": 0.5}
    assert component.targets == {"rgb": 1.0, "caption": 2.0, "only": 1.0}
    assert component.keep == {"caption": "all", "t5": "none"}


def test_components_without_targets_and_keeps_without_sequences_are_refused():
    nothing = Component({"rgb": 1.0}, {"rgb.pixels": 1.0, "caption": 0.0})
    with pytest.raises(
        ConfigError, match=r"component 0 of the mixture has no targets.*that can be: rgb, caption, only"
    ):
        spelled_out(MaskingConfig(components=[nothing]), layout())
    with pytest.raises(
        ConfigError, match="keep of component 0 names 'rgb', which is no sequence; sequences: caption, t5"
    ):
        spelled_out(MaskingConfig(components=[Component({}, {"rgb": 1.0}, keep={"rgb": "all"})]), layout())


def test_without_a_star_nothing_is_added_and_unknown_names_are_refused():
    plain = Component({"rgb": 1.0}, {"caption": 1.0})
    assert spelled_out(MaskingConfig(components=[plain]), layout()).components == (plain,)
    with pytest.raises(ConfigError, match=r"'rgbs', which is not in the set; did you mean 'rgb'"):
        spelled_out(MaskingConfig(components=[Component({"*": 1.0, "rgbs": 1.0}, {})]), layout())


def test_aliases_that_unfold_without_end_are_refused_at_once():
    lines = ["&m0 [x, x]", *(f"&m{i} [*m{i - 1}, *m{i - 1}]" for i in range(1, 40))]
    with pytest.raises(ConfigError, match="unfold to more than 100000 values"):
        parse_yaml(f"workers: [{', '.join(lines)}]")
    with pytest.raises(ConfigError, match="unfold"):
        parse_yaml("a: &a [*a]")
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_messages_are_one_line_of_bounded_length():
    message = str(ConfigError("x" * 10**6 + "\x1b[2J\n" + "end"))
    assert len(message) < 2000 and message.endswith("end") and "\n" not in message and "\x1b" not in message
    assert str(ConfigError("a\x1b]0;b\x07\u202e")) == "a\\x1b]0;b\\x07\\u202e"
    assert str(ConfigError("größer 漢字 🙂")) == "größer 漢字 🙂"
