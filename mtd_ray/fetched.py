"""Students on this machine: folders of its own, and published ones, fetched once for all of a node's processes."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from mtd_ray.config import fingerprint
from mtd_ray.encoder.cache import built_once, cache_folder
from mtd_ray.encoder.files import content_of, decides_vectors
from mtd_ray.errors import MtdError, StorageError
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import fetch_folder, is_published, published_files

_UNUSED_S = 24 * 3600.0
_STUDENT = "student"


def student_folder(place: str) -> Path:
    """The student's folder on this machine.

    Args:
        place: a folder; the ``s3://`` URL of a run (``…/runs/NAME``) or of its student (``…/runs/NAME/student``), which is fetched
            as :func:`fetched_student` does.

    Raises:
        MtdError: nothing is there, or what is there is damaged.
    """
    if place.startswith("s3://"):
        return fetched_student(*_published_at(place))
    folder = Path(place).expanduser().resolve()
    if not (folder / "modules.json").is_file():
        raise MtdError(f"{folder} is not an exported student: it has no modules.json; give its folder, or the s3:// URL of a run")
    return folder


def folder_content(folder: Path) -> str:
    """Digest of all files of a student's folder that may decide its vectors."""
    return fingerprint(content_of(folder))


def student_content(place: str) -> str:
    """As :func:`folder_content`, of a student that :func:`student_folder` finds; what is published is not fetched for it.

    Raises:
        MtdError: nothing is there.
    """
    if not place.startswith("s3://"):
        return folder_content(student_folder(place))
    files = published_files(*_published_at(place))
    return fingerprint({name: digest for name, digest in files.items() if decides_vectors(name)})


def fetched_student(store: ObjectStore, prefix: str) -> Path:
    """The folder of a published student, in the user's cache; students that nobody has asked for in a day are removed from there.

    Raises:
        StorageError: nothing is published there, or not completely.
    """
    students = cache_folder() / "students"
    _remove_unused(students)
    digest = fingerprint(published_files(store, prefix))

    def fetch(built: Path) -> None:
        fetch_folder(store, prefix, built)
        if fingerprint(published_files(store, prefix)) != digest:
            raise StorageError(f"{store.url}/{prefix} was replaced while it was fetched: try again")

    folder = built_once(students / digest[:24], fetch)
    os.utime(folder)
    return folder


def _published_at(url: str) -> tuple[ObjectStore, str]:
    """Store and prefix of the student that a URL names, or its run's."""
    store = ObjectStore(url)
    if is_published(store, _STUDENT):
        return store, _STUDENT
    above, _, last = url.rstrip("/").rpartition("/")
    return ObjectStore(above), last


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
