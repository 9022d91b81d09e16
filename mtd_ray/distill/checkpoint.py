"""Checkpoints in the object store: files first, then ``commit.json``, which lists them with their hashes.

A checkpoint exists when its commit exists. It always holds the student's weights (safetensors); one from the middle of a stage also
holds DeepSpeed's own files of every worker, with which the stage continues exactly. Those are pickles, so nothing is loaded before
its hash is checked.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from mtd_ray import layout
from mtd_ray.config import Recipe, TrainConfig, fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.distill.engine import DeepSpeedEngine
from mtd_ray.errors import StorageError, TrainingError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student, load_weights
from mtd_ray.student.weights import save_tensors

_LOG = logging.getLogger(__name__)
_COMMIT = "commit.json"
_WEIGHTS = "weights.safetensors"
_KEPT = 2


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
        files: path below that folder → sha256; DeepSpeed's of worker r are below ``rank-r/``.
        workers, zero_stage, dtype: of the DeepSpeed files.
        seconds: training time that led to it.
        corpus: of the texts it was trained on (:func:`corpus_digest`).
    """

    stage: int
    step: int
    attempt: str
    files: dict[str, str]
    workers: int
    zero_stage: int
    dtype: str
    seconds: float
    corpus: str

    @property
    def position(self) -> Position:
        return Position(self.stage, self.step)

    def continues(self, train: TrainConfig, workers: int) -> bool:
        """Whether DeepSpeed's files are there and fit: their layout depends on workers, ZeRO stage and number format."""
        same = (self.workers, self.zero_stage, self.dtype) == (workers, train.zero_stage, train.dtype)
        return same and any(name.endswith(".pt") for name in self.files)


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, store: ObjectStore, run: str) -> None:
        self._store, self._run = store, run

    def newest(self, *, corpus: str | None = None) -> Checkpoint | None:
        """The last committed checkpoint, or None. TrainingError when it was trained on texts of another digest than ``corpus``."""
        commits = self._commits()
        checkpoint = self._read(commits[-1]) if commits else None
        if checkpoint is not None and corpus not in (None, checkpoint.corpus):
            raise TrainingError(
                f"run {self._run} was trained on other texts than the corpus holds now: delete its checkpoints "
                f"({self._store.url}/{layout.run_checkpoints(self._run)}) and run again; training starts from the beginning"
            )
        return checkpoint

    def load_student(self, checkpoint: Checkpoint, student: Student) -> None:
        """Fill a student with a checkpoint's weights. TrainingError when they are gone or damaged."""
        with tempfile.TemporaryDirectory() as name:
            self._download(checkpoint, {_WEIGHTS}, Path(name))
            load_weights(student, Path(name) / _WEIGHTS)

    def load_engine(self, checkpoint: Checkpoint, engine: DeepSpeedEngine) -> None:
        """Continue a stage exactly: all weights, and this worker's optimizer state. Every worker calls it."""
        ranks = sorted({"rank-0", f"rank-{dist.get_rank()}"})
        with tempfile.TemporaryDirectory() as name:
            for rank in ranks:
                self._download(checkpoint, {file for file in checkpoint.files if file.startswith(f"{rank}/")}, Path(name))
            # DeepSpeed looks for both workers' files in one folder.
            merged = Path(name) / "engine"
            merged.mkdir()
            for rank in ranks:
                for file in (Path(name) / rank).rglob("*.pt"):
                    file.rename(merged / file.name)
            engine.load(merged)

    def save(
        self,
        position: Position,
        engine: DeepSpeedEngine,
        train: TrainConfig,
        seconds: float,
        *,
        corpus: str,
        resumable: bool,
    ) -> None:
        """Write and commit a checkpoint; every worker calls it. The last two are kept.

        Args:
            corpus: of the texts that are trained on (:func:`corpus_digest`).
            resumable: include DeepSpeed's files. At the end of a stage nothing needs them: the next one starts a new optimizer.
        """
        attempt = _agreed(uuid.uuid4().hex[:8])
        prefix = f"{layout.run_checkpoint(self._run, position.stage, position.step)}/{attempt}"
        hashes = _gathered(self._upload_own(engine, prefix, resumable=resumable))
        if dist.get_rank() == 0:
            files = {name: digest for own in hashes for name, digest in own.items()}
            self._commit(
                Checkpoint(
                    position.stage,
                    position.step,
                    attempt,
                    files,
                    workers=len(hashes),
                    zero_stage=train.zero_stage,
                    dtype=train.dtype,
                    seconds=round(seconds, 3),
                    corpus=corpus,
                )
            )
        dist.barrier()

    def _upload_own(self, engine: DeepSpeedEngine, prefix: str, *, resumable: bool) -> dict[str, str]:
        weights = engine.weights()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if resumable:
                engine.save(folder / f"rank-{dist.get_rank()}")
            if weights:
                save_tensors(weights, folder / _WEIGHTS)
            self._store.upload_folder(folder, prefix)
            return {path.relative_to(folder).as_posix(): _sha256(path) for path in folder.rglob("*") if path.is_file()}

    def _commit(self, checkpoint: Checkpoint) -> None:
        key = layout.run_checkpoint(self._run, checkpoint.stage, checkpoint.step)
        self._store.put(f"{key}/{_COMMIT}", json.dumps(asdict(checkpoint), indent=1).encode())
        for old in self._commits()[:-_KEPT]:
            self._delete(old)

    def _delete(self, key: str) -> None:
        self._store.delete(f"{key}/{_COMMIT}")
        for info in list(self._store.list(key)):
            self._store.delete(info.key)

    def _commits(self) -> list[str]:
        """Keys of committed checkpoints, oldest first: keys sort by stage and step."""
        listed = self._store.list(layout.run_checkpoints(self._run))
        return sorted(info.key.removesuffix(f"/{_COMMIT}") for info in listed if info.key.endswith(f"/{_COMMIT}"))

    def _read(self, key: str) -> Checkpoint:
        try:
            return Checkpoint(**json.loads(self._store.get(f"{key}/{_COMMIT}")))
        except (ValueError, TypeError) as error:
            raise TrainingError(f"{self._store.url}/{key}/{_COMMIT} is damaged ({error}): {_GO_BACK}") from None

    def _download(self, checkpoint: Checkpoint, names: Iterable[str], folder: Path) -> None:
        prefix = f"{layout.run_checkpoint(self._run, checkpoint.stage, checkpoint.step)}/{checkpoint.attempt}"
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.write_bytes(self._store.get(f"{prefix}/{name}"))
            except StorageError as error:
                raise TrainingError(f"checkpoint file cannot be read ({error}): {_GO_BACK}") from error
            if _sha256(path) != checkpoint.files[name]:
                raise TrainingError(f"checkpoint file {self._store.url}/{prefix}/{name} is damaged (sha256 differs): {_GO_BACK}")


def corpus_digest(manifest: Manifest) -> str:
    """Digest of the texts that are trained on, in order; a corpus that is built again under the same key may hold others."""
    return fingerprint([shard.sha256 for shard in manifest.shards])


_GO_BACK = "delete this checkpoint's commit.json and run again; training continues from the one before"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _agreed(value: str) -> str:
    """Worker 0's value, on every worker."""
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def _gathered(value: Mapping[str, str]) -> list[dict[str, str]]:
    """Every worker's value, on every worker."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, dict(value))
    return values
