from __future__ import annotations

import numpy as np
import pytest
import torch
from anymodal_caption import Caption, CaptionLabeler

from anymodal.testing import conformance

test_conformance = conformance("caption")


def test_captions_of_4m_files(tmp_path):
    path = tmp_path / "a.json"
    for content in ('"a cup"', '["a cup", "a dog"]', '[{"caption": "a cup"}]', '{"caption": "a cup"}'):
        path.write_text(content)
        assert Caption().read(path) == "a cup"


def test_blip_of_the_real_class_labels(tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "cup", "[DEC]"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(tmp_path)
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 8, "bos_token_id": 7, "eos_token_id": 3, "pad_token_id": 0, "sep_token_id": 3, **small}
    config = transformers.BlipConfig(
        text_config={**text, "encoder_hidden_size": 16, "projection_dim": 16},
        vision_config={"image_size": 32, "patch_size": 16, **small}, projection_dim=16, image_text_hidden_size=16,
    )  # fmt: skip
    transformers.BlipForConditionalGeneration(config).save_pretrained(tmp_path)
    transformers.BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    labeler = CaptionLabeler(tmp_path, device="cpu")
    pictures = np.random.default_rng(0).integers(0, 255, (2, 40, 60, 3), dtype=np.uint8)
    found = labeler.label([{"rgb": p} for p in pictures])
    assert len(found) == 2 and all(Caption().accept(text) == text for text in found)
