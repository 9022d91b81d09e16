"""Object storage: one small API over ``s3://`` and local folders.

The one operation everything rests on is :meth:`ObjectStore.create`, put-if-absent: it is how a part is committed exactly once.
Keys are relative to the store's URL, use ``/`` and never leave it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from mtd_ray.errors import StorageError
from mtd_ray.object_client import NO_ANSWER, first_line, local_folder, open_client, reach

if TYPE_CHECKING:
    from mtd_ray.config import StorageConfig

# S3 allows 10,000 chunks: files up to 160 GB, at most 64 MB of memory each.
_UPLOAD: Any = {"chunk_size": 16 * 1024 * 1024, "max_concurrency": 4}


@dataclass(frozen=True)
class ObjectInfo:
    """One listed object: its key relative to the store, its size in bytes, and when it was written, by the store's clock.

    ``etag`` changes with the content; None where the store has none.
    """

    key: str
    size: int
    modified: datetime
    etag: str | None = None


class ObjectStore:
    """A folder of objects at one URL. Cheap to pickle: a worker gets the URL and opens its own connections.

    Credentials come from boto3's chain (environment, profile, role); ``endpoint`` falls back to ``AWS_ENDPOINT_URL_S3`` and
    ``AWS_ENDPOINT_URL``.

    Raises:
        StorageError: from every method, when the store cannot be reached, refuses, or the bucket is missing; ``get`` also when the
            key is absent. The message names the URL and key. An endpoint that does not answer the first request fails within about
            ten seconds.
    """

    def __init__(self, url: str, *, endpoint: str | None = None, region: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.endpoint = endpoint
        self.region = region
        self._client, self._probe = open_client(self.url, endpoint, region)
        self._folder = local_folder(self.url)

    @classmethod
    def open(cls, storage: StorageConfig) -> ObjectStore:
        """The store a recipe names."""
        return cls(storage.url, endpoint=storage.endpoint, region=storage.region)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.url, self.endpoint, self.region)

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    @property
    def _store(self) -> Any:
        probe = self._probe  # once: another thread may be done with it meanwhile
        if probe is not None:
            reach(probe, self.url, self.endpoint)
            self._probe = None
        return self._client

    def child(self, prefix: str) -> ObjectStore:
        """The same store, one folder down."""
        return ObjectStore(f"{self.url}/{_checked(prefix)}", endpoint=self.endpoint, region=self.region)

    def check(self) -> None:
        """Raise StorageError unless the store answers: an unreachable endpoint or a missing bucket is found before work starts."""
        with _Translated(self, "", "list"):
            next(iter(obstore.list(self._store, chunk_size=1)), None)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing what is there."""
        with _Translated(self, key, "write"):
            obstore.put(self._store, _checked(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object only if the key is free. True when written, False when there is an object already.

        When the answer to a successful request is lost, it is sent again and finds its own object: False. A caller that must know
        whose object it is reads it.
        """
        with _Translated(self, key, "create"):
            try:
                obstore.put(self._store, _checked(key), data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def get(self, key: str) -> bytes:
        """The whole object."""
        with _Translated(self, key, "read"):
            return bytes(self._read(key))

    def find(self, key: str) -> bytes | None:
        """The whole object, or None when there is none."""
        view = self.find_view(key)
        return None if view is None else bytes(view.obj)

    def find_view(self, key: str) -> memoryview | None:
        """What :meth:`find` gives, read-only, in the memory it was received in: for objects so large that a copy costs."""
        with _Translated(self, key, "read"):
            try:
                return memoryview(self._read(key))
            except (FileNotFoundError, NotFoundError) as error:
                if _NO_BUCKET in str(error):
                    raise
                return None

    def _read(self, key: str) -> bytes | obstore.Bytes:
        if self._folder is None:
            return obstore.get(self._store, _checked(key)).bytes()
        # The client reads into fresh memory every time, and its page faults take as long as the reading.
        return (self._folder / _checked(key)).read_bytes()

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        with _Translated(self, key, "look up"):
            try:
                obstore.head(self._store, _checked(key))
            except (FileNotFoundError, NotFoundError):
                return False
        return True

    def info(self, key: str) -> ObjectInfo | None:
        """What is known about an object without reading it, or None when there is none."""
        with _Translated(self, key, "look up"):
            try:
                entry = obstore.head(self._store, _checked(key))
            except (FileNotFoundError, NotFoundError):
                return None
        return ObjectInfo(key, int(entry["size"]), entry["last_modified"], entry["e_tag"])

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """``length`` bytes of an object, at least one, from ``start`` on."""
        with _Translated(self, key, "read"):
            return bytes(obstore.get_range(self._store, _checked(key), start=start, length=length))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects below a folder, in no promised order. ``prefix`` is whole path segments."""
        with _Translated(self, prefix, "list"):
            for batch in obstore.list(self._store, _checked(prefix) if prefix else None):
                for entry in batch:
                    yield ObjectInfo(str(entry["path"]), int(entry["size"]), entry["last_modified"], entry["e_tag"])

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with _Translated(self, key, "delete"):
            try:
                obstore.delete(self._store, _checked(key))
            except (FileNotFoundError, NotFoundError):
                return

    def upload_folder(self, folder: Path, prefix: str) -> None:
        """Write every file below a local folder under ``prefix``."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            self.upload(path, f"{prefix}/{path.relative_to(folder).as_posix()}")

    def upload(self, path: Path, key: str) -> None:
        """Write a local file, in chunks, replacing what is there."""
        with _Translated(self, key, "write"), path.open("rb") as file:
            obstore.put(self._store, _checked(key), file, **_UPLOAD)

    def download(self, key: str, path: Path) -> None:
        """Write one object to a local file, in chunks; folders above it are made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with _Translated(self, key, "read"), path.open("wb") as file:
            for chunk in obstore.get(self._store, _checked(key)).stream():
                file.write(chunk)

    def download_folder(self, prefix: str, folder: Path) -> None:
        """Write every object under ``prefix`` below a local folder."""
        for info in self.list(prefix):
            self.download(info.key, folder / _checked(info.key).removeprefix(f"{prefix}/"))


def _reopen(url: str, endpoint: str | None, region: str | None) -> ObjectStore:
    return ObjectStore(url, endpoint=endpoint, region=region)


def _checked(key: str) -> str:
    if not key or key.startswith("/") or any(segment in ("", ".", "..") for segment in key.split("/")):
        raise StorageError(f"object key {key!r} is not a plain relative path")
    return key


class _Translated:
    """Turns the client library's errors into StorageError with the place named."""

    def __init__(self, store: ObjectStore, key: str, verb: str) -> None:
        self.store, self.key, self.verb = store, key, verb

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (BaseError, OSError)):
            raise StorageError(_explain(self.store, self.key, self.verb, error)) from error


_NO_BUCKET = "NoSuchBucket"
_REFUSALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken")


def _explain(store: ObjectStore, key: str, verb: str, error: BaseException) -> str:
    where = f"{store.url}/{key}" if key else store.url
    at = f" (endpoint {store.endpoint})" if store.endpoint else ""
    text = str(error)
    if _NO_BUCKET in text:
        reason = "the bucket does not exist: create it or correct storage.url"
    elif isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)) or any(
        word in text for word in _REFUSALS
    ):
        reason = "access was refused: check the credentials and their permissions"
    elif isinstance(error, (FileNotFoundError, NotFoundError)):
        reason = "there is no such object (or bucket)"
    elif NO_ANSWER in text:
        reason = "the store cannot be reached: check the endpoint and the network"
    else:
        reason = first_line(error)
    return f"cannot {verb} {where}{at}: {reason}"
