"""Where a student is served from: a local folder, or a prefix of object storage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtd_ray.errors import MtdError
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import fetch_folder

_STUDENT = "student"
_MANIFEST = "manifest.json"


@contextmanager
def student_folder(place: str) -> Iterator[Path]:
    """The exported folder on this machine, for as long as the block runs.

    Args:
        place: a folder; the ``s3://`` URL of a run (``…/runs/NAME``) or of its student (``…/runs/NAME/student``). A fetched folder
            is checked against its manifest and removed after the block.

    Raises:
        MtdError: nothing is there, or what is there is damaged.
    """
    if not place.startswith("s3://"):
        folder = Path(place).expanduser().resolve()
        if not folder.is_dir():
            raise MtdError(f"{folder} is not a folder; give an exported student, or the s3:// URL of a run")
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mtd-student-") as scratch:
        folder = Path(scratch) / _STUDENT
        _fetch(place.rstrip("/"), folder)
        yield folder


def _fetch(url: str, folder: Path) -> None:
    store = ObjectStore(url)
    if store.exists(f"{_STUDENT}/{_MANIFEST}"):
        fetch_folder(store, _STUDENT, folder)
        return
    parent, _, last = url.rpartition("/")
    fetch_folder(ObjectStore(parent), last, folder)


def default_name(place: str) -> str:
    """What clients call the model unless told otherwise: the run's name, or the folder's."""
    parts = [part for part in place.rstrip("/").split("/") if part]
    return parts[-2] if len(parts) > 1 and parts[-1] == _STUDENT and parts[-2] != "." else parts[-1]
