"""Checkpoints in the object store, as they are read.

A checkpoint exists when its ``commit.json`` exists, which lists its files with their hashes. It always holds the student's weights;
one from the middle of a part of a stage also holds Adam's moments, with which training continues exactly, on any number of
workers. All of it is safetensors, and nothing is loaded before its hash is checked.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mtd_ray import layout
from mtd_ray.config import Recipe, fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.errors import StorageError, TrainingError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student, load_weights

WEIGHTS = "weights.safetensors"
_GO_BACK = "delete this checkpoint's commit.json and run again; training continues from the one before"


@dataclass(frozen=True, order=True)
class Position:
    """How far training is: ``step`` steps of stage number ``stage`` are done."""

    stage: int = 0
    step: int = 0

    def settled(self, recipe: Recipe) -> Position:
        """The end of a stage is the beginning of the next."""
        if self.stage < len(recipe.stages) and self.step >= recipe.stages[self.stage].steps:
            return Position(self.stage + 1, 0)
        return self


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint.

    Attributes:
        stage, step: where it was taken.
        attempt: folder of its files below the checkpoint's key.
        files: name in that folder → sha256.
        workers: that took it.
        seconds: training time that led to it.
        corpus: of the texts it was trained on (:func:`corpus_digest`).
    """

    stage: int
    step: int
    attempt: str
    files: dict[str, str]
    workers: int
    seconds: float
    corpus: str

    @property
    def position(self) -> Position:
        return Position(self.stage, self.step)

    @property
    def optimizer_files(self) -> tuple[str, ...]:
        """Names of the files with Adam's moments; none where the next step starts a new optimizer."""
        return tuple(sorted(name for name in self.files if name != WEIGHTS))


class Checkpoints:
    """The committed checkpoints of one run."""

    def __init__(self, store: ObjectStore, run: str) -> None:
        self._store, self._run = store, run

    def newest(self, *, corpus: str | None = None) -> Checkpoint | None:
        """The last committed checkpoint, or None. TrainingError when it was trained on texts of another digest than ``corpus``."""
        positions = self.positions()
        checkpoint = self.read(positions[-1]) if positions else None
        if checkpoint is not None and corpus not in (None, checkpoint.corpus):
            raise TrainingError(
                f"run {self._run} was trained on other texts than the corpus holds now: delete its checkpoints "
                f"({self._store.url}/{layout.run_checkpoints(self._run)}) and run again; training starts from the beginning"
            )
        return checkpoint

    def positions(self) -> list[Position]:
        """Where the committed checkpoints were taken, in order."""
        listed = self._store.list(layout.run_checkpoints(self._run))
        found = (layout.position_of_commit(info.key) for info in listed)
        return sorted(Position(*position) for position in found if position is not None)

    def read(self, position: Position) -> Checkpoint:
        """A committed checkpoint. TrainingError when its commit is damaged, StorageError when there is none."""
        key = layout.checkpoint_commit(self._run, position.stage, position.step)
        try:
            return Checkpoint(**json.loads(self._store.get(key)))
        except (ValueError, TypeError) as error:
            raise TrainingError(f"{self._store.url}/{key} is damaged ({error}): {_GO_BACK}") from None

    def load_student(self, checkpoint: Checkpoint, student: Student) -> None:
        """Fill a student with a checkpoint's weights. TrainingError when they are gone or damaged."""
        with tempfile.TemporaryDirectory(prefix="mtd-ray-checkpoint-") as folder:
            load_weights(student, self._fetched(checkpoint, WEIGHTS, Path(folder)))

    def optimizer_state(self, checkpoint: Checkpoint, rank: int) -> Iterator[Path]:
        """Local copies of the files with Adam's moments, one at a time, and gone when the next is asked for.

        The file of the worker with the same number comes first: while the number of workers stays, no other is needed.

        Raises:
            TrainingError: a file is gone or damaged.
        """
        for name in sorted(checkpoint.optimizer_files, key=lambda name: (name != optimizer_file(rank), name)):
            with tempfile.TemporaryDirectory(prefix="mtd-ray-checkpoint-") as folder:
                yield self._fetched(checkpoint, name, Path(folder))

    def _fetched(self, checkpoint: Checkpoint, name: str, folder: Path) -> Path:
        prefix = layout.checkpoint_attempt(self._run, checkpoint.stage, checkpoint.step, checkpoint.attempt)
        path = folder / name
        try:
            self._store.download(f"{prefix}/{name}", path)
        except StorageError as error:
            raise TrainingError(f"checkpoint file cannot be read ({error}): {_GO_BACK}") from error
        if sha256_of(path) != checkpoint.files[name]:
            raise TrainingError(f"checkpoint file {self._store.url}/{prefix}/{name} is damaged (sha256 differs): {_GO_BACK}")
        return path


def optimizer_file(rank: int) -> str:
    """Name of a worker's file with Adam's moments."""
    return f"optimizer-{rank:05d}.safetensors"


def corpus_digest(manifest: Manifest) -> str:
    """Digest of the texts that are trained on, in order; a corpus that is built again under the same key may hold others."""
    return fingerprint([shard.sha256 for shard in manifest.shards])


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
