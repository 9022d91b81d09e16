"""One part: read its texts, ask the teacher, write the vectors, commit. No Ray here."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from mtd_ray import layout
from mtd_ray.config import LocalTeacher, Teacher, teacher_fingerprint
from mtd_ray.corpus import Shard, read_shard
from mtd_ray.errors import CorpusError, MtdError, RecipeError, StorageError, TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, write_part
from mtd_ray.teachers import AccountError, BadAnswer, Limiter, TeacherClient, TeacherError, TeacherUnavailable, open_teacher

_log = logging.getLogger(__name__)

_ERRORS = {
    kind.__name__: kind
    for kind in (
        *(AccountError, TeacherUnavailable, BadAnswer, TeacherError),
        *(RecipeError, StorageError, CorpusError, TargetError, MtdError),
    )
}


@dataclass(frozen=True)
class Receipt:
    """What became of one part; the only thing that travels back to the driver.

    Attributes:
        outcome: ``committed`` by this worker, found ``present`` (another attempt was first), or stopped by an ``error``.
        rows: rows of the part that are now committed.
        failed_rows: rows of them this worker stored without a vector.
        tokens, requests, rejected: spent by this worker.
        error, message: name of the error's class and its message, when that is the outcome.
    """

    outcome: Literal["committed", "present", "error"]
    rows: int = 0
    failed_rows: int = 0
    tokens: int = 0
    requests: int = 0
    rejected: int = 0
    error: str = ""
    message: str = ""

    def to_row(self) -> dict[str, Any]:
        """A flat dict."""
        return asdict(self)

    @classmethod
    def of_error(cls, error: MtdError) -> Receipt:
        """An error as data: what a person must read has to reach the driver whole, and Ray wraps and repeats what is raised."""
        name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS)
        return cls("error", error=name, message=str(error))

    def raise_error(self) -> None:
        """Raise the error again in the driver."""
        raise _ERRORS[self.error](self.message)


class PartWorker:
    """Harvests parts of one teacher, one at a time; its client and connections stay open between parts.

    Args:
        store: where corpus and targets live.
        name, teacher: the teacher and its recipe entry.
        limiter: shares the account's quota; None for a teacher without one.
    """

    def __init__(self, store: ObjectStore, name: str, teacher: Teacher, limiter: Limiter | None = None) -> None:
        self._store, self._name, self._teacher, self._limiter = store, name, teacher, limiter
        self._fingerprint = teacher_fingerprint(teacher)
        self._client: TeacherClient | None = None
        self._shard: tuple[Shard, pa.Table] | None = None

    def harvest(self, part: Part) -> Receipt:
        """Do one part. Errors meant for a person come back as receipts; anything else is a bug and is raised."""
        try:
            return self._harvest(part)
        except MtdError as error:
            _log.info("teacher %s, shard %d, part %d: %s", self._name, part.shard.index, part.index, error)
            return Receipt.of_error(error)

    def _harvest(self, part: Part) -> Receipt:
        # Ray redoes a part whose worker died after the commit and before the receipt; it must not be paid for again.
        if self._store.exists(layout.part_commit(self._fingerprint, part.shard.sha256, part.index)):
            return Receipt("present", part.rows)
        texts = self._texts(part)
        started = time.monotonic()
        answer = self._open().embed(texts["text"].to_pylist(), texts["kind"].to_pylist())
        commit = write_part(
            self._store,
            self._fingerprint,
            part,
            texts["id"].to_pylist(),
            answer.vectors,
            answer.failures,
            tokens=answer.tokens,
            requests=answer.requests,
            seconds=time.monotonic() - started,
        )
        outcome: Literal["committed", "present"] = "present" if commit is None else "committed"
        return Receipt(outcome, part.rows, len(answer.failures), answer.tokens, answer.requests, answer.rejected)

    def _texts(self, part: Part) -> pa.Table:
        if self._shard is None or self._shard[0] != part.shard:
            self._shard = (part.shard, read_shard(self._store, part.shard))
        return self._shard[1].slice(part.start, part.rows)

    def _open(self) -> TeacherClient:
        if self._client is None:
            if isinstance(self._teacher, LocalTeacher):
                _limit_threads(self._teacher.num_cpus)
            self._client = open_teacher(self._name, self._teacher, limiter=self._limiter)
        return self._client


def _limit_threads(num_cpus: float) -> None:
    """Compute with as many threads as the worker was given CPUs; each worker taking all of them makes all slow."""
    import torch

    torch.set_num_threads(max(1, round(num_cpus)))
