"""The files whose texts are embedded, on this machine or on S3, and their bytes."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from mtd_ray.corpus.files import find_files
from mtd_ray.corpus.sources import JSONL_SUFFIXES, PARQUET_SUFFIXES
from mtd_ray.errors import CorpusError
from mtd_ray.objects import ObjectStore

_SUFFIXES = (*PARQUET_SUFFIXES, *JSONL_SUFFIXES)
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Input:
    """One file of texts.

    Attributes:
        url: its full path, or its ``s3://`` URL.
        name: its place below what was asked for, without what its name ends in; the output's too.
        size: its bytes.
        tag: changes when the file does: what S3 calls its content, or the time of the last change of a file here.
    """

    url: str
    name: str
    size: int
    tag: str

    @property
    def possible_names(self) -> list[str]:
        """What it is called below each of the folders that it lies in."""
        parts = _without_suffix(self.url.removeprefix("s3://"), _SUFFIXES).split("/")
        return ["/".join(parts[place:]) for place in range(len(parts))]

    @property
    def is_parquet(self) -> bool:
        return self.url.endswith(PARQUET_SUFFIXES)

    def open(self) -> IO[bytes]:
        """Its bytes, read where they are asked for.

        Raises:
            CorpusError: the file is gone, or not the one that was found.
        """
        self.check()
        if not self.url.startswith("s3://"):
            return Path(self.url).open("rb")
        store, key = _place(self.url)
        return _Ranged(store, key, self.size)  # type: ignore[return-value]

    def check(self) -> None:
        """Raise CorpusError when the file is gone or has changed since it was found."""
        if _tag(self.url) != self.tag:
            raise CorpusError(
                f"{self.url} changed while it was embedded: run the same command again, which embeds what is there then"
            )


def find_inputs(texts: str) -> list[Input]:
    """The files at a path or ``s3://`` URL, by name: one file, all below a folder, or those that match a pattern.

    A pattern's ``*`` and ``?`` stand for anything but ``/``, ``**`` for any folders. What exists under that very name is none.

    Raises:
        CorpusError: nothing is there, or two files have the same name but for its end.
        StorageError: the object store cannot be reached or refuses.
    """
    base, pattern = _divided(texts if texts.startswith("s3://") else str(Path(texts).expanduser().absolute()))
    files = find_files(base, _SUFFIXES)
    single = len(files) == 1 and files[0].name == base
    found = []
    for file in files:
        relative = file.name.rsplit("/", 1)[-1] if single else file.name.removeprefix(base.rstrip("/") + "/")
        if pattern is None or pattern.fullmatch(relative):
            tag = file.etag if base.startswith("s3://") else _tag(file.name)
            found.append(Input(file.name, _without_suffix(relative, _SUFFIXES), file.size, tag or ""))
    if not found:
        raise CorpusError(f"{texts} matches no file that ends in {' or '.join(_SUFFIXES)}")
    _check_names(found)
    return found


def _divided(texts: str) -> tuple[str, re.Pattern[str] | None]:
    """The folder that no wildcard stands in, and what the rest must match."""
    segments = texts.split("/")
    wild = (place for place, segment in enumerate(segments) if _GLOB.search(segment))
    first = next((place for place in wild if not _is_there("/".join(segments[: place + 1]))), None)
    if first is None:
        return texts.rstrip("/"), None
    return "/".join(segments[:first]) or "/", re.compile(_expression(segments[first:]))


def _is_there(place: str) -> bool:
    if not place.startswith("s3://"):
        return Path(place).exists()
    store, key = _place(place)
    return bool(key) and (store.exists(key) or next(store.list(key), None) is not None)


def _expression(segments: list[str]) -> str:
    """A regular expression of a pattern's segments."""
    words = []
    for segment in segments:
        if segment == "**":
            words.append("(?:[^/]+/)*")
            continue
        parts = re.split(r"(\*|\?|\[[^\]]+\])", segment)
        replaced = {"*": "[^/]*", "?": "[^/]"}
        words.append(
            "".join(replaced.get(part, part.replace("[!", "[^") if part[:1] == "[" else re.escape(part)) for part in parts)
        )
        words.append("/")
    return "".join(words[:-1]) if words[-1] == "/" else "".join(words) + "[^/]+"


def _without_suffix(name: str, suffixes: tuple[str, ...]) -> str:
    return name.removesuffix(max((suffix for suffix in suffixes if name.endswith(suffix)), key=len))


def _check_names(inputs: list[Input]) -> None:
    seen: dict[str, str] = {}
    for found in inputs:
        if (other := seen.setdefault(found.name, found.url)) != found.url:
            raise CorpusError(f"{other} and {found.url} would both become {found.name}.parquet: embed them into two places")


def _place(url: str) -> tuple[ObjectStore, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return _bucket(bucket), key


@lru_cache(maxsize=16)
def _bucket(name: str) -> ObjectStore:
    return ObjectStore(f"s3://{name}")


def _tag(url: str) -> str | None:
    """None where nothing is."""
    if url.startswith("s3://"):
        store, key = _place(url)
        info = store.info(key)
        return None if info is None else info.etag or ""
    try:
        state = Path(url).stat()
    except OSError:
        return None
    return f"{state.st_size}-{state.st_mtime_ns}"


class _Ranged(io.RawIOBase):
    """An object as a file, of which only what is read travels."""

    def __init__(self, store: ObjectStore, key: str, size: int) -> None:
        self._store, self._key, self._size, self._at = store, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        buffer[:length] = self._store.get_range(self._key, self._at, length)
        self._at += length
        return length
