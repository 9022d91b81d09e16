"""Files of models that are derived once per user and found again later."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """Per-user folder for files that are derived once: ``$MTD_RAY_CACHE``, else ``mtd-ray`` in the XDG cache folder."""
    if chosen := os.environ.get("MTD_RAY_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtd-ray"


def built_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """The folder, built if it is not there.

    It is moved into place when complete, so that an interruption leaves nothing half-built, and processes that build it at the same
    time do not disturb each other.

    Args:
        folder: where it belongs; its name should carry a digest of what it is built from.
        build: fills the folder it is given, which does not exist yet.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        built = Path(scratch) / "model"
        build(built)
        try:
            built.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was not first: a real failure
                raise
            shutil.rmtree(built)
    return folder
