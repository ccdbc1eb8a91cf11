"""AnyModel: a Transformer with the modalities it speaks. Natural values in, natural values out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import attrs
import numpy as np
import torch

from anymodal.checkpoints.formats.base import Options
from anymodal.checkpoints.load import load as load_bundle
from anymodal.checkpoints.record import About, Bundle
from anymodal.checkpoints.repository import Access
from anymodal.checkpoints.tokenizer import load_tokenizer
from anymodal.errors import CheckpointError, DataError, brief, system_errors
from anymodal.generation import GenerationStep
from anymodal.generation.batch import batches, count_of, encoder_inputs
from anymodal.generation.keeping import Keep, Start
from anymodal.generation.plan import Weights
from anymodal.generation.retrieval import retrieval_options, stacked_vectors
from anymodal.generation.rng import sample_seeds
from anymodal.model import Features, ModelConfig, Transformer
from anymodal.model.features import features_of
from anymodal.nn.device import usable_device
from anymodal.nn.precision import Precision
from anymodal.outputs import Origin, Outputs
from anymodal.outputs.finish import Generation, finer_batch, finished, in_tiles
from anymodal.progress import task
from anymodal.sampling import SamplingOptions
from anymodal.tokens import ModalitySet
from anymodal.tokens.table import set_table

Progress = Callable[[GenerationStep], None]
TargetOptions = Mapping[str, SamplingOptions]


class AnyModel:
    """One model over a set of modalities. Make one with `anymodal.load`, or from a `ModalitySet` to train it."""

    history: Any = None  # the `anymodal.training.History` of a model that `anymodal.fit` made
    origin = Origin()

    def __init__(
        self, modalities: ModalitySet, transformer: Transformer | ModelConfig, about: About | None = None
    ) -> None:
        built = Transformer(transformer, modalities.layout) if isinstance(transformer, ModelConfig) else transformer
        self.bundle = Bundle(modalities, built.eval(), about or About())

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.transformer.parameters())
        return f"AnyModel({', '.join(self.modalities.modalities)}; {count / 1e6:.1f}M parameters)"

    def _repr_html_(self) -> str:
        count = sum(p.numel() for p in self.transformer.parameters())
        return set_table(self.modalities, f"AnyModel with {count / 1e6:.1f}M parameters")

    @property
    def modalities(self) -> ModalitySet:
        """The modalities in their token space."""
        return self.bundle.modalities

    @property
    def transformer(self) -> Transformer:
        """The Transformer over the streams of the modalities."""
        return self.bundle.transformer

    @property
    def about(self) -> About:
        """What the model card says beyond what the model knows."""
        return self.bundle.about

    @about.setter
    def about(self, about: About) -> None:
        self.bundle = attrs.evolve(self.bundle, about=about)

    @property
    def device(self) -> torch.device:
        """Where the Transformer is."""
        return self.transformer.input_table.device

    def to(self, device: str | torch.device) -> AnyModel:
        """Move the Transformer and all tokenizers. Raises ConfigError where there is no such device."""
        self.transformer.to(device := usable_device(device))
        for modality in self.modalities:
            modality.to(device)
        return self

    # Values and tokens.

    def accept(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Natural values at the model's size of plain ones: see `ModalitySet.accept`."""
        return self.modalities.accept(inputs)

    def tokenize(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Tokens of plain values by stream name: see `ModalitySet.tokenize`."""
        return self.modalities.tokenize(inputs)

    def detokenize(self, tokens: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Natural values of tokens by stream name: see `ModalitySet.detokenize`."""
        return self.modalities.detokenize(tokens)

    # Features.

    def features(
        self,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        layers: Sequence[int] | None = None,
        pool: str | None = None,
    ) -> Features:
        """What the encoder says of inputs: the normed states that the decoder reads, one for each input token.

        Args:
            inputs: plain values by modality name, or a list of those of samples that may differ in what they have.
            layers: states after these blocks of the encoder, from 0, or from -1 backwards; each is normed by the last
                norm, so that ``layers=[-1]`` is the default.
            pool: 'mean' for one vector a sample, the mean over its tokens, without padding.

        Returns:
            The states and the place of each token; ``features(inputs).map("rgb")`` is a grid of them (H, W, D).

        Raises:
            UnknownModality: an input is not in the set.
            ConfigError: there is no such block or pool.
            AnymodalError: a value cannot be read, or a plugin failed.
        """
        read = encoder_inputs(self.modalities, [inputs] if isinstance(inputs, Mapping) else inputs)
        found = features_of(self.transformer, read.to(self.device).inputs, layers, pool)
        return found.sample(0) if isinstance(inputs, Mapping) else found

    # Generation.

    def generate(
        self,
        inputs: Mapping[str, Any],
        targets: str | Sequence[str] | None = None,
        *,
        seed: int = 0,
        chain: bool | None = None,
        weights: Weights | None = None,
        options: TargetOptions | None = None,
        keep: Keep | None = None,
        start: Start | None = None,
        size: tuple[int, int] | str | None = None,
        overlap: float = 0.25,
        progress: Progress | None = None,
        **common: Unpack[SamplingOptions],
    ) -> Outputs:
        """Generate targets, each from the inputs and, in a chain, from the targets before it.

        Args:
            inputs: plain values by modality name: a file (path, address, bytes), picture, array or text.
            targets: modalities, or finer streams of one (``rgb.448``); by default all that are not given.
            seed: the same one gives the same result.
            chain: False for each target from the inputs alone, which is faster; None as the checkpoint says, else True.
            weights: guide by these inputs alone, each apart, not by guidance: ``{"rgb": 1.0, "caption": 2.5}``.
            options: sampling options of single targets: ``{"depth": {"steps": 8}}``.
            keep: what stays of targets that are inputs too: a mask of a picture, True for all that is given of a text
                with blanks (``"a ___ car"``), boxes or numbers, or a list of which of them.
            start: what sequences begin with, by name: the first words of a text, boxes, people, instances or numbers.
            size: (width, height) of pictures larger than the model's, made in tiles, or "input" for that of the input.
            overlap: the least share of a tile that its neighbors have too, up to 0.75, rounded up to whole tokens.
            progress: is called with the `GenerationStep` after every step.
            common: sampling options of every target: those of `anymodal.sampling.Sampling`.

        Returns natural values by name.

        Raises:
            UnknownModality: a name is not in the set.
            ConfigError: a sampling option does not exist or cannot have its value.
            GenerationError: the request does not fit the model.
            AnymodalError: a value cannot be read, or a plugin failed.
        """
        how: Any = {"chain": chain, "weights": weights, "options": options, "progress": progress}
        parts: Any = {"keep": keep, "start": start}
        if size is not None:
            return in_tiles(self, inputs, targets, size, overlap, seed, common, parts, **how)
        return self.generate_batch([inputs], targets, seed=seed, **how, **parts, **common)[0]

    def stream(
        self,
        inputs: Mapping[str, Any],
        targets: str | Sequence[str] | None = None,
        *,
        seed: int | Sequence[int] = 0,
        chain: bool | None = None,
        weights: Weights | None = None,
        options: TargetOptions | None = None,
        keep: Keep | None = None,
        start: Start | None = None,
        **common: Unpack[SamplingOptions],
    ) -> Generation:
        """`generate`, step by step: ``for step in model.stream(inputs, "rgb"): show(step.partial)``.

        Nothing is computed between the steps, so leaving the loop ends the generation. A value is decoded when it is
        asked for; that of a target's last step is the one that `generate` returns for the same seed.

        Args:
            inputs: as for `generate`, like all the others.
            seed: or several, whose samples are made side by side; `step.sample` counts them.

        Returns the steps, with `outputs` of each seed after the last of them. Raises as `generate`, at once.
        """
        seeds = sample_seeds(seed)
        samples = [inputs] * len(seeds)
        (batch,) = batches(self.bundle, samples, targets, seeds, chain, weights, options, common, keep, start)
        return Generation(batch, self.transformer, self.origin, weights)

    def generate_batch(
        self,
        inputs: Sequence[Mapping[str, Any]],
        targets: str | Sequence[str] | None = None,
        *,
        seed: int | Sequence[int] = 0,
        chain: bool | None = None,
        weights: Weights | None = None,
        options: TargetOptions | None = None,
        keep: Keep | Sequence[Keep] | None = None,
        start: Start | Sequence[Start] | None = None,
        progress: Progress | None = None,
        **common: Unpack[SamplingOptions],
    ) -> list[Outputs]:
        """`generate` for several samples in one batch; each gets what it would get alone.

        Args:
            inputs: those of each sample.
            seed: sample i uses `seed` + i, or the i-th of a list.
            keep: of all samples, or a list with one for each; so is `start`.
            progress: is called after every step for each sample; `step.sample` is its number.

        Raises GenerationError for not as many seeds as samples; else as `generate`.
        """
        seeds = sample_seeds(seed, count_of(inputs))
        results: dict[int, Outputs] = {}
        for batch in batches(self.bundle, inputs, targets, seeds, chain, weights, options, common, keep, start):
            results |= finished(batch, self.transformer, self.origin, progress, weights)
        return [results[number] for number in range(len(inputs))]

    def upscale(
        self,
        outputs: Outputs,
        targets: str | Sequence[str] | None = None,
        *,
        seed: int = 1,
        options: TargetOptions | None = None,
        progress: Progress | None = None,
        **common: Unpack[SamplingOptions],
    ) -> Outputs:
        """Finer values of what another model generated, by this one's finer streams (4M, arXiv 2312.06647).

        ``am.load("4m-7-sr-l").upscale(outputs)`` reads the inputs and tokens of `outputs`, as far as it knows their
        modalities, and generates the targets at the size of its finer streams, pictures last.

        Args:
            outputs: what another model generated.
            targets: by default all of the outputs that this model has finer streams of; the others as for `generate`.

        Raises GenerationError where there is nothing to upscale, or a target has no finer stream; else as `generate`.
        """
        batch, names = finer_batch(self.modalities, outputs, targets, seed, options, common)
        source = outputs.tokens_for(self.modalities.layout)
        return finished(batch, self.transformer, self.origin, progress, source=source)[0].renamed(names)

    def embed(
        self,
        inputs: Mapping[str, Any],
        to: str,
        *,
        seed: int = 0,
        normalize: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> np.ndarray:
        """A vector for retrieval: the value of a modality predicted from any inputs.

        ``model.embed({"caption": "a dog"}, to="dinov2_global")``: the one that the model expects, in one pass; draws as
        published (4M-21, arXiv 2406.09406) are ``scheme="roar"``. Inputs, seed and options are as for `generate`.

        Args:
            to: a modality whose values are vectors.
            normalize: scale it to length 1, so that dot products are cosines.

        Returns:
            (channels,) float32. Raises GenerationError where `to` is no vector; else as `generate`.
        """
        return self.embed_batch([inputs], to, seed=seed, normalize=normalize, **options)[0]

    def embed_batch(
        self,
        inputs: Sequence[Mapping[str, Any]],
        to: str,
        *,
        seed: int = 0,
        normalize: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> np.ndarray:
        """`embed` for several samples in one batch: (samples, channels). All use the same seed."""
        how = retrieval_options(self.modalities, to, options)
        outputs = self.generate_batch(inputs, to, seed=[seed] * count_of(inputs), **how)
        return stacked_vectors([out[to] for out in outputs], self.modalities[to], normalize)

    # Checkpoints.

    def save_pretrained(
        self, folder: str | Path, dtype: str | torch.dtype | None = None, *, max_shard_size: str | int | None = "5GB"
    ) -> Path:
        """Write config, weights, vocabulary, tokenizers and a model card into a folder that `anymodal.load` reads.

        The folder holds the model as a whole or what was there before, whatever interrupts it. An older model there is
        replaced; other files stay.

        Args:
            folder: the folder, made if need be; it is returned.
            dtype: of the weights in the files: as for `load`, or "int8" (each within 1/254 of the largest in its row).
            max_shard_size: weights beyond it are cut into shards: bytes, or text such as "500MB"; None for one file.

        Raises:
            CheckpointError: the folder holds files that would be replaced and are of no model of ours.
            DataError: it cannot be written.
            ConfigError: for a dtype or a size that there is not.
        """
        from anymodal.checkpoints.formats.native.write import save

        with system_errors(DataError, f"cannot write {brief(str(folder), 400)}"):
            return save(self.bundle, Path(folder), dtype, max_shard_size)

    def push_to_hub(
        self,
        repository: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str = "Upload model",
        dtype: str | torch.dtype | None = None,
        max_shard_size: str | int | None = "5GB",
    ) -> str:
        """Upload what `save_pretrained` writes to a repository on the Hub.

        Args:
            repository: its name, such as "me/model"; made if need be.
            private: whether a repository that is made is private; None for the default of the account.
            token: a token, True for the stored one, None for whatever is there.
            commit_message: the title of the commit.
            dtype: as for `save_pretrained`; so is `max_shard_size`.

        Returns the address. Raises CheckpointError when the Hub refuses, or for what is no name of a repository.
        """
        from anymodal.checkpoints.upload import push

        return push(self.bundle, repository, private, token, commit_message, dtype, max_shard_size)


def load(
    name: str | Path,
    *,
    modalities: Iterable[str] | None = None,
    revision: str | None = None,
    dtype: str | torch.dtype = "float32",
    precision: Precision = "auto",
    device: str | torch.device | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    tokenizers: Mapping[str, str | Path] | str | Path | None = None,
    vocabulary: str | Path | None = None,
    backend: str | None = None,
) -> AnyModel:
    """Load a model of ours or a published 4M model, in evaluation mode.

    Args:
        name: a preset such as "tiny", "tiny-7" or "4m-21-b", a folder, a .safetensors file, or a repository on the Hub.
        modalities: those to load; only their files and tensors are read. By default all, or those that a preset
            takes; published ones without a plugin are then left out with a warning.
        revision: a branch, tag or commit of a repository.
        dtype: "float32", "float16" or "bfloat16", or the dtype itself, of the Transformer.
        precision: of products in generation: "bfloat16", "float32", or "auto" for what the device does fast.
        device: where the model goes; by default the first GPU if there is one.
        cache_dir: where files from the Hub are kept.
        local_files_only: whether to use what is kept alone, and not to ask the Hub.
        token: a token for the Hub, True for the stored one, None for whatever is there.
        tokenizers: where published tokenizers are instead of the Hub: a folder, or a place for each modality.
        vocabulary: the path of 4M's text tokenizer.
        backend: "torch", or "onnx" for graphs that `anymodal export` wrote; by default what the files are made for.

    Raises:
        CheckpointError: there is no such model, or it cannot be read.
        UnknownModality: a plugin is missing, or the model does not have a modality that is asked for.
        ConfigError: for a revision of what has none, or a dtype or precision that there is not.
    """
    access = Access(cache_dir=cache_dir, local_files_only=local_files_only, token=token)
    options = Options(modalities=modalities, dtype=dtype, access=access, load_tokenizer=load_tokenizer)
    options = attrs.evolve(options, tokenizers=tokenizers, vocabulary=vocabulary, backend=backend, precision=precision)
    where = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with task(f"loading {name}"), system_errors(CheckpointError, f"{brief(name, 400)} cannot be read"):
        bundle = load_bundle(name, options, revision)
        model = AnyModel(bundle.modalities, bundle.transformer).to(where)
        model.bundle, model.origin = bundle, Origin(model=str(name), revision=revision, commit=bundle.commit)
        return model
