"""A transfer from a configuration: what a run is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from anymodal.anymodel import AnyModel, load
from anymodal.config.arguments import PLACE, read_by_load, takes
from anymodal.data.order import Share, step_batches
from anymodal.errors import ConfigError, DataError, UnknownModality, ValueProblem, system_errors
from anymodal.files import check_file, check_folder, write_json
from anymodal.model import Transformer
from anymodal.nn.distributed import World, world
from anymodal.training.checkpoint import claimed
from anymodal.training.device import to_device
from anymodal.training.engine import Engine
from anymodal.training.multimodal.warm_start import frozen_names
from anymodal.training.objective import Metrics, Objective
from anymodal.training.runtime import Runtime, WeightFacts
from anymodal.training.trackers import TrackingConfig, trackers
from anymodal.transfer.tuning.network import TransferNetwork, grid_shape, grids_of
from anymodal.transfer.tuning.result import HEAD, METRICS, MODEL, Transferred, save_transfer, used_by
from anymodal.transfer.tuning.samples import LessonBatches, Lessons, Source, TokenReader, lessons, open_source, usable
from anymodal.transfer.tuning.settings import Frozen, TransferConfig
from anymodal.transfer.tuning.tasks import Solver
from anymodal.transfer.tuning.thinking import check_thought, thoughts_of


@takes(config=read_by_load(TransferConfig), out=PLACE)
@system_errors(DataError)
def train_transfer(
    config: TransferConfig, out: str | Path, *, resume: bool = False, verbose: bool = False
) -> Transferred | None:
    """Fine-tune a model for a task, and write the result to out/model and out/head.

    Run by `torchrun`, all its processes train together; the first one writes and has the result.

    Args:
        config: of the run.
        out: folder for the result, checkpoints and logs.
        resume: take up the newest checkpoint in `out`, if there is one.
        verbose: print a line now and then where there is no terminal for a progress bar.

    Returns:
        The result, whose scores on `held_out` are in out/metrics.json; None in all processes but the first, and for a
        run that ended early.

    Raises:
        ConfigError: the configuration does not fit the model or the data, or the run that is to be resumed.
        DataError: the data lack inputs or truths, too much of them is unusable, or `out` is in use.
        CheckpointError: the model or a checkpoint cannot be read or written.
        TrainingDiverged: the loss was not finite, or exploded, for many steps in a row.
    """
    out = Path(out)
    for part in (MODEL, HEAD):
        check_folder(out / part)
    check_file(out / METRICS)
    with world() as processes, claimed(out, processes, resume):
        return _Run(config, out, processes).carry_out(resume, verbose)


class TransferLoss(Objective[TransferNetwork, Lessons]):
    """What a task says of the lessons of a step."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver

    def totals(self, batches: Sequence[Lessons]) -> Tensor:
        return torch.stack([self.solver.counts(batch.targets) for batch in batches]).sum(0)

    def __call__(self, model: TransferNetwork, batch: Lessons, totals: Tensor) -> Metrics:
        return self.solver.losses(model(batch.inputs).float(), batch.targets, totals.clamp_min(1))

    def problems(self, batch: Lessons) -> Sequence[str]:
        return batch.problems


class HeldOutLoss:
    """The loss on held-out samples, of which each process takes a part; other metrics of the task as means too."""

    def __init__(self, reader: TokenReader, solver: Solver, shape: tuple[int, int], size: int, world: World) -> None:
        self.reader, self.solver, self.shape, self.size, self.world = reader, solver, shape, size, world

    @torch.no_grad()
    def __call__(self, engine: Engine[TransferNetwork]) -> dict[str, float]:
        sums: dict[str, float] = {}
        counted, one = torch.zeros(1, dtype=torch.float64), torch.ones(1)
        for batch in self._batches():
            moved = to_device(batch, engine.device)
            with engine.autocast():
                said = engine.model(moved.inputs).float()
            counted += self.solver.counts(batch.targets)
            for name, value in self.solver.losses(said, moved.targets, one).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        if not sums:  # what the other processes have is summed up with zeros
            moved = to_device(self._first(), engine.device)
            said = engine.model(moved.inputs).float()
            sums = dict.fromkeys(self.solver.losses(said, moved.targets, one), 0.0)
        names = sorted(sums)
        own = torch.tensor([float(counted), *(sums.get(name, 0.0) for name in names)], dtype=torch.float64)
        total, *rest = self.world.sum(own).tolist()
        return {name: value / max(total, 1.0) for name, value in zip(names, rest, strict=True)}

    def _batches(self, everything: bool = False) -> Iterable[Lessons]:
        """The samples of this process in batches, or all of them one by one."""
        first, step, size = (0, 1, 1) if everything else (self.world.rank, self.world.size, self.size)
        rows = []
        for tokens, truth in usable(self.reader, range(first, len(self.reader.source), step)):
            try:
                rows.append((tokens, self.solver.targets(truth, self.shape)))
            except ValueProblem:  # such as a class that the training data lack, which the scores count as wrong
                continue
            if len(rows) == size:
                yield lessons(rows, self.reader.modalities)
                rows = []
        if rows:
            yield lessons(rows, self.reader.modalities)

    def _first(self) -> Lessons:
        """The first sample that can be used, of whichever process. Raises DataError for none."""
        for batch in self._batches(everything=True):
            return batch
        raise DataError("no held-out sample has an input and a truth that the training data know")

    def check(self) -> None:
        """Raise DataError, before anything is trained, if no sample can be used."""
        self._first()


class _Run:
    """What a run is made of, from its configuration."""

    def __init__(self, config: TransferConfig, out: Path, world: World) -> None:
        self.config, self.out, self.world = config, out, world
        self.base = loaded(config)
        self.truth = config.task.truth(self.base.modalities)
        self.readers = [self.base.modalities[name] for name in config.inputs]
        source = open_source(config.data, self.readers, self.truth, config.count)
        self.solver = config.task.learn(self.truth, source.truths(config.task.cut))
        self.grids = grids_of(self.base.modalities, config.reads)
        grid = grid_shape(self.grids) if self.solver.cells else (0, 0)
        self.shape = (grid[0] * self.solver.cells, grid[1] * self.solver.cells)
        self.fingerprint = self._fingerprint()
        views = [view for view in (False, True) if (config.flip < 1, config.flip > 0)[view]]
        self.train = self._reader(source, views, config.data, config.count)
        self.held_out: TokenReader | None = None
        if config.held_out is not None:
            path, count = config.held_out.path, config.held_out.count
            held_out = open_source(path, self.readers, self.truth, count, learned=False)
            self.held_out = self._reader(held_out, [False], path, count)

    def _reader(self, source: Source, views: Sequence[bool], path: str, count: int | None) -> TokenReader:
        thoughts = {}
        if self.config.think is not None:
            inputs = list(self.config.inputs)
            what = {"data": path, "count": count, "inputs": inputs, "samples": source.stamps()}
            self.base.to(self.world.device)
            folder = self.out / "thoughts"
            thoughts = thoughts_of(self.base, self.config.think, inputs, source, views, folder, what, self.world)
            self.base.to("cpu")
        return TokenReader(source, self.base.modalities, thoughts)

    def _fingerprint(self) -> dict[str, Any]:
        config = self.config
        own = used_by(self.base, config)
        return {
            "model": own.transformer, "modalities": own.modalities,
            "inputs": list(config.inputs), "facts": self.solver.facts,
            "data": config.data, "count": config.count, "drop": config.drop, "flip": config.flip,
            "scratch": config.scratch,
            **{name: None if (part := getattr(config, name)) is None else attrs.asdict(part)
               for name in ("task", "tune", "head", "think")},
        }  # fmt: skip

    def carry_out(self, resume: bool, verbose: bool) -> Transferred | None:
        config, settings, first = self.config, self.config.training, self.world.is_first
        network = self._network()
        facts = WeightFacts(frozen=frozen_names(network), fingerprint=self.fingerprint)
        share = Share(self.world.rank, self.world.size, settings.accumulate)
        make = LessonBatches(
            self.train, self.solver, self.shape, settings.batch_size, settings.seed, share, config.drop, config.flip
        )
        evaluate = None
        if self.held_out is not None:
            evaluate = HeldOutLoss(self.held_out, self.solver, self.shape, settings.batch_size, self.world)
            evaluate.check()
        tracking = config.tracking if first else TrackingConfig()
        with trackers(tracking, self.out, attrs.asdict(config)) as followers:
            runtime = Runtime(
                world=self.world, saving=config.checkpoints, trackers=followers, verbose=verbose and first
            )
            engine = Engine(network, settings, self.out, runtime, facts)
            engine.run(
                step_batches(make, settings.steps * settings.accumulate, config.workers),
                TransferLoss(self.solver),
                evaluate=evaluate,
                evaluate_every=config.held_out.every if config.held_out else 0,
                resume=resume,
            )
        if not engine.finished:
            return None
        if config.checkpoints.result == "best":
            engine.take_best()
        result = self._written(engine.weights()) if first else None
        self.world.wait()
        return result

    def _network(self) -> TransferNetwork:
        torch.manual_seed(self.config.training.seed)
        start = self.base.transformer
        if self.config.scratch:
            start = Transformer(start.config, start.layout)
        return TransferNetwork(start, self.grids, self.solver, self.config.head, self.config.tune)

    def _written(self, weights: Mapping[str, Tensor]) -> Transferred:
        """The result, in its folder, with its scores."""
        network = self._network()
        network.load_state_dict(weights)
        keeps = self.config.think is not None and not isinstance(self.config.tune, Frozen)
        model = loaded(self.config) if keeps else self.base
        head = network.head_state()
        network.whole(model.transformer)
        result = Transferred(self.config, model, self.solver, head, self.base if keeps else None)
        result.to(self.world.device)
        metrics = {} if self.held_out is None else result.evaluate(self.held_out)
        save_transfer(result, self.out, metrics)
        write_json(metrics, self.out / METRICS)
        return result


def loaded(config: TransferConfig) -> AnyModel:
    """The model of a transfer, with the modalities that it needs. Raises ConfigError for inputs it does not read."""
    try:
        model = load(
            config.model, modalities=list(dict.fromkeys([*config.reads, *config.task.modalities])), device="cpu"
        )
    except UnknownModality:
        model = load(config.model, modalities=list(config.reads), device="cpu")  # the task has a modality of its own
    for name in config.inputs:
        if not model.modalities.input_streams(name):
            raise ConfigError(f"{name!r} is no input of {config.model}: the model only generates it")
    if config.think is not None:
        check_thought(model, config.think)
    return model
