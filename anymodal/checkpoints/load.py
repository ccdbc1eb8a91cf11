"""Load a model by name, from a folder, a file or the Hub; and push one.

Presets are short names: those of installed plugins are folders, those of the table below repositories with published
models (4M, arXiv 2312.06647, 2406.09406).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymodal.checkpoints.repository import REPOSITORY, Access, Files, Folder, Repository, clear_errors
from anymodal.errors import CheckpointError, ConfigError, UnknownModality, nearest
from anymodal.files import read_object
from anymodal.plugins.registry import registry

if TYPE_CHECKING:
    import torch

    from anymodal.anymodel import AnyModel

PUBLISHED = {
    "4m-7-b": "EPFL-VILAB/4M-7_B_CC12M",
    "4m-7-l": "EPFL-VILAB/4M-7_L_CC12M",
    "4m-7-xl": "EPFL-VILAB/4M-7_XL_CC12M",
    "4m-7-b-coyo": "EPFL-VILAB/4M-7_B_COYO700M",
    "4m-7-l-coyo": "EPFL-VILAB/4M-7_L_COYO700M",
    "4m-7-xl-coyo": "EPFL-VILAB/4M-7_XL_COYO700M",
    "4m-7-t2i-b": "EPFL-VILAB/4M-7-T2I_B_CC12M",
    "4m-7-t2i-l": "EPFL-VILAB/4M-7-T2I_L_CC12M",
    "4m-7-t2i-xl": "EPFL-VILAB/4M-7-T2I_XL_CC12M",
    "4m-7-sr-l": "EPFL-VILAB/4M-7-SR_L_CC12M",
    "4m-21-b": "EPFL-VILAB/4M-21_B",
    "4m-21-l": "EPFL-VILAB/4M-21_L",
    "4m-21-xl": "EPFL-VILAB/4M-21_XL",
}

STALE = ["*.safetensors", "*.index.json", "modalities/*"]  # of an older upload, where the new one has none


def load(
    name: str | Path,
    *,
    modalities: Iterable[str] | None = None,
    revision: str | None = None,
    dtype: str = "float32",
    device: str | torch.device | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    tokenizers: Mapping[str, str | Path] | str | Path | None = None,
    vocabulary: str | Path | None = None,
) -> AnyModel:
    """Load a model: a preset such as "tiny" or "4m-21-b", a folder, a .safetensors file, or a repository on the Hub.

    `modalities` restricts it to some; only their files and tensors are read. Of a published 4M model, modalities whose
    plugin is not installed are left out with a warning, unless they are named here. `revision` is a branch, tag or
    commit, `cache_dir`, `local_files_only` and `token` are those of huggingface_hub. `device` defaults to the first GPU
    if there is one. `tokenizers` says where published tokenizers are instead of the Hub: a folder, or a place for each
    modality; they are loaded when first needed. `vocabulary` is the path of 4M's text tokenizer.
    Raises CheckpointError, or UnknownModality if a plugin is missing.
    """
    import torch

    from anymodal.checkpoints.formats.fourm.files import read_config
    from anymodal.checkpoints.formats.fourm.read import Options, load_published
    from anymodal.checkpoints.native import FORMAT, load_checkpoint

    access = Access(cache_dir=cache_dir, local_files_only=local_files_only, token=token)
    place = resolve(name, revision, access)
    if revision is not None and not isinstance(place, Repository):
        raise ConfigError(f"revision {revision!r} is given for {place}; only repositories on the Hub have revisions")
    wanted = [modalities] if isinstance(modalities, str) else None if modalities is None else list(modalities)
    options = Options(modalities=wanted, dtype=dtype, access=access, tokenizers=tokenizers, vocabulary=vocabulary)
    raw = read_config(place)[0] if isinstance(place, Path) else read_object(place.path("config.json"))
    if raw.get("format") == FORMAT and not isinstance(place, Path):
        model = load_checkpoint(place, raw, wanted, dtype, access, tokenizers)
    elif "domains_in" in raw:
        model = load_published(place, raw, options)
    else:
        raise CheckpointError(_unknown(place, raw))
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _unknown(place: Files | Path, raw: Mapping[str, Any]) -> str:
    if "enc_type" in raw or "tokenizer" in raw:
        return f"{place} is the tokenizer of one modality and no model; pass it as tokenizers={{NAME: PATH}}"
    kind = raw.get("model_type") or raw.get("architectures") or raw.get("format")
    kind = f", it says {kind!r}" if kind else ""
    return f"{place} does not describe an anymodal checkpoint or a published 4M model{kind}"


def resolve(name: str | Path, revision: str | None = None, access: Access | None = None) -> Files | Path:
    """The folder or repository of a name, or the path of a single file. Raises CheckpointError."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    text = str(name)
    repository = PUBLISHED.get(text) or (text if REPOSITORY.fullmatch(text) else None)
    if repository is not None and not path.is_dir():
        return Repository(repository, revision, access or Access())
    return Folder(locate(path if path.is_dir() else name))


def locate(name: str | Path) -> Path:
    """The folder of a path, or of the preset of an installed plugin. Raises CheckpointError with what was tried."""
    folder = Path(name)
    if (folder / "config.json").is_file():
        return folder
    if folder.is_dir():
        raise CheckpointError(f"{folder} is a folder without config.json, so it is no checkpoint")
    try:
        found = Path(registry().preset(str(name)))
    except UnknownModality:
        hint = f"{nearest(str(name), presets())} (`anymodal models` lists the presets)"
        raise CheckpointError(f"{str(name)!r} is neither a preset nor a folder nor a repository{hint}") from None
    if not (found / "config.json").is_file():
        raise CheckpointError(f"the preset {str(name)!r} has no checkpoint in {found}; install its package again")
    return found


def presets() -> dict[str, str]:
    """Where the presets are, by name: folders of installed plugins, and repositories of published models."""
    return {**PUBLISHED, **registry().presets()}


def push(
    model: AnyModel,
    repository: str,
    private: bool | None = None,
    token: str | bool | None = None,
    commit_message: str = "Upload model",
    dtype: str | None = None,
    max_shard_size: str | int | None = "5GB",
) -> str:
    """Upload a model; see `AnyModel.push_to_hub`."""
    from huggingface_hub import HfApi

    from anymodal.checkpoints.native import save

    if not REPOSITORY.fullmatch(repository):
        raise CheckpointError(f"{repository!r} is not the name of a repository, such as 'me/model'")
    with tempfile.TemporaryDirectory(prefix="anymodal-") as folder:
        save(model, Path(folder), dtype, max_shard_size, repository)
        api = HfApi(token=token)
        with clear_errors(repository):
            url = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=commit_message,
                delete_patterns=STALE,
            )
    return str(url)
