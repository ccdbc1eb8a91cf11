"""Training of one tokenizer: what a step computes and what is reported about the codebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anymodal.nn import distributed
from anymodal.tokenizers.losses import Loss, loss_named
from anymodal.tokenizers.quantizers.base import count_ids
from anymodal.tokenizers.quantizers.usage import perplexity, usage
from anymodal.tokenizers.tokenizer import Tokenizer
from anymodal.training.engine import Batches, Engine
from anymodal.training.objective import Objective
from anymodal.training.runtime import Runtime, WeightFacts
from anymodal.training.settings import TrainingSettings
from anymodal.training.tokenizers.adversarial import Judged
from anymodal.training.tokenizers.batches import Inputs
from anymodal.training.tokenizers.config import AdversarialConfig
from anymodal.training.tokenizers.perceptual import PerceptualLoss


class CodeMeter:
    """Counts the ids that all processes have seen since the last report."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        quantizer = tokenizer.config.quantizer
        self.size, self.codebooks = quantizer.size, quantizer.codebooks
        self.counts_GK: Tensor | int = 0

    def add(self, ids_BN: Tensor) -> None:
        self.counts_GK = self.counts_GK + distributed.total(count_ids(ids_BN, self.size, self.codebooks))

    def report(self) -> dict[str, float]:
        """usage in [0, 1] and perplexity in [1, size], means over codebooks, of the ids since the last call."""
        counts_GK, self.counts_GK = self.counts_GK, 0
        if isinstance(counts_GK, int):
            return {}
        counted_GK = counts_GK.cpu().numpy()
        return {"usage": usage(counted_GK), "perplexity": perplexity(counted_GK)}


class ReconstructionLoss(Objective[nn.Module, "Tensor | Inputs"]):
    """How far outputs are from what they should be, how far latents from their codes, and, with it, `perceptual`.

    With `adversarial` the model is a `Judged` one, whose critic's parts are added.
    """

    def __init__(
        self,
        measure: Loss,
        meter: CodeMeter,
        code_weight: float = 1.0,
        perceptual: PerceptualLoss | None = None,
        adversarial: AdversarialConfig | None = None,
    ) -> None:
        self.measure, self.meter, self.code_weight = measure, meter, code_weight
        self.perceptual, self.adversarial = perceptual, adversarial

    def totals(self, batches: Sequence[Tensor | Inputs]) -> Tensor:
        """The number of samples."""
        return torch.tensor(float(sum(len(_rows(batch)) for batch in batches)))

    def __call__(self, model: nn.Module, batch: Tensor | Inputs, totals: Tensor) -> dict[str, Tensor]:
        x = _rows(batch)
        given = [batch.given] if isinstance(batch, Inputs) and batch.given is not None else []
        result, *judged = model(x, *given) if self.adversarial else (model(x, *given),)
        self.meter.add(result.ids)
        parts = {"reconstruction": self.measure(result.output.float(), result.target), "commitment": result.code_loss}
        loss = parts["reconstruction"] + self.code_weight * parts["commitment"]
        if self.perceptual is not None:
            parts["perceptual"] = self.perceptual(result.output, result.target)
            loss = loss + self.perceptual.weight * parts["perceptual"]
        if self.adversarial is not None:
            fooled, features, critic = judged[0]
            parts |= {"fooled": fooled, "features": features, "critic": critic}
            loss = loss + self.adversarial.weight * fooled + self.adversarial.features * features
            loss = loss + critic  # which alone reaches the critic's weights
        share = (len(x) / totals).float()
        return {name: value * share for name, value in {"loss": loss, **parts}.items()}

    def problems(self, batch: Tensor | Inputs) -> Sequence[str]:
        return batch.problems if isinstance(batch, Inputs) else ()


def _rows(batch: Tensor | Inputs) -> Tensor:
    return batch.rows if isinstance(batch, Inputs) else batch


def fit_tokenizer(
    tokenizer: Tokenizer,
    batches: Batches[Any],
    loss: str | Loss,
    settings: TrainingSettings,
    out: Path | None = None,
    *,
    runtime: Runtime | None = None,
    code_weight: float = 1.0,
    perceptual: PerceptualLoss | None = None,
    adversarial: AdversarialConfig | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Tokenizer | None:
    """Train a tokenizer to reconstruct its inputs.

    Logged are loss = reconstruction + code_weight * commitment + perceptual.weight * perceptual + adversarial.weight *
    fooled + adversarial.features * features + critic, its parts, and usage and perplexity of the codes since the line
    before.

    Args:
        tokenizer: trained in place.
        batches: inputs as `Tokenizer` reads them, or `Inputs`; see `Engine.run` for what makes a run resumable.
        loss: a name in `losses.LOSSES`, or a function (output, input) -> scalar.
        settings: of the training.
        out: folder for checkpoints and the log; without it nothing is written.
        runtime: where and how the run trains; codebooks learn from the latents of all processes.
        code_weight: of the loss that pulls latents to their codes.
        perceptual: compares pictures (B, 3, H, W) beside that loss.
        adversarial: judges pictures (B, C, H, W) beside that loss, by a critic that learns with the tokenizer.
        fingerprint: what the tokenizer is for; see `WeightFacts`.
        resume: continue from the newest checkpoint in `out`, if there is one.

    Returns:
        The tokenizer, averaged if `settings.ema` is on, in evaluation mode; None for a run that ended early, to be
        resumed.

    Raises:
        ConfigError: there is no loss of that name, or the run to resume had other settings.
        DataError, TrainingDiverged, CheckpointError: as `Engine.run`.
    """
    measure = loss_named(loss) if isinstance(loss, str) else loss
    trained: nn.Module = Judged(tokenizer, adversarial) if adversarial else tokenizer
    engine = Engine(trained, settings, out, runtime, WeightFacts(fingerprint=fingerprint or {}))
    meter = CodeMeter(tokenizer)
    if perceptual is not None:
        perceptual.to(engine.device)
    objective = ReconstructionLoss(measure, meter, code_weight, perceptual, adversarial)
    engine.run(batches, objective, report=meter.report, resume=resume)
    if not engine.finished:
        return None
    trained.load_state_dict(engine.weights())
    return tokenizer.eval()
