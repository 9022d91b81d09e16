"""Published students on this machine: fetched once for all of a node's processes."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mtd_ray.config import fingerprint
from mtd_ray.encoder.cache import built_once, cache_folder
from mtd_ray.publish import fetch_folder, published_files

if TYPE_CHECKING:
    from mtd_ray.objects import ObjectStore

_UNUSED_S = 24 * 3600.0


def fetched_student(store: ObjectStore, prefix: str) -> Path:
    """The folder of a published student, in the user's cache; students that nobody has asked for in a day are removed from there.

    Raises:
        StorageError: nothing is published there, or not completely.
    """
    students = cache_folder() / "students"
    _remove_unused(students)
    digest = fingerprint(published_files(store, prefix))
    folder = built_once(students / digest[:24], lambda built: fetch_folder(store, prefix, built))
    os.utime(folder)
    return folder


def _remove_unused(students: Path) -> None:
    for folder in students.glob("*"):
        try:
            if time.time() - folder.stat().st_mtime < _UNUSED_S:
                continue
            # Renamed first: an interruption must not leave half a student under its name.
            left = folder.rename(students / f".removed-{folder.name.lstrip('.')}")
        except OSError:
            continue  # another process was first
        shutil.rmtree(left, ignore_errors=True)
