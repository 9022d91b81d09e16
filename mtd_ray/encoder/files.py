"""The files of a model on this machine, and their content."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from mtd_ray.digests import sha256_of
from mtd_ray.encoder.models import locate_model
from mtd_ray.errors import MtdError

# What a published sentence-transformers model consists of; code and other weight formats stay where they are.
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model"]
_OTHER_BACKENDS = ["onnx/*", "openvino/*"]
_SUFFIXES = frozenset({".json", ".safetensors", ".txt", ".model"})


def local_copy(model: str, revision: str | None = None) -> Path:
    """The folder with a model's files; those of a hub model are downloaded, unless they are there.

    Raises:
        MtdError: there is no such folder, or the hub does not give the model.
    """
    place = locate_model(model)
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(place, revision=revision, allow_patterns=_WANTED, ignore_patterns=_OTHER_BACKENDS)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise MtdError(
            f"model {model!r} is no folder of this machine and cannot be downloaded from the hub: {reason}; check the name, the "
            "revision, and the network"
        ) from error
    return Path(folder)


def decides_vectors(name: str) -> bool:
    """Whether a file of a model's folder, by its path in there, may decide its vectors."""
    path = PurePosixPath(name)
    return path.suffix in _SUFFIXES and not any(path.match(pattern) for pattern in _OTHER_BACKENDS)


def content_of(folder: Path) -> dict[str, str]:
    """File → sha256, of all files in a model's folder that may decide its vectors."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    wanted = [name for name in names if decides_vectors(name)]
    return dict(zip(wanted, sha256_of([folder / name for name in wanted]), strict=True))
