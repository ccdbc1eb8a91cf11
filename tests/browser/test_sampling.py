"""The port of the sampler in JavaScript beside the one of Python, step by step with the same random numbers."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch

from anymodal.generation import GuidedModel, SampleRng
from anymodal.generation import sequences as sequences_of_tokens
from anymodal.generation.logits import draw, probabilities
from anymodal.sampling import Sampling
from anymodal.sampling.options import plain_options
from anymodal.testing.tiny import tiny_model

PLACE = Path(__file__).parents[2] / "docs/browser"
FILTERS = [{}, {"top_p": 0.8}, {"top_k": 5}, {"min_p": 0.1}, {"top_k": 20, "min_p": 0.02, "top_p": 0.6}]
HOW = [
    {"scheme": "roar", "steps": 4},
    {"scheme": "roar", "steps": 8, "temperature": 3.0, "anneal": "onex:0.5:0.5", "top_p": 0.8},
    {"scheme": "roar", "steps": 5, "schedule": "cosine", "anneal": "down:0.2", "guidance": 2.0},
    {"scheme": "maskgit", "steps": 6, "schedule": "cosine", "anneal": "linear", "top_k": 12},
    {"scheme": "maskgit", "steps": 3, "temperature": 0.0},
    {"scheme": "mean", "temperature": 0.7},
]
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def draws() -> list[dict]:
    generator, found = torch.Generator().manual_seed(0), []
    for filters, temperature in itertools.product(FILTERS, (0.0, 0.7, 1.0, 3.0)):
        logits = 3 * torch.randn(20, 50, generator=generator)
        logits[0, :9] = logits[0].max() + 1  # equals at the edge of every filter
        logits[1] = 0.0
        uniform = torch.rand(20, generator=generator)
        uniform[2], uniform[3] = 0.0, 1 - 2**-24
        found.append({"logits": logits, "uniform": uniform, "temperature": temperature, "filters": filters})
    return found


def grids(model) -> list[dict]:
    """What each step of a real generation was asked and answered."""
    found = []
    for seed, how in enumerate(HOW):
        steps, original = [], GuidedModel.grid_logits

        def grid_logits(self, states, stream, requested, *rest, _steps=steps, _original=original):
            logits = _original(self, states, stream, requested, *rest)
            _steps.append({"requested": requested[0].tolist(), "logits": logits[0].tolist()})
            return logits

        GuidedModel.grid_logits = grid_logits
        try:
            picture = np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)
            told = [
                [step.decided.tolist(), dict(zip(step.positions.tolist(), step.tokens.tolist(), strict=True))]
                for step in model.stream({"rgb": picture}, "semseg", seed=seed, **how)
            ]
        finally:
            GuidedModel.grid_logits = original
        decided = [[positions, [known[p] for p in positions]] for positions, known in told]
        options = plain_options(attrs.evolve(model.modalities["semseg"].tuned_sampling(True), **how))
        found.append({"how": options, "length": 16, "seed": seed, "steps": steps, "decided": decided})
    return found


def chains(model) -> list[dict]:
    """Two maps of a picture, one from the other or each from the picture alone, as the checkpoint says."""
    found, original, targets = [], GuidedModel.grid_logits, ["depth", "semseg"]
    picture = np.random.default_rng(7).integers(0, 255, (32, 32, 3), np.uint8)
    how: dict = {"scheme": "roar", "steps": 3, "guidance": 1.0}
    for chain in ({}, {"grounded": True}, {"grounded": False, "free": True}):
        recorded: dict[str, list] = {name: [] for name in targets}

        def grid_logits(self, states, stream, requested, *rest, _recorded=recorded):
            logits = original(self, states, stream, requested, *rest)
            known = sorted(name for name in states[0].streams if name != stream.name)
            asked = {"positions": requested[0].tolist(), "known": known, "logits": logits[0].tolist()}
            _recorded[stream.name].append(asked)
            return logits

        model.bundle = attrs.evolve(model.bundle, chain=chain)
        GuidedModel.grid_logits = grid_logits
        try:
            out = model.generate({"rgb": picture}, targets, seed=3, **how)
        finally:
            GuidedModel.grid_logits = original
        usual = {name: model.modalities[name].tuned_sampling(True) for name in targets}
        options = {name: plain_options(attrs.evolve(each, **how)) for name, each in usual.items()}
        manifest = {
            "streams": [{"name": name, "kind": "grid", "length": 16} for name in targets],
            "sampling": {name: {"grounded": each, "free": each} for name, each in options.items()},
        }
        found.append({"manifest": manifest, "chain": chain, "targets": targets, "seed": 3, "recorded": recorded})
        found[-1] |= {"known": {"rgb.pixels": {}}, "told": {name: out.tokens[name].tolist() for name in targets}}
    return found


def texts(model) -> list[dict]:
    found = []
    for seed, how in enumerate([{"temperature": 0.0}, {"temperature": 1.0, "top_p": 0.9}, {"temperature": 0.5}]):
        logits = []

        class Recording(sequences_of_tokens.Autoregressive):
            def pick(self, scores, *rest, _logits=logits):
                _logits.append(scores[0].tolist())
                return super().pick(scores, *rest)

        original = sequences_of_tokens.Autoregressive
        sequences_of_tokens.Autoregressive = Recording
        try:
            told = [step.tokens.tolist() for step in model.stream({}, "caption", seed=seed, **how)]
        finally:
            sequences_of_tokens.Autoregressive = original
        space = model.modalities.layout["caption"].space
        stream = {"length": space.length, "sentinels": list(space.sentinels), "end": space.end}
        options = plain_options(attrs.evolve(model.modalities["caption"].tuned_sampling(False), **how))
        found.append({"how": options, "stream": stream, "seed": seed, "logits": logits, "told": told})
    return found


@pytest.fixture(scope="module")
def cases():
    model = tiny_model(["rgb", "semseg", "caption"])
    totals = (1, 2, 7, 64)
    plans = [{"how": plain_options(Sampling(**how)), "total": n} for how, n in itertools.product(HOW, totals)]
    calls = [["uniform", 5], ["order", 64], ["uniform", 700], ["order", 1], ["order", 1000]]
    seeds = [0, 1, 42, 2**31, 2**32 - 1]
    return {
        "draws": draws(),
        "plans": plans,
        "random": [{"seed": seed, "calls": calls} for seed in seeds],
        "grids": grids(model),
        "texts": texts(model),
        "chains": chains(tiny_model(["rgb", "depth", "semseg"])),
    }


@pytest.fixture(scope="module")
def ported(cases, tmp_path_factory):
    file = tmp_path_factory.mktemp("cases") / "cases.json"
    file.write_text(json.dumps(cases, default=lambda tensor: tensor.tolist()))
    command = ["node", str(Path(__file__).with_name("replay.mjs")), str(PLACE), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_same_ids_are_drawn(cases, ported):
    for case, found in zip(cases["draws"], ported["draws"], strict=True):
        ids, _ = draw(case["logits"], case["uniform"], case["temperature"], **case["filters"])
        assert ids.tolist() == found, (case["temperature"], case["filters"])


def test_probabilities_are_the_same(cases, ported):
    for case, found in zip(cases["draws"], ported["probabilities"], strict=True):
        wanted = probabilities(case["logits"], case["temperature"], **case["filters"])
        np.testing.assert_allclose(np.array(found), wanted.numpy(), rtol=1e-5, atol=1e-7)


def test_steps_and_temperatures_are_the_same(cases, ported):
    for case, found in zip(cases["plans"], ported["plans"], strict=True):
        wanted = [(step.count, step.temperature) for step in Sampling(**case["how"]).plan(case["total"])]
        assert [count for count, _ in found] == [count for count, _ in wanted], case
        np.testing.assert_allclose([heat for _, heat in found], [heat for _, heat in wanted], rtol=1e-12, atol=1e-15)


def test_random_numbers_are_those_of_pytorch(cases, ported):
    for case, found in zip(cases["random"], ported["random"], strict=True):
        rng = SampleRng(case["seed"])
        for (name, size), numbers in zip(case["calls"], found, strict=True):
            wanted = rng.order(np.arange(size)) if name == "order" else rng.uniform(size).numpy()
            np.testing.assert_array_equal(np.array(numbers, wanted.dtype), wanted)


def test_every_step_of_a_grid_decides_the_same(cases, ported):
    for case, found in zip(cases["grids"], ported["grids"], strict=True):
        assert len(case["steps"]) == len(found)
        for (wanted_at, wanted_ids), (at, ids) in zip(case["decided"], found, strict=True):
            assert dict(zip(wanted_at, wanted_ids, strict=True)) == dict(zip(at, ids, strict=True)), case["how"]


def test_every_token_of_a_text_is_the_same(cases, ported):
    for case, found in zip(cases["texts"], ported["texts"], strict=True):
        assert case["told"] == found, case["how"]


def test_targets_are_made_one_from_another_or_apart_as_the_checkpoint_says(cases, ported):
    told = [case["told"] for case in cases["chains"]]
    assert told == ported["chains"]
    chained, same, apart = told
    assert chained == same and chained["depth"] == apart["depth"] and chained["semseg"] != apart["semseg"]


def test_what_is_not_ported_is_refused_and_not_left_out(ported):
    several = "several draws of depth are not ported: ask for samples: 1"
    others = ["depth with refresh is not ported: ask for refresh: 1"]
    others.append("several views for depth are not ported: ask for views: 1")
    assert ported["refused"] == [several] * 3 + others


def test_where_no_input_is_there_to_choose_there_is_one_draw(ported):
    assert ported["single"] == ["one draw begins"] * 2


READ_TWICE = """
const { Model } = await import(process.argv[1]);
const reads = [];
const read = async (file) => {
  reads.push(file);
  if (reads.length === 1) throw new Error("the network is gone");
  return new Uint8Array(1);
};
const model = new Model({ InferenceSession: { create: async () => "opened" } }, read, () => {}, { streams: [] });
const graph = { file: "decode.onnx" };
const failed = await Promise.allSettled([model.session(graph), model.session(graph)]);
const told = [...failed.map(({ reason }) => reason.message), await model.session(graph), await model.session(graph)];
console.log(JSON.stringify([told, reads.length]));
"""


def test_a_graph_that_could_not_be_read_is_read_again():
    command = ["node", "--input-type=module", "-e", READ_TWICE, (PLACE / "model.mjs").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[*["the network is gone"] * 2, *["opened"] * 2], 2]
