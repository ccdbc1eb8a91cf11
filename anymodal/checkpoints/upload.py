"""Upload a model to a repository on the Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from anymodal.checkpoints.formats.native.write import MAX_SHARD_SIZE, save
from anymodal.checkpoints.hub_errors import Request, clear_errors
from anymodal.checkpoints.record import Bundle
from anymodal.checkpoints.repository import REPOSITORY
from anymodal.errors import CheckpointError

# Of an older upload, where the new one has none.
STALE = ["*.safetensors", "*.index.json", "vocabulary.json", "modalities/*"]


def push(
    bundle: Bundle,
    repository: str,
    private: bool | None = None,
    token: str | bool | None = None,
    commit_message: str = "Upload model",
    dtype: str | torch.dtype | None = None,
    max_shard_size: str | int | None = MAX_SHARD_SIZE,
) -> str:
    """Upload a model; see `AnyModel.push_to_hub`."""
    from huggingface_hub import HfApi

    if not REPOSITORY.fullmatch(repository):
        raise CheckpointError(f"{repository!r} is not the name of a repository, such as 'me/model'")
    with tempfile.TemporaryDirectory(prefix="anymodal-") as folder:
        save(bundle, Path(folder), dtype, max_shard_size, repository)
        api = HfApi(token=token)
        with clear_errors(Request(repository, begun=True)):
            url = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=commit_message,
                delete_patterns=STALE,
            )
    return str(url)
