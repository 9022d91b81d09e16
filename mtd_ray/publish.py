"""Folders in the object store: every file with its hash, the manifest written last. Needs no PyTorch.

The model card, README.md, is the one file without a hash: it says what was measured after the folder was published, and decides no
vector, so that it can be written again at any time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from mtd_ray.errors import StorageError
from mtd_ray.objects import ObjectStore

_MANIFEST = "manifest.json"
_CARD = "README.md"


def publish_folder(store: ObjectStore, folder: Path, prefix: str) -> None:
    """Upload a folder under a key prefix, in place of everything that was there.

    ``manifest.json``, with every file's sha256, is written last: no manifest, no folder.
    """
    files = _files(folder)
    store.delete(f"{prefix}/{_MANIFEST}")
    # A loader that looks into the folder itself would take an earlier export's weights for this one's.
    for key in left_over(store, folder, prefix):
        store.delete(key)
    store.upload_folder(folder, prefix)
    entries = {name: {"sha256": _sha256(path), "size": path.stat().st_size} for name, path in files.items() if name != _CARD}
    store.put(f"{prefix}/{_MANIFEST}", json.dumps({"files": entries}, indent=1).encode())


def left_over(store: ObjectStore, folder: Path, prefix: str) -> tuple[str, ...]:
    """Keys under a prefix that are no file of a folder: what publishing it there removes, beside an earlier manifest."""
    own = {f"{prefix}/{name}" for name in (*_files(folder), _MANIFEST)}
    return tuple(sorted(info.key for info in store.list(prefix) if info.key not in own))


def put_card(store: ObjectStore, prefix: str, markdown: str) -> None:
    """Write a folder's model card, before or after it is published."""
    store.put(f"{prefix}/{_CARD}", markdown.encode())


def fetch_folder(store: ObjectStore, prefix: str, folder: Path) -> None:
    """Bring a published folder to this machine; files that are there already and whole are kept, the card is the newest.

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
    _fetch_card(store, prefix, folder / _CARD)


def _fetch_card(store: ObjectStore, prefix: str, path: Path) -> None:
    card = store.find(f"{prefix}/{_CARD}")
    if card is None:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_bytes() != card:
        path.write_bytes(card)


def is_published(store: ObjectStore, prefix: str) -> bool:
    """Whether a folder was published there completely."""
    return store.exists(f"{prefix}/{_MANIFEST}")


def published_files(store: ObjectStore, prefix: str) -> dict[str, str]:
    """File → sha256 of a published folder; the card is not among them.

    Raises:
        StorageError: nothing is published there, or not completely.
    """
    manifest = store.find(f"{prefix}/{_MANIFEST}")
    if manifest is None:
        raise StorageError(
            f"{store.url}/{prefix} holds no published model: finish the run with jobs/distill.py first (a recipe with another "
            "corpus, teacher, student or stage is another run)"
        )
    # Folders published by earlier versions list the card too.
    return {name: entry["sha256"] for name, entry in json.loads(manifest)["files"].items() if name != _CARD}


def _files(folder: Path) -> dict[str, Path]:
    """Every file of a folder, by its name in it."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


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
