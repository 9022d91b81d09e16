"""TensorBoard events of a run, kept in the object store."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from mtd_ray.objects import ObjectStore


class TensorBoard:
    """Curves of a run below one key. TensorBoard reads the files of all attempts of a run together.

    Args:
        store, key: where the event files go.
        first_step: what earlier attempts drew from here on is not shown, because it is drawn again.
    """

    def __init__(self, store: ObjectStore, key: str, first_step: int) -> None:
        self._store, self._key = store, key
        self._folder = tempfile.TemporaryDirectory(prefix="mtd-ray-tensorboard-")
        self._writer = SummaryWriter(self._folder.name, purge_step=first_step)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """A point on every curve; ``step`` counts from the beginning of the run."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def upload(self) -> None:
        """Bring the stored files up to date."""
        self._writer.flush()
        self._store.upload_folder(Path(self._folder.name), self._key)

    def close(self) -> None:
        """Upload for the last time."""
        self.upload()
        self._writer.close()
        self._folder.cleanup()
