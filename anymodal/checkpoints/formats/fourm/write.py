"""A bundle as a published 4M model: a folder with tokenizers and vocabulary, or a single file without."""

from __future__ import annotations

from pathlib import Path

from anymodal.checkpoints.deferred import remote_place
from anymodal.checkpoints.formats.fourm.files import is_single_file
from anymodal.checkpoints.formats.fourm.layout import MODEL, VOCABULARY
from anymodal.checkpoints.formats.fourm.model import save_transformer
from anymodal.checkpoints.formats.fourm.tokenizers import write_published_tokenizer
from anymodal.checkpoints.record import Bundle
from anymodal.checkpoints.swap import replacing_checkpoint


def save_published_model(bundle: Bundle, target: Path) -> list[str]:
    """Write a model in the published format: a folder, or one file if `target` ends in .safetensors.

    A tokenizer that was never needed and lies on the Hub is not copied; those of 4M are found there.

    Args:
        bundle: the model, over streams of 4M's.
        target: the folder or file.

    Returns:
        Notes on what was left out.

    Raises:
        CheckpointError: for a stream, a setting or a tokenizer that 4M has no name for; nothing is written then.
        DataError: `target` cannot be written.
    """
    tokenizers = {m.name: m.tokenizer for m in bundle.modalities if remote_place(m) is None and m.tokenizer is not None}
    others = [m.name for m in bundle.modalities if remote_place(m) not in (None, m.repository)]
    notes = []
    if others:
        notes.append(
            f"the tokenizers of {', '.join(others)} are not 4M's, and not copied; pass tokenizers= to load them"
        )
    if is_single_file(target):
        save_transformer(bundle.transformer, target)
        if tokenizers:
            notes.append(f"one file holds no tokenizers; those of {', '.join(tokenizers)} stay in the source")
        return notes
    with replacing_checkpoint(target, MODEL) as staging:
        save_transformer(bundle.transformer, staging)
        for name, tokenizer in tokenizers.items():
            write_published_tokenizer(tokenizer, staging / "tokenizers" / name)
        if bundle.modalities.vocabulary is not None:
            bundle.modalities.vocabulary.save(staging / VOCABULARY)
    return notes
