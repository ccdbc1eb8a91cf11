"""What a transfer leaves: a model, a head, and how to ask them.

OUT/model     the model, its encoder as it was trained: a checkpoint like any other
OUT/head      config.json: what is read and what is said; model.safetensors: the weights of the head
OUT/thinker   the model that generates what is read first, where that is not the one above
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import torch
from torch import Tensor

from anymodal.anymodel import AnyModel, load
from anymodal.checkpoints.atomic import replacing_folder, whole_folder
from anymodal.checkpoints.swap import WEIGHT_FILES
from anymodal.checkpoints.weights import WEIGHTS, WeightFile, checked, fill, save_weights
from anymodal.config import plain_config, structure
from anymodal.config.arguments import PLACE, takes
from anymodal.config.validators import real
from anymodal.errors import (
    AnymodalError,
    CheckpointError,
    ConfigError,
    DataError,
    ValueProblem,
    brief,
    system_errors,
)
from anymodal.files import read_object, write_json
from anymodal.generation.rng import sample_seeds
from anymodal.notebook import html_table
from anymodal.outputs.fingerprint import Fingerprint, fingerprint
from anymodal.progress import task
from anymodal.tokens import Packed
from anymodal.transfer.tuning.network import TransferNetwork, grids_of
from anymodal.transfer.tuning.samples import TokenReader, Tokens, packed_inputs, usable
from anymodal.transfer.tuning.settings import Frozen, TransferConfig
from anymodal.transfer.tuning.tasks import Solver
from anymodal.transfer.tuning.thinking import think, thinks_with

MODEL, HEAD, THINKER, CONFIG, METRICS = "model", "head", "thinker", "config.json", "metrics.json"
BATCH = 32
T = TypeVar("T")


class Transferred:
    """A model with a head for a task. Make one with `anymodal.train_transfer` or `anymodal.load_transfer`.

    config: of the transfer.
    model: whose encoder reads the inputs.
    solver: what the head says, with the `facts` of the training data.
    """

    def __init__(
        self,
        config: TransferConfig,
        model: AnyModel,
        solver: Solver,
        head: Mapping[str, Tensor],
        thinker: AnyModel | None = None,
    ) -> None:
        self.config, self.model, self.solver, self.thinker = config, model, solver, thinker or model
        grids = grids_of(model.modalities, config.reads)
        self.network = TransferNetwork(model.transformer, grids, solver, config.head, Frozen())
        own = self.network.head_state()
        if wrong := next((name for name in {*own, *head} if name not in own or name not in head), None):
            raise CheckpointError(f"the weights of the head do not fit its settings: {wrong!r} is in one of them alone")
        self.network.load_state_dict(head, strict=False)
        self.network.requires_grad_(False).eval()

    def __repr__(self) -> str:
        return f"Transferred({self.config.task.name} from {', '.join(self.config.reads)}; {self.model})"

    def _repr_html_(self) -> str:
        title = f"{self.config.task.name} from {', '.join(self.config.reads)}"
        return html_table(("head", title), [(name, str(fact)) for name, fact in self.solver.facts.items()])

    def to(self, device: str | torch.device) -> Transferred:
        """The same on another device."""
        self.model.to(device)
        self.thinker.to(device)
        self.network.to(device)
        return self

    def predict(
        self,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        seed: int | Sequence[int] = 0,
        focal: float | None = None,
    ) -> Any:
        """What the head says of a sample, or of several.

        Args:
            inputs: plain values by modality, of one sample or of several, which may lack all but one of the inputs.
            seed: of what is generated first; sample i of several has `seed` + i.
            focal: for boxes in space, the focal length of the camera in widths of the picture, after it was cut to a
                square; by default the mean of the training data.

        Returns:
            The name of a class, a grid as the modality has it, boxes, or a `SolidScene`; a list for several samples.

        Raises:
            ConfigError: an input is not read by this model, or there is none.
            AnymodalError: a value cannot be read.
        """
        samples = [inputs] if isinstance(inputs, Mapping) else list(inputs)
        for sample in samples:
            if not isinstance(sample, Mapping) or not sample:
                raise ConfigError(f"predict takes values by modality, of one input at least, got {brief(sample)}")
            if strange := [name for name in sample if name not in self.config.inputs]:
                raise ConfigError(
                    f"{strange[0]!r:.80} is no input of this model, which reads {', '.join(self.config.inputs)}"
                )
        if focal is not None and not 1e-4 <= real(focal) <= 1e4:
            raise ValueProblem(f"focal is a focal length in widths of the picture, such as 1.2, got {focal!r:.40}")
        values = [self.model.accept(sample) for sample in samples]
        tokens: list[Tokens] = [dict(self.model.modalities.condition(value)) for value in values]
        if self.config.think is not None:
            seeds = sample_seeds(seed, len(samples))
            thoughts = think(self.thinker, self.config.think, values, seeds)
            tokens = [{**mine, **thought} for mine, thought in zip(tokens, thoughts, strict=True)]
        found = [
            value
            for start in range(0, len(tokens), BATCH)
            for value in self._said(tokens[start : start + BATCH], focal)
        ]
        return found[0] if isinstance(inputs, Mapping) else found

    @torch.inference_mode()
    def _said(self, tokens: Sequence[Tokens], focal: float | None = None) -> list[Any]:
        device = next(self.network.parameters()).device
        inputs = Packed(packed_inputs(tokens, self.model.modalities)).to(device).inputs
        return self.solver.values(self.network(inputs).float(), focal)

    def evaluate(self, reader: TokenReader) -> dict[str, float]:
        """The scores over all samples of a reader that have an input and the truth. Raises DataError without any."""
        predictions, truths, waiting, count = [], [], list[Tokens](), len(reader.source)
        with task("trying", count) as now:
            for tokens, truth in usable(reader, _each(count, now)):
                waiting.append(tokens)
                truths.append(truth)
                if len(waiting) == BATCH:
                    predictions += self._said(waiting)
                    waiting = []
            predictions += self._said(waiting) if waiting else []
        if not truths:
            raise DataError("no held-out sample has an input and the truth")
        return self.solver.score(predictions, truths)


def _each(count: int, now: Any) -> Iterator[int]:
    """Numbers from 0, each of which is told to a bar."""
    for index in range(count):
        yield index
        now.advance(1)


def save_transfer(result: Transferred, out: Path, metrics: Mapping[str, float] | None = None) -> None:
    """Write a result into a folder; the head comes last, and belongs to the model that it names."""
    result.model.save_pretrained(out / MODEL)
    if result.thinker is not result.model:
        result.thinker.save_pretrained(out / THINKER)
    thinks = thoughts_by(result.thinker, result.config)
    facts = {
        "config": plain_config(result.config),
        "facts": result.solver.facts,
        "model": attrs.asdict(used_by(result.model, result.config)),
        **({} if thinks is None else {"thinks": attrs.asdict(thinks)}),
        "thinker": result.thinker is not result.model,
        "metrics": dict(metrics or {}),
    }
    with replacing_folder(out / HEAD, lambda root: WEIGHT_FILES) as staging:
        save_weights(list(result.network.head_state().items()), staging)
        write_json(facts, staging / CONFIG)


def used_by(model: AnyModel, config: TransferConfig) -> Fingerprint:
    """What a head belongs to: the model, and the modalities that it reads."""
    return fingerprint(model.transformer, model.modalities, config.reads)


def thoughts_by(thinker: AnyModel, config: TransferConfig) -> Fingerprint | None:
    """What thoughts depend on, if there are any."""
    return None if config.think is None else thinks_with(thinker, config.inputs, config.think)


def _check_same(stated: Any, found: Fingerprint, place: Path, head: Path) -> None:
    """Raise CheckpointError unless a head belongs to the model in `place`."""
    known = _structured(stated, Fingerprint, head)
    if not known.transformer:
        raise CheckpointError(f"{head / CONFIG} does not say which model the head belongs to; run the transfer again")
    if told := known.difference(found):
        raise CheckpointError(
            f"{head} belongs to another model than {place}: others are its {told}; run the transfer again"
        )


def _structured(stated: Any, kind: type[T], head: Path) -> T:
    """A part of what config.json says. Raises CheckpointError."""
    try:
        return structure(stated, kind, str(head / CONFIG))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def _model_beside(head: Path, place: Path) -> AnyModel:
    """The model that a head was saved with. Raises CheckpointError."""
    if not place.is_dir():
        raise CheckpointError(f"{head} belongs to a model in {place}, which is no folder; run the transfer again")
    return load(place, device="cpu")


def _shaped(config: TransferConfig, model: AnyModel, stated: Any, head: Path) -> tuple[Solver, dict[str, Tensor]]:
    """What a head says, and its weights as shapes on the meta device, by what config.json says.

    Raises CheckpointError where that fits no head on the model.
    """
    try:
        for name in config.reads:
            model.modalities.owner(name)
        truth = config.task.truth(model.modalities)
        solver = config.task.restore(truth, stated if isinstance(stated, Mapping) else {})
        grids = grids_of(model.modalities, config.reads)
        with torch.device("meta"):
            return solver, TransferNetwork(model.transformer, grids, solver, config.head, Frozen()).head_state()
    except AnymodalError as error:
        raise CheckpointError(f"{head / CONFIG}: {error}") from None


def _weights(head: Path, shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a head. Raises CheckpointError, before they take room, for others than these shapes."""
    with WeightFile.single(head / WEIGHTS) as file:
        for name, view in shapes.items():
            checked(name, view, file.rows, str(head))
        if more := sorted(set(file.keys()) - set(shapes)):
            raise CheckpointError(f"{head} has a tensor {more[0]!r} that its config does not explain")
        weights = {name: torch.empty_like(tensor, device="cpu") for name, tensor in shapes.items()}
        fill(weights.items(), file.rows, str(head))
    return weights


@takes(folder=PLACE)
def load_transfer(folder: str | Path, device: str | torch.device | None = None) -> Transferred:
    """What `train_transfer` left in a folder, ready to `predict`.

    Args:
        folder: OUT of the run.
        device: where it computes; as for `load`.

    Raises:
        CheckpointError: the folder holds no result, is damaged, or its parts belong to different runs.
    """
    root = Path(folder)
    with system_errors(CheckpointError, f"{brief(str(root), 400)} cannot be read"):
        if not (root / HEAD).is_dir():
            raise CheckpointError(
                f"{root} holds no result of a transfer; `anymodal transfer` writes one when it is finished"
            )
        head = whole_folder(root / HEAD)
        facts = read_object(head / CONFIG)
        config = _structured(facts.get("config"), TransferConfig, head)
        model = _model_beside(head, root / MODEL)
        thinker = _model_beside(head, root / THINKER) if facts.get("thinker") else None
        solver, shapes = _shaped(config, model, facts.get("facts"), head)
        _check_same(facts.get("model"), used_by(model, config), root / MODEL, head)
        if "thinks" in facts and (thinks := thoughts_by(thinker or model, config)):
            _check_same(facts["thinks"], thinks, root / (THINKER if thinker else MODEL), head)
        result = Transferred(config, model, solver, _weights(head, shapes), thinker)
    return result if device is None else result.to(device)
