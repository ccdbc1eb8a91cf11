"""Training of one tokenizer: what a step computes and what is reported about the codebook."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from anymodal.errors import ConfigError, nearest
from anymodal.tokenizers.losses import LOSSES, Loss
from anymodal.tokenizers.quantize import count_ids, perplexity, usage
from anymodal.tokenizers.tokenizer import Tokenizer
from anymodal.training.engine import Batches, Engine, Metrics
from anymodal.training.settings import TrainingSettings


class CodeMeter:
    """Counts the ids seen since the last report."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        quantizer = tokenizer.config.quantizer
        self.size, self.codebooks = quantizer.size, quantizer.codebooks
        self.counts_GK: Tensor | int = 0

    def add(self, ids_BN: Tensor) -> None:
        self.counts_GK = self.counts_GK + count_ids(ids_BN, self.size, self.codebooks)

    def report(self) -> dict[str, float]:
        """usage in [0, 1] and perplexity in [1, size] of the ids since the last call."""
        counts_GK, self.counts_GK = self.counts_GK, 0
        if isinstance(counts_GK, int):
            return {}
        return {"usage": usage(counts_GK), "perplexity": perplexity(counts_GK)}


def train_tokenizer(
    tokenizer: Tokenizer,
    batches: Batches[Tensor],
    loss: str | Loss,
    settings: TrainingSettings,
    out: Path | None = None,
    *,
    code_weight: float = 1.0,
    device: str | torch.device | None = None,
    resume: bool = False,
    verbose: bool = False,
) -> Tokenizer:
    """Train a tokenizer to reconstruct its inputs; the result, averaged if `settings.ema` is on, is ready for use.

    batches: inputs as `Tokenizer` reads them; see `Engine.run` for what makes a run resumable.
    loss: a name in `losses.LOSSES`, or a function (output, input) -> scalar.
    Logged: loss = reconstruction + code_weight * commitment, both parts, and usage and perplexity of the codes since
        the line before.
    """
    measure = loss_named(loss) if isinstance(loss, str) else loss
    engine = Engine(tokenizer, settings, out, device=device, verbose=verbose)
    meter = CodeMeter(tokenizer)

    def step(model: Tokenizer, x: Tensor) -> Metrics:
        result = model(x)
        meter.add(result.ids)
        reconstruction = measure(result.output.float(), result.target)
        total = reconstruction + code_weight * result.code_loss
        return {"loss": total, "reconstruction": reconstruction, "commitment": result.code_loss}

    engine.run(batches, step, report=meter.report, resume=resume)
    trained = engine.ema_model() if settings.ema else tokenizer
    return trained.eval()


def loss_named(name: str) -> Loss:
    """The loss of that name; `ConfigError` if there is none."""
    if name not in LOSSES:
        raise ConfigError(f"no loss is called {name!r}{nearest(name, LOSSES)}; known: {', '.join(LOSSES)}.")
    return LOSSES[name]
