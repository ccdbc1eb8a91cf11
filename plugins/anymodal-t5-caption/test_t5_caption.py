from __future__ import annotations

import numpy as np
import pytest
import torch
from anymodal_t5_caption import T5Caption, T5CaptionLabeler

from anymodal.spaces import DenseSpace
from anymodal.testing import conformance

test_conformance = conformance("t5_caption")


def test_the_space_is_that_of_published_models():
    (stream,) = T5Caption().streams()
    assert stream.space == DenseSpace(4096, 77, "left-to-right", bias=True) and not stream.target


def test_an_encoder_of_the_real_class_labels(tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "red": 4, "cup": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    transformers.T5EncoderModel(config).save_pretrained(tmp_path)
    labeler = T5CaptionLabeler(tmp_path, device="cpu")
    long, short = labeler.label([{"caption": "a red cup"}, {"caption": "cup"}])
    assert long.shape == (4, 16) and short.shape == (2, 16) and long.dtype == np.float32
    (alone,) = labeler.label([{"caption": "cup"}])
    assert np.allclose(alone, short, atol=1e-5)
    assert T5Caption(width=16).accept(long).shape == (4, 16)
