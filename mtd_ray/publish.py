"""Folders in the object store: every file with its hash, the manifest written last. Needs no PyTorch."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from mtd_ray.errors import StorageError
from mtd_ray.objects import ObjectStore

_MANIFEST = "manifest.json"


def publish_folder(store: ObjectStore, folder: Path, prefix: str) -> None:
    """Upload a folder under a key prefix. ``manifest.json``, with every file's sha256, is written last: no manifest, no folder."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    store.delete(f"{prefix}/{_MANIFEST}")
    store.upload_folder(folder, prefix)
    entries = {name: {"sha256": _sha256(path), "size": path.stat().st_size} for name, path in files.items()}
    store.put(f"{prefix}/{_MANIFEST}", json.dumps({"files": entries}, indent=1).encode())


def fetch_folder(store: ObjectStore, prefix: str, folder: Path) -> None:
    """Bring a published folder to this machine; a folder that is there already and whole is kept.

    Raises:
        StorageError: the folder was never published completely, or a file is not what was published.
    """
    expected = published_files(store, prefix)
    if _faults(folder, expected):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            fetched = Path(scratch) / "fetched"
            store.download_folder(prefix, fetched)
            if fault := _faults(fetched, expected):
                raise StorageError(f"{store.url}/{prefix}/{fault} is not what was published there: export the student again")
            _replace(fetched, folder, set(expected))


def published_files(store: ObjectStore, prefix: str) -> dict[str, str]:
    """File → sha256 of a published folder.

    Raises:
        StorageError: nothing is published there, or not completely.
    """
    manifest = store.find(f"{prefix}/{_MANIFEST}")
    if manifest is None:
        raise StorageError(f"{store.url}/{prefix} holds no published model: run the export step first")
    return {name: entry["sha256"] for name, entry in json.loads(manifest)["files"].items()}


def _faults(folder: Path, expected: dict[str, str]) -> str | None:
    """The first expected file that is missing or different, if any."""
    return next((name for name, digest in expected.items() if _sha256(folder / name) != digest), None)


def _replace(fetched: Path, folder: Path, keep: set[str]) -> None:
    for path in sorted(fetched.rglob("*")):
        if path.is_file() and path.relative_to(fetched).as_posix() not in keep:
            path.unlink()
    if folder.is_dir():
        shutil.rmtree(folder)
    fetched.rename(folder)


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
