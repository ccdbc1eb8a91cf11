"""The benchmarks: one a file, measured in turn, judged by ratios."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from processor_time import patience

import benchmarks
from anymodal.errors import ConfigError
from anymodal.model import ModelConfig
from anymodal.sampling import Sampling
from benchmarks import speedrun
from benchmarks.__main__ import by_name, main, wanted
from benchmarks.harness import models, parts, report, revisions, rounds, twins, worker
from benchmarks.harness.base import BENCHMARKS, Figures, Part, Sample, Timed, Work, load, names
from benchmarks.quality import block_ratio

MACHINE = {"processor": "a processor", "cores": 2, "vectors": "AVX2", "python": "3.11", "torch": "2.13", "load": 0.5}
MACHINE |= {"revision": "abc", "date": "2026-01-02"}
FILES = sorted(path.stem for path in Path(benchmarks.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_a_benchmark_of_its_name(name):
    benchmark = load(name)
    assert type(benchmark).__module__ == f"benchmarks.{name}" and type(benchmark).__doc__
    if isinstance(benchmark, Timed):
        quick, every = benchmark.cases(True), benchmark.cases(False)
        assert every and len(quick) <= len(every)
        assert len({json.dumps(case, sort_keys=True) for case in every}) == len(every)


def test_the_page_has_the_aims_that_the_benchmarks_state():
    written = Path(benchmarks.__file__).parent / "results/aims.md"
    assert written.read_text() == f"{report.aims()}\n", "python -m benchmarks --list prints the table anew"
    assert all(load(name).target for name in names() if isinstance(load(name), Timed))
    page = (Path(benchmarks.__file__).parents[1] / "docs/reference/benchmarks.md").read_text()
    assert [name for name in names() if isinstance(load(name), Figures) and f"`{name}`" not in page] == []
    assert "1.35 times" in report.table([{"benchmark": "start", "model": "tiny", "threads": 1, "error": "none"}])


def test_blocks_are_steps_at_the_borders_of_patches():
    ramp = np.add.outer(np.arange(32.0), 2 * np.arange(32.0))[None, None]
    assert block_ratio(ramp, 8) == pytest.approx(1)
    tiled = ramp + 10 * np.kron(np.random.default_rng(0).standard_normal((4, 4)), np.ones((8, 8)))
    assert block_ratio(tiled, 8) > 3 and block_ratio(np.roll(tiled, 4, (2, 3)), 8) < 1
    flat = np.zeros((2, 3, 16, 16))
    assert block_ratio(flat, 8) == 0  # no border is to be seen


def figures(changed: dict[str, float]) -> dict[str, dict]:
    """Figures of `quality` that are at all thresholds, some of them changed."""
    found: dict[str, dict] = {}
    for name, value in {**speedrun.MOST, **speedrun.LEAST, **changed}.items():
        *keys, last = name.split(".")
        part = found
        for key in keys:
            part = part.setdefault(key, {})
        part[last] = value
    return found


def test_a_record_reaches_every_threshold_by_the_mean_of_its_seeds():
    assert speedrun.judged([figures({})])["met"]
    better, worse = {"rgb_to.semseg.miou": 0.8}, {"rgb_to.semseg.miou": 0.7}
    assert speedrun.judged([figures(better), figures({})])["met"]
    judged = speedrun.judged([figures(better), figures(worse)])
    assert not judged["met"] and [name for name, each in judged["figures"].items() if not each["met"]] == [*worse]
    assert judged["figures"]["rgb_to.semseg.miou"] == {"mean": 0.75, "threshold": "at least 0.76", "met": False}
    assert not speedrun.judged([figures({"rgb_to.normal.mean_angle": 13.0})])["met"]
    assert not speedrun.judged([figures({"rgb_to.normal.mean_angle": float("nan")})])["met"]


def test_the_page_of_the_speedrun_has_its_thresholds_and_small_pictures_set_no_record(checkpoint):
    page = (Path(benchmarks.__file__).parents[1] / "docs/reference/speedrun.md").read_text()
    told = dict(re.findall(r"^\| `(\S+)` \|.*\| (at \w+ [\d.]+) \|$", page, re.MULTILINE))
    assert told == {name: each["threshold"] for name, each in speedrun.judged([figures({})])["figures"].items()}
    with pytest.raises(ConfigError, match="sees pictures of 32 pixels; a record has 128 at least"):
        load("speedrun", {"model": str(checkpoint)}).run(quick=True)


def test_another_kind_of_measurement_is_one_more_entry():
    @BENCHMARKS.register("letters")
    @attrs.frozen
    class Letters(Figures):
        """How many letters a word has."""

        word: str = "four"

        def run(self, quick):
            return {"letters": len(self.word)}

    try:
        assert "letters" in names()
        assert load("letters", {"word": "three"}).run(False) == {"letters": 5}
        with pytest.raises(ConfigError, match="word"):
            load("letters", {"wort": "three"})
    finally:
        del BENCHMARKS["letters"]


def test_what_is_asked_for_wrongly_is_said():
    with pytest.raises(ConfigError, match="caption"):
        load("captoin")
    with pytest.raises(ConfigError, match=r"NAME\.SETTING=VALUE"):
        by_name(["quality=20"], ["quality"])
    named = ["quality", "data"]
    assert by_name(["quality.count=20", "data.data=x"], named) == {"quality": {"count": 20}, "data": {"data": "x"}}
    with pytest.raises(ConfigError, match="is of 'qualty', which is not run; did you mean 'quality'"):
        by_name(["qualty.count=20"], named)
    with pytest.raises(ConfigError, match="no revision"), revisions.checkout("no-such-revision"):
        pass


def test_what_fits_no_row_is_said(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # what would end this process
    monkeypatch.setattr(sys, "argv", ["benchmarks", "draw", "--only", "filter=top-p"])
    with pytest.raises(ConfigError, match="nothing was measured: no row fits --only"):
        main()


def test_memory_is_told_in_gigabytes(tmp_path):
    from benchmarks.retrieval import own_memory

    status = tmp_path / "status"
    status.write_text("VmRSS:\t 9 kB\nRssAnon:\t 1000000 kB\n")  # the kilobytes of Linux have 1024 bytes
    assert own_memory(status) == pytest.approx(1.024)


def test_cases_are_chosen_by_what_tells_them_apart():
    assert wanted({"size": "s", "batch": 8}, "size=s,batch=8") and wanted({"size": "s"}, "")
    assert not wanted({"size": "s", "batch": 8}, "batch=1")


class TestWorker:
    def test_the_floor_is_made_when_it_is_asked_for(self):
        made = []

        def floor():
            made.append(1)
            return [Part("sum", 3, torch.zeros(10).sum, 10, 40)]

        answers = worker.Worker(Work(lambda: None, floor))
        assert set(answers.run()) == {"wall", "cpu", "peak_mb"} and not made
        assert answers.count() == {"parts": [["sum", 3, 10, 40]]}
        assert len(answers.floor()["seconds"]) == 1 and len(made) == 1

    def test_work_may_measure_itself(self):
        assert worker.Worker(Work(lambda: Sample(1.0, 2.0, 3.0))).run() == {"wall": 1.0, "cpu": 2.0, "peak_mb": 3.0}


class TestRounds:
    def test_the_interval_of_a_median_follows_from_the_sign_test(self):
        values = list(range(1, 16))  # of 15, the 4th and the 12th (Conover, Practical Nonparametric Statistics)
        assert rounds.interval(values) == (4, 12)
        assert rounds.interval([1, 2, 3]) == (1, 3)

    def test_few_rounds_are_told_as_less_sure(self):
        """The least and the largest of n leave the median out where all n lie on one side of it: twice 2 to the -n."""
        assert [rounds.sureness(count) for count in (1, 3, 5, 6)] == [0, 0.75, 0.9375, 0.95]
        ratio = {"faster": 3.0, "low": 2.0, "high": 4.0}
        row = {"benchmark": "draw", "threads": 1, "wall": 2.0, "against": {"wall": ratio, "cpu": ratio, "seconds": 6.0}}
        told = [report.compared([row | {"rounds": count}]).splitlines()[-1] for count in (3, 6)]
        assert told[0].count("2.00 to 4.00 (75 %)") == 2 and told[1].count("2.00 to 4.00 |") == 2

    def test_revisions_are_asked_in_turn_and_compared_pair_by_pair(self):
        asked = []

        @attrs.frozen
        class Fake:
            name: str
            wall: float

            def ask(self, what):
                asked.append(self.name)
                return {"wall": self.wall, "cpu": self.wall, "peak_mb": 1}

        row = rounds._against(Fake("here", 1.0), Fake("there", 3.0), rounds.Limits(4, 4))
        assert asked[:4] in (["here", "there", "there", "here"], ["there", "here", "here", "there"])
        assert row["against"]["wall"] == {"faster": 3.0, "low": 3.0, "high": 3.0}

    def test_a_worker_may_say_more_than_a_pipe_holds(self, tmp_path):
        package = tmp_path / "benchmarks" / "harness"
        package.mkdir(parents=True)
        for folder in (package, package.parent):
            (folder / "__init__.py").touch()
        chatty = "sys.stderr.write('much ' * 2**16 + '\\nwhat went wrong\\n'); sys.stderr.flush()"
        answer = "sys.exit(3) if line == 'end\\n' else print(1, flush=True)"
        (package / "worker.py").write_text(f"import sys\nfor line in sys.stdin:\n    {chatty}\n    {answer}\n")
        with rounds.Process(rounds.Job("x", {}, {}, 1), [tmp_path]) as process:
            stopped = threading.Timer(patience(20), process.process.kill)
            stopped.start()
            assert process.ask("run") == process.ask("run") == 1
            with pytest.raises(rounds.WorkerError, match=r"^what went wrong$"):
                process.ask("end")
            stopped.cancel()

    @pytest.mark.slow
    def test_a_worker_that_fails_says_why(self):
        job = rounds.Job("draw", {}, {"filter": "none"}, 1)
        with pytest.raises(rounds.WorkerError, match="KeyError"):
            rounds.measure(job, revisions.folders(revisions.ROOT), None, rounds.Limits(1, 1))


@pytest.mark.slow
def test_a_row_is_measured_from_end_to_end(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "draw", "--quick", "--only", "filter=top_k", "--json"]
    done = subprocess.run([*command, str(tmp_path / "a.json")], cwd=revisions.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "a.json").read_text())
    (row,) = result["rows"]
    assert row["wall"] > 0 and row["floor"] > 0 and row["of_floor"] > 0 and row["peak_mb"] > 10
    assert result["machine"]["torch"] == torch.__version__ and "| draw |" in done.stdout
    old = {report.key(row): {**row, "wall": 3 * row["wall"], "cpu": 2 * row["cpu"]}}
    found = report.beside(row, old)["against"]
    assert found["wall"]["faster"] == pytest.approx(3) and found["cpu"]["faster"] == pytest.approx(2)
    assert "3.00 x" in report.compared([report.beside(row, old)])


def test_a_table_of_losses_pairs_seeds_with_the_plain_way():
    from benchmarks.losses import beside

    plain = [{"training": [5.0] * 10, "later": later} for later in (4.0, 4.2, 4.4)]
    other = [
        {"training": [5.0] * 9 + [5.25], "later": run["later"] + gap}
        for run, gap in zip(plain, (0, 0.01, 0.02), strict=True)
    ]
    found = {"plain": beside(plain, plain), "8-bit moments": beside(other, plain)}
    said = report.page({"machine": MACHINE, "rows": [], "figures": {"losses": found}})
    lines = said.splitlines()
    assert lines[0].startswith("2026-01-02, revision abc") and "3 seeds" in lines[2]
    assert "| plain | 5.000 |" in said and "| 4.200 ± 0.200 |  |  |" in said
    # Student's t of two degrees of freedom, 4.303, times 0.01 / sqrt(3)
    assert "| 5.250 | 4.210 ± 0.210 | 0.0100 ± 0.0248 | 0.0000, 0.0100, 0.0200 |" in said
    alone = {"plain": beside(plain[:1], plain[:1])}
    assert "| 4.000 |  |  |" in report.page({"machine": MACHINE, "rows": [], "figures": {"losses": alone}})


def test_a_page_has_what_its_file_of_results_has():
    row = {"benchmark": "draw", "filter": "plain", "threads": 1, "items": 1, "unit": "run", "wall": 2.0, "cpu": 2.0}
    row |= {"spread": [2.0, 2.0], "rounds": 6, "peak_mb": None}
    alone = report.page({"machine": MACHINE, "against": None, "rows": [row], "figures": {}})
    assert (
        "| draw | filter plain | 1 | 2 s (" not in alone and "| draw | filter plain | 1 | 2 s | 2 s to 2 s |" in alone
    )
    ratio = {"faster": 3.0, "low": 2.0, "high": 4.0}
    row["against"] = {"wall": ratio, "cpu": ratio, "seconds": 6.0}
    both = report.page({"machine": MACHINE, "against": "main", "rows": [row], "figures": {"growth": {}}})
    assert (
        both.splitlines()[-1]
        == "| draw | filter plain | 1 | 6 s | 2 s | 3.00 x | 2.00 to 4.00 | 3.00 x | 2.00 to 4.00 |"
    )


def test_products_are_counted():
    product = parts.Product(2, 3, 5, 7)
    assert product.flops == 2 * 2 * 3 * 5 * 7 and product.numbers == 3 * 5 * 7
    made = parts.part("x", 4, [product, parts.Attention(1, 2, 3, 4, 5, 6)])
    made.run()
    assert made.flops == product.flops + 4 * 2 * 3 * 4 * 5 * 6 and made.bytes == 4 * (105 + 2 * 2 * 4 * 5 * 6)


def test_scores_of_a_random_model_are_as_peaked_as_it_says(monkeypatch):
    small = ModelConfig(dim=16, encoder_depth=1, decoder_depth=1, heads=1)
    monkeypatch.setitem(models.SIZES, "s", small)
    model = models.transformer("s")
    states = torch.nn.functional.layer_norm(torch.randn(64, small.dim), (small.dim,))
    assert model.logits(states, "caption").std() == pytest.approx(models.DEVIATION, rel=0.1)


def test_the_twin_keeps_what_the_nucleus_holds():
    scores = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert twins.nucleus(scores, 0.7).isfinite().tolist() == [[True, True, False, False]]
    assert twins.drawn(scores, Sampling(temperature=0.0)).tolist() == [0]


def test_a_table_of_samplers_has_means_over_seeds_and_ratios_of_cost():
    from benchmarks.samplers import interval, table

    seeds = [{"cpu": 2.0, "scores": {"pairs_f1": f1, "kinds_found": 0.5}} for f1 in (0.1, 0.2, 0.3)]
    slow = [{"cpu": 5.0, "scores": {"pairs_f1": 0.4, "kinds_found": 0.25}}]
    said = table({"rgb/default": {"seeds": seeds}, "rgb/halton": {"seeds": slow}, "rgb/entropy 4": {"seeds": []}}, 40)
    assert "| default | 0.200 \u00b1 0.248 | 0.500 \u00b1 0.000 | 1.0 |" in said
    assert "| halton | 0.400 | 0.250 | 2.5 |" in said and "entropy" not in said and "semseg" not in said
    assert interval([1.0, 1.0]) == (1.0, 0.0) and interval([2.0])[1] == float("inf")


def test_other_sizes_leave_the_table_of_samplers_as_it_is(tmp_path, monkeypatch):
    from benchmarks import samplers

    table = tmp_path / "samplers.json"
    table.write_text('{"of": "hours of work", "rows": {}}')
    monkeypatch.setattr(samplers, "RESULTS", table)
    monkeypatch.chdir(tmp_path)
    asked = samplers.Samplers(only="depth", ways="one step, likeliest")
    assert asked.run(quick=True)
    assert json.loads(table.read_text())["of"] == "hours of work" and not table.with_suffix(".md").exists()
    assert "2 held-out scenes" in (tmp_path / "out/samplers.md").read_text()
    assert asked._file(quick=False) == table and attrs.evolve(asked, count=8)._file(quick=False) != table


def test_ways_of_sampling_pictures_draw_as_many_as_they_say():
    """The checkpoint draws several of its own accord."""
    import anymodal as am
    from anymodal.generation.plan import make_plan
    from benchmarks import refresh, samplers

    modalities = am.load("tiny", modalities=["rgb", "caption"]).modalities
    for label, how in {**samplers.PICTURES, "refresh": refresh.PICTURE}.items():
        (target,) = make_plan(modalities, ["rgb"], ["caption"], None, None, how)
        said = re.search(r"best of (\d)", label)
        assert target.sampling.samples == (int(said[1]) if said else 1), label
        assert target.sampling.choose == ("caption" if "for the caption" in label else ""), label


def test_defaults_of_the_embedded_model_are_the_winners_of_the_table_and_lie_in_its_checkpoint():
    """No way of sampling at about the cost of the default is better by more than both intervals."""
    import anymodal as am
    from benchmarks.samplers import RESULTS, SHOWN, interval

    rows = json.loads(RESULTS.read_text())["rows"]
    lower = {"abs_rel", "mean_angle"}  # of which less is better
    measured = {key.partition("/")[0] for key, row in rows.items() if row["seeds"]}
    assert {"rgb", "semseg", "depth", "normal"} <= measured
    for target in measured:
        score = SHOWN[target][0]
        own = {key.partition("/")[2]: row["seeds"] for key, row in rows.items() if key.startswith(f"{target}/")}
        cost = sum(each["cpu"] for each in own["default"])
        default, about = interval([each["scores"][score] for each in own["default"]])
        for label, seeds in own.items():
            if seeds and sum(each["cpu"] for each in seeds) <= 1.75 * cost:
                mean, half = interval([each["scores"][score] for each in seeds])
                gain = default - mean if score in lower else mean - default
                assert gain <= half + about, f"{target}: {label} is better than the default"
    for name in ("depth", "normal", "semseg"):
        modality = am.load("tiny", modalities=[name]).modalities[name]
        stored, code = modality.tuned_sampling(True), modality.sampling(True)
        assert stored.scheme.name == "mean" and code.scheme.name != "mean"
        assert modality.tuned["grounded"]["temperature"] == stored.temperature
