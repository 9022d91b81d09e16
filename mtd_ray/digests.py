"""sha256 of files of this machine: a file is read once, and again only when it has changed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from mtd_ray.encoder.cache import cache_folder

_READERS = 8
_SETTLED_S = 2.0


def sha256_of(paths: Sequence[Path]) -> list[str]:
    """Hexadecimal digests of files, several of which are read at once.

    They are kept in the user's cache folder by the file's full path, with its size and the time of its last change; a digest is
    taken from there while these are the same. One of a file that changed within the last seconds is not kept there, for the clock
    of a file system may be too coarse to tell the next change.

    Raises:
        OSError: a file cannot be read.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(_of_one, paths))


def _of_one(path: Path) -> str:
    state = path.stat()
    return _known(path.absolute(), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _known(path: Path, size: int, modified: int) -> str:
    record = cache_folder() / "sha256" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
    if (kept := _kept(record, size, modified)) is not None:
        return kept
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time() - modified / 1e9 > _SETTLED_S:
        _keep(record, {"size": size, "modified": modified, "sha256": found})
    return found


def _kept(record: Path, size: int, modified: int) -> str | None:
    try:
        entry = json.loads(record.read_text(encoding="utf-8"))
        return str(entry["sha256"]) if (entry["size"], entry["modified"]) == (size, modified) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(record: Path, entry: dict[str, int | str]) -> None:
    part = record.with_suffix(f".{os.getpid()}.part")
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(entry), encoding="utf-8")
        part.replace(record)
    except OSError:  # a home that cannot be written costs a reading, not the work
        return
