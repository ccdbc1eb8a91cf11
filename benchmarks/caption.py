"""A caption of 256 tokens from the tokens of a picture."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import attrs

from anymodal.sampling import Sampling
from benchmarks.harness import parts, twins
from benchmarks.harness.base import BENCHMARKS, Case, Part, Timed, Work
from benchmarks.harness.models import SIZES, generate, transformer, words

INPUTS, LENGTH = 196, 256


@BENCHMARKS.register("caption")
@attrs.frozen
class Caption(Timed):
    """Text, token by token: 256 tokens from 196, drawn at temperature 0.3 and top-p 0.8."""

    target: ClassVar[str] = "12 times the original for a single text, 30 times for 8 together"

    def cases(self, quick: bool) -> list[Case]:
        if quick:
            return [{"size": "s", "batch": 1, "guidance": 1}]
        return [
            {"size": size, "batch": batch, "guidance": guidance}
            for size in SIZES
            for batch in (1, 8)
            for guidance in (1, 2)
        ]

    def prepare(self, case: Case) -> Work:
        model = transformer(case["size"])
        how = Sampling(scheme="autoregressive", temperature=0.3, top_p=0.8, guidance=case["guidance"])
        run = partial(generate, model, ["rgb"], [("caption", how)], case["batch"])
        twin = partial(twins.caption, model, "rgb", "caption", case["batch"], how)
        return Work(run, partial(self.floor, case), twin, LENGTH * case["batch"], "token")

    def floor(self, case: Case) -> list[Part]:
        """The encoder once for each pass, and a step of the decoder for each token, at the mean number before it."""
        config, batch = SIZES[case["size"]], case["batch"]
        passes = 1 if case["guidance"] == 1 else 2
        start = [*parts.encoder(config, batch, INPUTS), *parts.context(config, batch, INPUTS)]
        step = parts.decoder(config, passes * batch, 1, LENGTH // 2, INPUTS, words())
        return [parts.part("encoder", 1, start), parts.part("token", LENGTH, step)]
