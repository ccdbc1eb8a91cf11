"""What a picture shows, as vectors of a text encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

from anymodal import EmbeddingModality, Labeler, hookimpl


class T5Caption(EmbeddingModality):
    """Captions in the last layer of T5-XXL's encoder (Raffel et al. 2020): float32 arrays (tokens, 4096), one row a
    token of T5's own vocabulary with its end mark; the model reads the first 77. Only ever an input.
    """

    width, length = 4096, 77


class T5CaptionLabeler(Labeler):
    """The rows of a caption in a T5 encoder; its width must be that of the model that reads them."""

    modality, sources, packages = "t5_caption", ("caption",), ("transformers",)
    checkpoint = "google/t5-v1_1-xxl"

    def load(self) -> None:
        from transformers import AutoTokenizer, T5EncoderModel

        self.tokenizer = AutoTokenizer.from_pretrained(self.checkpoint)
        model = T5EncoderModel.from_pretrained(self.checkpoint, use_safetensors=True)
        self.model = model.eval().requires_grad_(False).to(self.device)

    def label(self, samples: Sequence[Mapping[str, Any]]) -> list[Any]:
        import torch

        captions = self.values(samples, "caption")
        options = {"padding": True, "truncation": True, "max_length": T5Caption.length, "return_tensors": "pt"}
        inputs = self.tokenizer(captions, **options).to(self.device)
        with torch.inference_mode():
            rows = self.model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask).last_hidden_state
        return [row[kept.bool()].float().cpu().numpy() for row, kept in zip(rows, inputs.attention_mask, strict=True)]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"t5_caption": T5CaptionLabeler}
