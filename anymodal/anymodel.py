"""AnyModel: a Transformer with the modalities it speaks. Natural values in, natural values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from anymodal.checkpoints.card import About
from anymodal.crops import center_crops
from anymodal.errors import GenerationError, nearest
from anymodal.generation import KnownTokens, Sampler, Target
from anymodal.generation.plan import FINER, chosen_targets, entrances, make_plan, modality_of
from anymodal.model import ModelConfig, Transformer
from anymodal.outputs import Outputs
from anymodal.plugins.guard import blame
from anymodal.tokens import ModalitySet
from anymodal.tokens.checks import checked_tokens

RETRIEVAL: dict[str, Any] = {"scheme": "roar", "steps": 1, "temperature": 0.1, "top_p": 0.8, "guidance": 1.0}


class AnyModel:
    """One model over a set of modalities. Make one with `anymodal.load`, or from a `ModalitySet` to train it."""

    def __init__(
        self, modalities: ModalitySet, transformer: Transformer | ModelConfig, about: About | None = None
    ) -> None:
        self.modalities = modalities
        self.about = about or About()
        built = Transformer(transformer, modalities.layout) if isinstance(transformer, ModelConfig) else transformer
        self.transformer = built.eval()

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.transformer.parameters())
        return f"AnyModel({', '.join(self.modalities.modalities)}; {count / 1e6:.1f}M parameters)"

    @property
    def device(self) -> torch.device:
        return self.transformer.input_table.device

    def to(self, device: str | torch.device) -> AnyModel:
        """Move the Transformer and all tokenizers."""
        self.transformer.to(device)
        for modality in self.modalities:
            modality.to(device)
        return self

    # Values and tokens.

    def accept(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Natural values at the model's size: files are read, pictures cut to their centered square.

        A value that does not know the picture's shape, such as boxes, is cut like the first one that does.
        """
        values, extents = {}, {}
        for name, value in inputs.items():
            modality = self.modalities[name]
            with blame(modality, "accept", value):
                values[name] = modality.accept(value)
            with blame(modality, "extent", value):
                extents[name] = extent = modality.extent(values[name])
                if extent is not None and not (len(extent) == 2 and min(extent) > 0):
                    raise ValueError(f"returns {extent!r:.80}, not (width, height) above 0, or None")
        for name, crop in center_crops(extents).items():
            modality, value = self.modalities[name], values[name]
            with blame(modality, "crop", value):
                values[name] = modality.crop(value, crop)
        return values

    def tokenize(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Tokens of plain values by stream name: ids (n,) int64, or rows (n, width) float32 of dense streams."""
        tokens: dict[str, np.ndarray] = {}
        for name, value in self.accept(inputs).items():
            modality = self.modalities[name]
            with blame(modality, "tokenize", value):
                tokens |= checked_tokens(modality, self.modalities.layout, "tokenize", modality.tokenize([value]))
        return tokens

    def detokenize(self, tokens: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Natural values of tokens by stream name; dense streams are passed over: they are only read."""
        layout = self.modalities.layout
        return {
            name: self._detokenized(name, [np.asarray(ids)])[0]
            for name, ids in tokens.items()
            if not layout[name].is_dense
        }

    def _detokenized(self, name: str, tokens: list[np.ndarray]) -> list[Any]:
        """Natural values of the ids (n,) of a stream, all at once."""
        modality = modality_of(self.modalities, name)
        with blame(modality, "detokenize", tokens[0]):
            values = modality.detokenize_stream(name, tokens)
            if len(values) != len(tokens):
                raise ValueError(f"it returns {len(values)} values of {len(tokens)}")
        return values

    # Generation.

    def generate(
        self,
        inputs: Mapping[str, Any],
        targets: str | Sequence[str] | None = None,
        *,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        progress: Callable[[str], None] | None = None,
        **common: Any,
    ) -> Outputs:
        """Generate `targets` (default: all that are not given), each from the inputs and the targets before it.

        `inputs` are plain values by modality name: a path, picture, array or text. `common` sampling options (`steps`,
        `temperature`, `top_p`, `top_k`, `guidance`, `scheme`, `schedule`, `anneal`, `samples`) go to every target,
        `options` to single ones: ``options={"depth": {"steps": 8}}``. `weights` guides by several inputs at once:
        ``weights={"rgb": 1.0, "caption": 2.5}``. The same `seed` gives the same result. `progress` is called with the
        name of the target after every step. A target may also be a finer stream of a modality (``rgb.448``). With
        ``samples`` several values are drawn and merged, for modalities that can. Raises an AnymodalError for anything a
        user can cause.
        """
        return self.generate_batch(
            [inputs], targets, seed=seed, weights=weights, options=options, progress=progress, **common
        )[0]

    def generate_batch(
        self,
        inputs: Sequence[Mapping[str, Any]],
        targets: str | Sequence[str] | None = None,
        *,
        seed: int | Sequence[int] = 0,
        weights: Mapping[str, float] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        progress: Callable[[str], None] | None = None,
        **common: Any,
    ) -> list[Outputs]:
        """`generate` for several samples in one batch; each gets what it would get alone.

        Sample i uses the seed `seed` + i, or the i-th of a list.
        """
        seeds = [seed + i for i in range(len(inputs))] if isinstance(seed, int) else list(seed)
        if len(seeds) != len(inputs):
            raise GenerationError(f"{len(seeds)} seeds for {len(inputs)} samples; give one each, or a single number")
        groups: dict[frozenset[str], list[int]] = {}
        for index, sample in enumerate(inputs):
            groups.setdefault(frozenset(sample), []).append(index)
        results: dict[int, Outputs] = {}
        for given, indices in groups.items():
            names = chosen_targets(self.modalities, targets, given)
            plan = make_plan(self.modalities, names, given, weights, options, common)
            values = [self.accept(inputs[index]) for index in indices]
            known = [KnownTokens(self.modalities.layout, self._conditions(sample)) for sample in values]
            self._run(known, plan, [seeds[index] for index in indices], progress)
            made = {name: self._values(name, known) for name in names}
            for k, index in enumerate(indices):
                ids = {name: known[k].streams[name].values for name in names}
                results[index] = Outputs(self.modalities, {name: made[name][k] for name in names}, values[k], ids)
        return [results[index] for index in range(len(inputs))]

    def _run(
        self,
        known: Sequence[KnownTokens],
        plan: Sequence[Target],
        seeds: Sequence[int],
        progress: Callable[[str], None] | None,
    ) -> None:
        for stream in Sampler(self.transformer).run(known, plan, seeds):
            if progress is not None:
                progress(stream)

    def upscale(
        self,
        outputs: Outputs,
        targets: str | Sequence[str] | None = None,
        *,
        seed: int = 1,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        progress: Callable[[str], None] | None = None,
        **common: Any,
    ) -> Outputs:
        """Finer values of what another model generated, by this one's finer streams (4M, arXiv 2312.06647).

        ``am.load("4m-7-sr-l").upscale(outputs)`` reads the inputs and tokens of `outputs`, as far as it knows their
        modalities, and generates `targets` (default: all of the outputs that it has finer streams of) at the size of
        these, pictures last. Options as in `generate`. Raises an AnymodalError for anything a user can cause.
        """
        layout = self.modalities.layout
        finer = {s.modality: s.name for s in layout.streams if s.target and s.name != s.modality}
        ordered = sorted(finer, key=lambda name: self.modalities[name].photographic)
        names = [targets] if isinstance(targets, str) else list(targets or [n for n in ordered if n in outputs])
        for name in names:
            if name not in finer or name not in outputs:
                known = ", ".join(n for n in ordered if n in outputs) or "none"
                raise GenerationError(f"{name!r} cannot be upscaled{nearest(name, finer)}; can be: {known}")
        if not names:
            raise GenerationError(
                f"nothing to upscale: this model has finer {', '.join(ordered) or 'nothing'}, the outputs hold "
                f"{', '.join(outputs)}"
            )
        values = self.accept({n: v for n, v in outputs.inputs.items() if n in self.modalities})
        tokens = self._conditions(values) | self._shared_tokens(outputs)
        plan = [
            attrs.evolve(target, stream=finer[target.stream])
            for target in make_plan(self.modalities, names, list(values), None, options, common, FINER)
        ]
        sample = KnownTokens(layout, tokens)
        self._run([sample], plan, [seed], progress)
        ids = {finer[name]: sample.streams[finer[name]].values for name in names}
        made = {name: self._detokenized(finer[name], [ids[finer[name]]])[0] for name in names}
        return Outputs(self.modalities, made, values, ids)

    def _shared_tokens(self, outputs: Outputs) -> dict[str, np.ndarray]:
        """The generated tokens that this model reads too, in the same space."""
        mine, theirs = self.modalities.layout, outputs.modalities.layout
        return {
            name: ids
            for name, ids in outputs.tokens.items()
            if name in mine and mine[name].input and mine[name].space == theirs[name].space
        }

    def embed(
        self, inputs: Mapping[str, Any], to: str, *, seed: int = 0, normalize: bool = False, **options: Any
    ) -> np.ndarray:
        """A vector (channels,) float32 for retrieval: the value of the modality `to` predicted from any inputs.

        ``model.embed({"caption": "a dog"}, to="dinov2_global")``. Drawn as published (4M-21, arXiv 2406.09406): all
        tokens in one step at temperature 0.1, the same for the same seed. `normalize` scales it to length 1, so that
        dot products are cosines. Sampling `options` as in `generate`. Raises GenerationError if `to` is no vector.
        """
        return self.embed_batch([inputs], to, seed=seed, normalize=normalize, **options)[0]

    def embed_batch(
        self,
        inputs: Sequence[Mapping[str, Any]],
        to: str,
        *,
        seed: int = 0,
        normalize: bool = False,
        **options: Any,
    ) -> np.ndarray:
        """`embed` for several samples in one batch: (samples, channels). All use the same seed."""
        how = RETRIEVAL | options
        outputs = self.generate_batch(inputs, to, seed=[seed] * len(inputs), **how)
        vectors = [np.asarray(out[to]) for out in outputs]
        if any(v.ndim != 1 or v.dtype.kind != "f" for v in vectors):
            raise GenerationError(f"{to!r} is not a vector: embed predicts modalities such as dinov2_global")
        stacked = np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32)
        if not normalize:
            return stacked
        return stacked / np.maximum(np.linalg.norm(stacked, axis=-1, keepdims=True), 1e-12)

    def _conditions(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Tokens of the inputs for the encoder; a modality with a dense stream enters through it alone."""
        tokens: dict[str, np.ndarray] = {}
        for name, value in values.items():
            modality = self.modalities[name]
            with blame(modality, "condition", value):
                streams = modality.condition([value], entrances(self.modalities, name))
                tokens |= checked_tokens(modality, self.modalities.layout, "condition", streams)
        return tokens

    def _values(self, name: str, known: Sequence[KnownTokens]) -> list[Any]:
        """Natural values of a target, one each: of the mean codes if it was estimated, merged if several were drawn."""
        modality = modality_of(self.modalities, name)
        if all(name in tokens.beliefs for tokens in known):
            with blame(modality, "expect"):
                return modality.expect([tokens.beliefs[name] for tokens in known])
        if all(name in tokens.drawn for tokens in known):
            drawn = iter(self._detokenized(name, [ids for tokens in known for ids in tokens.drawn[name]]))
            with blame(modality, "merge"):
                return [modality.merge(list(islice(drawn, len(tokens.drawn[name])))) for tokens in known]
        return self._detokenized(name, [tokens.streams[name].values for tokens in known])

    # Checkpoints.

    def save_pretrained(
        self, folder: str | Path, dtype: str | None = None, *, max_shard_size: str | int | None = "5GB"
    ) -> Path:
        """Write config, weights, vocabulary, tokenizers and a model card into a folder that `anymodal.load` reads.

        The card says what `about` says. Weights beyond `max_shard_size` are cut into shards.
        """
        from anymodal.checkpoints.native import save

        return save(self, Path(folder), dtype, max_shard_size)

    def push_to_hub(
        self,
        repository: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str = "Upload model",
        dtype: str | None = None,
        max_shard_size: str | int | None = "5GB",
    ) -> str:
        """Upload what `save_pretrained` writes to a repository on the Hub, made if need be, and return its address.

        Raises CheckpointError when the Hub refuses.
        """
        from anymodal.checkpoints.load import push

        return push(self, repository, private, token, commit_message, dtype, max_shard_size)
