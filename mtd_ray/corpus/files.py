"""The files a source path stands for, on this machine or on S3."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mtd_ray.errors import CorpusError
from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class SourceFile:
    """One file of texts. ``name`` is its full path or URL, ``size`` its bytes, ``etag`` what an object store calls its content."""

    name: str
    size: int
    _store: ObjectStore | None = None
    _key: str = ""
    etag: str | None = None

    @contextlib.contextmanager
    def local(self) -> Iterator[Path]:
        """The file's path on this machine while the context lasts; an object is downloaded, one at a time."""
        if self._store is None:
            yield Path(self.name)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.name.rsplit("/", 1)[-1]
            self._store.download(self._key, path)
            yield path


def find_files(path: str, suffixes: tuple[str, ...], storage: ObjectStore | None = None) -> list[SourceFile]:
    """The files at a path, in the order of their names: one file, or all below a folder or S3 prefix that end in ``suffixes``.

    Args:
        path: a local path or ``s3://…``, read with the endpoint and region of ``storage``; those of the environment without one.

    Raises:
        CorpusError: nothing is there.
        StorageError: the object store cannot be reached or refuses.
    """
    files = _on_s3(path, suffixes, storage) if path.startswith("s3://") else _on_disk(Path(path), suffixes)
    if not files:
        raise CorpusError(f"{path} holds no file that ends in {' or '.join(suffixes)}")
    return sorted(files, key=lambda file: file.name)


def _on_disk(path: Path, suffixes: tuple[str, ...]) -> list[SourceFile]:
    path = path.expanduser().absolute()
    if not path.exists():
        raise CorpusError(f"{path}: there is no such file or folder")
    found = [path] if path.is_file() else [file for file in path.rglob("*") if file.name.endswith(suffixes) and file.is_file()]
    return [SourceFile(str(file), file.stat().st_size) for file in found]


def _on_s3(url: str, suffixes: tuple[str, ...], storage: ObjectStore | None) -> list[SourceFile]:
    bucket, _, key = url.removeprefix("s3://").rstrip("/").partition("/")
    reached = {} if storage is None else {"endpoint": storage.endpoint, "region": storage.region}
    store = ObjectStore(f"s3://{bucket}", **reached)
    # An object's own key lists nothing below it, so a single file is found through the folder it lies in.
    folder = key.rpartition("/")[0] if key.endswith(suffixes) else key
    found = [
        info for info in store.list(folder) if info.key.endswith(suffixes) and (info.key == key or info.key.startswith(_below(key)))
    ]
    return [SourceFile(f"s3://{bucket}/{info.key}", info.size, store, info.key, info.etag) for info in found]


def _below(key: str) -> str:
    return f"{key}/" if key else ""
