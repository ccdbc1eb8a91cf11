"""generate/cases of the second layout: whole runs of the sampler, with the original's random choices replayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from anymodal.checkpoints.formats.fourm.domains import DOMAINS, END
from anymodal.generation import Sampler, SampleRng, SampleState, Target, TargetRun
from anymodal.generation.grids import GridDecoder
from anymodal.generation.infill import Text
from anymodal.generation.logits import COLD, filter_logits
from anymodal.generation.sequences import Autoregressive
from anymodal.masking import merge_spans
from anymodal.sampling import Anneal, MaskGit, Roar, Sampling, Scheme, TokenSchedule
from anymodal.spaces import TokenSpace
from parity.batches import known_samples
from parity.results import Result, attempt
from parity.transformer import nested, stored_model

Arrays = dict[str, dict[str, np.ndarray]]


@attrs.frozen
class RecordedTarget(Target):
    """A target with the most tokens of a sequence, the id that ends it, and whether the most likely ids are taken."""

    length: int | None = None
    until: int | None = None
    greedy: bool = False


class RecordedText(Text):
    """A text that ends at one id alone, as in the original; it stays if it is no sentinel."""

    def __init__(self, prompt: np.ndarray, space: TokenSpace, until: int) -> None:
        super().__init__(prompt, space)
        self.until = until

    def ends(self, token: int) -> bool:
        return token == self.until

    def value(self, length: int, count: int | None = None) -> np.ndarray:
        return merge_spans(self.prompt, np.array(self.written[:count], np.int64), self.space)


class _Greedy:
    """Takes the most likely ids at any temperature where the target says so."""

    greedy = False

    def run(self, run: TargetRun) -> Any:
        self.greedy = getattr(run.target, "greedy", False)
        return super().run(run)  # type: ignore[misc]

    def pick(self, logits: Tensor, uniform: Tensor, temperature: Any, how: Sampling) -> tuple[Tensor, Tensor]:
        if not self.greedy:
            return super().pick(logits, uniform, temperature, how)  # type: ignore[misc]
        temperatures = torch.as_tensor(temperature, dtype=torch.float32).expand(len(logits)).clone()
        temperatures[temperatures <= COLD] = 1
        likely = (filter_logits(logits.float(), how.top_k, how.top_p) / temperatures[:, None]).softmax(-1).max(-1)
        return likely.indices, likely.values


class RecordedGrids(_Greedy, GridDecoder):
    pass


class RecordedSequences(_Greedy, Autoregressive):
    """Texts of a recorded length that end at a recorded id."""

    def text(self, run: TargetRun, prompt: np.ndarray, start: np.ndarray | None) -> Text:
        until = getattr(run.target, "until", None)
        assert isinstance(run.stream.space, TokenSpace)
        return super().text(run, prompt, start) if until is None else RecordedText(prompt, run.stream.space, until)

    def length(self, run: TargetRun) -> int:
        length = getattr(run.target, "length", None)
        return super().length(run) if length is None else length


@attrs.frozen
class _RecordedMaskGit(MaskGit):
    name: str = attrs.field(init=False, default="recorded_maskgit")
    implementation = RecordedGrids


@attrs.frozen
class _RecordedRoar(Roar):
    name: str = attrs.field(init=False, default="recorded_roar")
    implementation = RecordedGrids


@attrs.frozen
class _RecordedAutoregressive(Scheme):
    name: str = attrs.field(init=False, default="recorded_autoregressive")
    sequences = True
    implementation = RecordedSequences


RECORDED = {"maskgit": _RecordedMaskGit(), "roar": _RecordedRoar(), "autoregressive": _RecordedAutoregressive()}


@attrs.frozen
class RecordedCounts(TokenSchedule):
    """The tokens of each recorded step."""

    recorded: Sequence[int]

    def counts(self, total: int, steps: int) -> list[int]:
        return list(self.recorded)


@attrs.frozen
class RecordedTemperatures(Anneal):
    """The temperature of each recorded step."""

    recorded: Sequence[float]

    def temperatures(self, temperature: float, counts: list[int]) -> list[float]:
        return list(self.recorded)


class Replayed(SampleRng):
    """The choices of one sample in a recorded run.

    `orders` are those of its grids in random order, one a target; `kept` the recorded choices of its parallel steps by
    number of step, or None where our own are to be compared. Ids of such steps are compared with `predicted`.
    """

    def __init__(
        self,
        orders: list[np.ndarray],
        predicted: Sequence[np.ndarray],
        kept: Sequence[np.ndarray],
        prescribed: bool,
    ) -> None:
        super().__init__(0)
        self._orders, self._predicted, self._kept, self._prescribed = iter(orders), predicted, kept, prescribed
        self._step = 0
        self.wrong = 0

    def order(self, positions: np.ndarray) -> np.ndarray:
        return next(self._orders)

    def choose(self, ids: np.ndarray, confidence: np.ndarray, count: int) -> np.ndarray:
        predicted, kept = self._predicted[self._step], self._kept[self._step]
        self._step += 1
        mine = super().choose(ids, confidence, count)
        self.wrong += int((ids != predicted).sum()) if len(ids) == len(predicted) else len(ids)
        if self._prescribed:
            return kept
        self.wrong += len(set(mine.tolist()) ^ set(kept.tolist()))
        return mine

    def branch(self, count: int) -> list[SampleRng]:
        return [self] * count


def verify_runs(folder: Path, cases: list[dict[str, Any]]) -> Iterator[Result]:
    """Every recorded run of a folder generate/ beside its fm/."""
    load = cache(lambda name: stored_model(folder.parent / name))
    with np.load(folder / "cases.npz", allow_pickle=False) as file:
        flat = {key: file[key] for key in file.files}
    shared = {"t5_caption": flat.get("t5_caption_tensor")}
    pictures = folder.parent / "fm/input_all21.npz"
    if pictures.is_file():
        with np.load(pictures, allow_pickle=False) as file:
            shared["rgb@224"] = file["rgb@224/tensor"]
    for case in cases:
        mine = {k.removeprefix(f"{case['name']}/"): v for k, v in flat.items() if k.startswith(f"{case['name']}/")}
        yield from attempt(f"generate/{case['name']}", partial(_run, case, load, mine, shared))


def _run(case: Mapping[str, Any], load: Any, flat: Mapping[str, np.ndarray], shared: Mapping[str, Any]) -> Result:
    model = load(case["model"])
    arrays = nested(flat)
    given = {name: arrays[f"in/{name}"] for name in case["input_order"]}
    for number, names in enumerate(case["cond_dicts_order"]):
        given |= {name: arrays[f"cond{number}/{name}"] for name in names}
    for name, fields in given.items():
        if "tensor" not in fields:
            tensor = shared[name][: len(fields["input_mask"])]
            fields["tensor"] = np.roll(tensor, case["rgb_roll"], -1) if name == "rgb@224" else tensor
    samples = known_samples(model.layout, given)
    plan = _plan(case, given)
    rngs = _draws(case, given, flat, len(samples))
    only_first = case["call"] == "generate_multi_guided" and plan[0].sampling.scheme is RECORDED["roar"]
    plan = plan[:1] if only_first else plan
    for step in Sampler(model).run(samples, plan, rngs):
        if only_first and step.sample == len(samples) - 1:
            break
    wrong, total = float(sum(d.wrong for d in rngs)), 0
    for name in case["targets"][: len(plan)]:
        theirs = arrays[f"out/{name}"]
        for b, sample in enumerate(samples):
            tensor = theirs["tensor"][b]
            if _is_sequence(name):
                expected = tensor[~theirs["input_mask"][b]]
            else:
                expected = tensor[sample.streams[DOMAINS[name].stream].positions]
            wrong += _difference(sample, DOMAINS[name].stream, expected)
            total += len(expected)
    replayed = sum(step["scheme"] == "maskgit" for step in case["schedule"])
    note = f"of {total} tokens" + (f" and of the predictions of {replayed} parallel steps" if replayed else "")
    if only_first:
        note += "; the first step only, after which the original shows its conditions the wrong tokens"
    return Result(f"generate/{case['name']}", wrong, 0, note)


def _difference(sample: SampleState, stream: str, expected: np.ndarray) -> float:
    """How many tokens differ, with texts compared up to the end mark: ours stop there."""
    mine = np.concatenate(sample.streams[stream].draws or [sample.streams[stream].values])
    if sample.layout[stream].is_sequence:
        mine, expected = _before_end(mine), _before_end(expected)
    return float((mine != expected).sum()) if len(mine) == len(expected) else float(max(len(mine), len(expected), 1))


def _is_sequence(name: str) -> bool:
    return DOMAINS[name].space.is_sequence


def _before_end(ids: np.ndarray) -> np.ndarray:
    ends = np.flatnonzero(ids == END)
    return ids[: ends[0]] if len(ends) else ids


def _plan(case: Mapping[str, Any], given: Mapping[str, Mapping[str, np.ndarray]]) -> list[Target]:
    """The recorded list of steps as targets of ours."""
    plan: list[Target] = []
    weighed = [DOMAINS[name].stream for names in case["cond_dicts_order"] for name in names]
    for name, group in groupby(case["schedule"], lambda step: step["target_domain"]):
        steps, stream = list(group), DOMAINS[name].stream
        scheme, scale = steps[0]["scheme"], steps[0]["cfg_scale"]
        several = isinstance(scale, list)
        sequence = _is_sequence(name)
        how = Sampling(
            scheme=RECORDED[scheme],
            schedule="linear" if sequence else RecordedCounts([s["num_tokens"] for s in steps]),
            anneal="constant" if sequence else RecordedTemperatures([s["temperature"] for s in steps]),
            temperature=steps[0]["temperature"],
            guidance=1.0 if several else scale,
            top_k=int(case["top_k"]),
            top_p=case["top_p"],
            samples=case["batch_size"] or 1,
        )
        slots = np.flatnonzero(~given[name]["target_mask"][0])
        plan.append(
            RecordedTarget(
                stream,
                how,
                dict(zip([*weighed, *(t.stream for t in plan)], scale, strict=True)) if several else None,
                [DOMAINS[c].stream for c in steps[0]["cfg_cond_domains"]],
                len(slots) if sequence else None,
                int(given[name]["tensor"][0, slots[-1]]) if sequence else None,
                case["draws"].startswith("argmax"),
            )
        )
    return plan


def _draws(
    case: Mapping[str, Any],
    given: Mapping[str, Mapping[str, np.ndarray]],
    flat: Mapping[str, np.ndarray],
    batch: int,
) -> list[Replayed]:
    parallel = [i for i, step in enumerate(case["schedule"]) if step["scheme"] == "maskgit"]
    orders = list(_orders(case, given))
    return [
        Replayed(
            [order[b] for order in orders],
            [flat[f"step{i}/argmax_all_masked"][b] for i in parallel],
            [flat[f"step{i}/selected_index_among_masked"][b] for i in parallel],
            case["position_choice_depends_on_topk_tie_order"],
        )
        for b in range(batch)
    ]


def _orders(case: Mapping[str, Any], given: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[list[np.ndarray]]:
    """The order of each grid that is filled in random order, by sample: a vector of the step's seed, shared by all."""
    constant, number = case["call"] == "generate_multi_guided", 0
    for name, group in groupby(case["schedule"], lambda step: step["target_domain"]):
        steps = list(group)
        if steps[0]["scheme"] == "roar":
            unknown = ~given[name]["target_mask"]
            order: list[list[int]] = [[] for _ in unknown]
            for k, step in enumerate(steps):
                seed = case["seed"] + (0 if constant else number + k)
                generator = torch.Generator().manual_seed(seed)
                rank = torch.rand(unknown.shape[1], generator=generator).mul(1e-6).numpy()
                for b, mine in enumerate(unknown):
                    left = np.flatnonzero(mine)
                    chosen = left[np.argsort(rank[left], kind="stable")][: step["num_tokens"]]
                    mine[chosen] = False
                    order[b] += chosen.tolist()
            yield [np.array(o, np.int64) for o in order]
        number += len(steps)
