"""Where an exported folder is sent: object storage, or a hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mtd_ray.errors import MtdError
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import is_published, left_over, publish_folder

if TYPE_CHECKING:
    from mtd_ray.config import StorageConfig

_HUB = "hub:"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
# What earlier exports may have left: other sizes, other numbers of files, variants. What others added stays.
_OURS = ("*.safetensors", "*.safetensors.index.json", "1_Pooling/*", "2_Dense_*", "onnx/*", "openvino/*")


class Destination(Protocol):
    """A place for one folder. ``address`` is what everybody's sentence-transformers loads it by; None where there is no such."""

    @property
    def address(self) -> str | None: ...

    def send(self, folder: Path) -> str:
        """Put the whole folder there, in place of what was there before.

        Returns:
            Where it lies now.

        Raises:
            MtdError: it cannot be reached, or refuses.
        """
        ...


def destination(to: str, storage: StorageConfig) -> Destination:
    """Read ``hub:OWNER/NAME``, ``s3://bucket/prefix`` or an absolute folder; a bucket is reached as the recipe's storage is.

    Raises:
        MtdError: it is none of these.
    """
    if to.startswith(_HUB):
        return Hub(to.removeprefix(_HUB))
    parent, _, name = to.rstrip("/").rpartition("/")
    if not to.startswith(("s3://", "file:///", "/")) or not name or parent in ("", "s3:/", "file://"):
        raise MtdError(f"--to {to} is neither hub:OWNER/NAME nor s3://bucket/prefix nor an absolute folder inside another")
    return Storage(ObjectStore(parent, endpoint=storage.endpoint, region=storage.region), name)


class Storage:
    """A prefix in object storage; the manifest, with every file's hash, is written last."""

    address: str | None = None  # a bucket must be fetched first, and where a folder lies on this machine is nobody else's concern

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self._name = name

    def send(self, folder: Path) -> str:
        where = f"{self._store.url}/{self._name}"
        if not is_published(self._store, self._name) and (others := left_over(self._store, folder, self._name)):
            raise MtdError(
                f"{where} is no published model and holds other files, which would be deleted, such as {others[0]}: name a new "
                "place, or empty it"
            )
        publish_folder(self._store, folder, self._name)
        return where


class Hub:
    """A model repository of a Hugging Face hub: one commit, so that nobody sees half a model. A new repository is private.

    Hub and token are those of ``huggingface_hub``: ``HF_ENDPOINT``, and ``HF_TOKEN`` or what ``hf auth login`` stored.
    """

    def __init__(self, repository: str, api: Any = None) -> None:
        if not _REPOSITORY.fullmatch(repository):
            raise MtdError(f"--to hub:{repository}: a repository of a hub is named OWNER/NAME")
        self.address: str | None = repository
        self._repository = repository
        self._api = api

    def send(self, folder: Path) -> str:
        from huggingface_hub import HfApi, errors

        api = self._api or HfApi()
        try:
            api.create_repo(repo_id=self._repository, private=True, exist_ok=True)
            commit = api.upload_folder(
                repo_id=self._repository,
                folder_path=folder,
                commit_message="Student exported by mtd-ray",
                delete_patterns=list(_OURS),
            )
        except (OSError, errors.HFValidationError, errors.HTTPError) as error:  # type: ignore[attr-defined]  # the client's own
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise MtdError(
                f"hub:{self._repository} did not take the folder: {first}; check the repository's name, HF_TOKEN, and that this "
                f"machine reaches {os.environ.get('HF_ENDPOINT') or 'the hub'} (HF_ENDPOINT names another)"
            ) from error
        return str(commit.commit_url)
