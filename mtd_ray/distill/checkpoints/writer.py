"""Writing checkpoints while training goes on.

Training waits only until its state is copied into memory. A thread of each worker writes, hashes and uploads the worker's own
files, and says so in a ``rank-….json`` beside them; the thread of worker 0 waits for those of all workers and then creates
``commit.json``. Threads speak to each other through the store alone, never by collectives, which belong to training. A process that
dies at any point leaves a whole checkpoint or none, and files that a later sweep deletes.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from mtd_ray import layout
from mtd_ray.distill.checkpoints.checkpoint import WEIGHTS, Checkpoint, Position, optimizer_file, sha256_of
from mtd_ray.distill.checkpoints.retention import sweep
from mtd_ray.errors import MtdError, StorageError
from mtd_ray.objects import ObjectStore

_LOG = logging.getLogger(__name__)

_POLL_S = 0.2
_LAST_WAIT_S = 60.0
# For the other workers' files when worker 0, which has the most to upload, is ready.
_PATIENCE_S = 1800.0
_ANOTHER = "see whether another job trains the same run or deletes its files, end it, and run again"


class Saved(Protocol):
    """What has a state to save (:class:`mtd_ray.distill.engine.DeepSpeedEngine`)."""

    def weights(self) -> dict[str, Tensor]:
        """Whole float32 weights by name, on the CPU and not changed any more; empty on all workers but worker 0."""

    def optimizer_state(self) -> dict[str, Tensor]:
        """This worker's share of the optimizer's state, on the CPU and not changed any more."""


class CheckpointWriter:
    """One worker's part in writing a run's checkpoints. Every worker calls every method in the same order.

    Args:
        keep: so many of the newest checkpoints stay, and the best one.

    Attributes:
        scores: on worker 0, what checkpoints had scored when the last one was committed (:func:`read_scores`).
    """

    def __init__(self, store: ObjectStore, run: str, *, keep: int) -> None:
        self._store, self._run, self._keep = store, run, keep
        self._pending: _Upload | None = None
        self.scores: dict[Position, dict[str, Any]] = {}

    def save(
        self,
        position: Position,
        engine: Saved,
        *,
        seconds: float,
        corpus: str,
        resumable: bool,
        first: Callable[[], None] = lambda: None,
    ) -> None:
        """Copy the state, and upload and commit it while training goes on. Waits for the checkpoint before.

        Args:
            resumable: include the optimizer's state. At the end of a part of a stage nothing needs it.
            first: done before the commit by worker 0's thread: what must not be older than the checkpoint.

        Raises:
            StorageError: the checkpoint before could not be written, on whichever worker.
        """
        self.finish()
        state = engine.optimizer_state() if resumable else {}
        files = {optimizer_file(dist.get_rank()): state, WEIGHTS: engine.weights()}
        commit = Checkpoint(
            position.stage, position.step, _agreed(uuid.uuid4().hex[:8]), {}, dist.get_world_size(), round(seconds, 3), corpus
        )
        upload = _Upload(self._store, self._run, commit, dist.get_rank(), {name: held for name, held in files.items() if held})
        self._pending = upload
        upload.start(first, self._sweep)

    @property
    def failed(self) -> bool:
        """Whether this worker's upload has come to a bad end; :meth:`finish` then raises on every worker."""
        return self._pending is not None and self._pending.failed

    def finish(self) -> None:
        """Wait until the last checkpoint is committed. StorageError on every worker when any of them could not write its part."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            _raise_first(_gathered(_error_of(pending.uploaded)))
            _raise_first(_gathered(_error_of(pending.committed)))
            pending.join(_LAST_WAIT_S)
        finally:
            pending.give_up()

    def _sweep(self) -> None:
        try:
            self.scores = sweep(self._store, self._run, self._keep)
        except BaseException as error:  # a panic of the Rust libraries too: what is not deleted costs space, and no training
            _LOG.warning("old checkpoints of %s were not all deleted; training goes on: %s", self._run, error)

    def close(self) -> None:
        """After an error of this worker: leave a checkpoint that is under way a little time to be committed."""
        if self._pending is not None:
            self._pending.join(_LAST_WAIT_S)
            self._pending.give_up()


@dataclass
class _Upload:
    """A checkpoint on its way: this worker's files and, on worker 0, the commit."""

    store: ObjectStore
    run: str
    checkpoint: Checkpoint
    rank: int
    tensors: dict[str, dict[str, Tensor]]

    def __post_init__(self) -> None:
        self.uploaded: Future[None] = Future()
        self.committed: Future[None] = Future()
        self._given_up = threading.Event()

    @property
    def failed(self) -> bool:
        return any(future.done() and future.exception() is not None for future in (self.uploaded, self.committed))

    def start(self, first: Callable[[], None], after: Callable[[], None]) -> None:
        # A daemon: a process that ends in an error must not hang on a store that does not answer.
        self._thread = threading.Thread(target=self._do, args=(first, after), name="checkpoint", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def give_up(self) -> None:
        """Wait no more for other workers' files."""
        self._given_up.set()

    def _do(self, first: Callable[[], None], after: Callable[[], None]) -> None:
        _settle(self.uploaded, self._upload)
        if self.rank == 0 and self.uploaded.exception() is None:
            _settle(self.committed, lambda: self._commit(first))
            if self.committed.exception() is None:
                after()
        else:
            self.committed.set_result(None)

    def _upload(self) -> None:
        files: dict[str, str] = {}
        with tempfile.TemporaryDirectory(prefix="mtd-ray-checkpoint-") as folder:
            for name in list(self.tensors):
                path = Path(folder) / name
                save_file(self.tensors.pop(name), path)
                files[name] = sha256_of(path)
                self.store.upload(path, f"{self._prefix}/{name}")
                path.unlink()
        self.store.put(self._part(self.rank), json.dumps(files).encode())

    def _commit(self, first: Callable[[], None]) -> None:
        first()
        files: dict[str, str] = {}
        for rank in range(self.checkpoint.workers):
            files |= self._files_of(rank)
        whole = replace(self.checkpoint, files=files)
        key = layout.checkpoint_commit(self.run, whole.stage, whole.step)
        if (missing := files.keys() - self._written()) and not self.store.exists(key):
            raise StorageError(f"{min(missing)} is gone from {self.store.url}/{self._prefix} before the commit: {_ANOTHER}")
        # The first one to commit wins: a checkpoint that somebody may be reading is never exchanged for another.
        self.store.create(key, json.dumps(asdict(whole), indent=1).encode())

    def _files_of(self, rank: int) -> dict[str, str]:
        deadline = time.monotonic() + _PATIENCE_S
        while (part := self.store.find(self._part(rank))) is None:
            if self._given_up.wait(_POLL_S):
                raise StorageError(f"worker {rank} has not written its part of the checkpoint {self._prefix}")
            if time.monotonic() > deadline:
                raise StorageError(
                    f"{self.store.url}/{self._part(rank)} did not appear in {_PATIENCE_S / 60:.0f} minutes: {_ANOTHER}"
                )
        files: dict[str, str] = json.loads(part)
        return files

    def _written(self) -> set[str]:
        """Names of the files that are there."""
        return {info.key.removeprefix(f"{self._prefix}/") for info in self.store.list(self._prefix)}

    def _part(self, rank: int) -> str:
        return layout.checkpoint_part(self.run, self.checkpoint.stage, self.checkpoint.step, self.checkpoint.attempt, rank)

    @property
    def _prefix(self) -> str:
        return layout.checkpoint_attempt(self.run, self.checkpoint.stage, self.checkpoint.step, self.checkpoint.attempt)


def _settle(future: Future[None], call: Callable[[], None]) -> None:
    try:
        call()
    except BaseException as error:  # a panic of the Rust libraries is no Exception, and training must not wait for ever
        future.set_exception(error)
    else:
        future.set_result(None)


def _error_of(future: Future[None]) -> str | None:
    """Wait for a future; its error in words."""
    error = future.exception()
    if error is None:
        return None
    return str(error) if isinstance(error, MtdError) else f"{type(error).__name__}: {error}"


def _raise_first(errors: list[str | None]) -> None:
    for rank, error in enumerate(errors):
        if error is not None:
            raise StorageError(f"worker {rank} could not write its part of a checkpoint: {error}")


def _gathered(value: str | None) -> list[str | None]:
    """Every worker's value, on every worker."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _agreed(value: str) -> str:
    """Worker 0's value, on every worker."""
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]
