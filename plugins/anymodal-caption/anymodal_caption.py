"""What a picture shows, in words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anymodal import Labeler, PictureLabeler, TextModality, hookimpl

if TYPE_CHECKING:
    import numpy as np


class Caption(TextModality):
    """Captions: str, any language the vocabulary covers, lower-cased by it. A mirrored picture keeps its caption."""

    length = 256


class CaptionLabeler(PictureLabeler):
    """Captions by BLIP (Li et al. 2022): the likeliest words one after the other."""

    modality, checkpoint = "caption", "Salesforce/blip-image-captioning-base"
    architecture = "BlipForConditionalGeneration"

    def load(self) -> None:
        from transformers import AutoTokenizer

        super().load()
        self.tokenizer = AutoTokenizer.from_pretrained(self.checkpoint)

    def predict(self, pictures: "list[np.ndarray]") -> list[Any]:
        ids = self.model.generate(**self.prepared(pictures), max_new_tokens=32, do_sample=False)
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]


@hookimpl
def anymodal_labelers() -> Mapping[str, type[Labeler]]:
    return {"caption": CaptionLabeler}
