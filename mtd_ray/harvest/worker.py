"""A worker: reads parts' texts, asks the teacher, puts away and commits the answers. No Ray here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from mtd_ray import layout
from mtd_ray.config import LocalTeacher, Teacher, teacher_fingerprint
from mtd_ray.corpus import Shard, read_shard
from mtd_ray.encoder.threads import limit_threads
from mtd_ray.errors import CorpusError, MtdError, RecipeError, StorageError, TargetError
from mtd_ray.harvest.attempt import Attempt
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part
from mtd_ray.teachers import (
    AccountError,
    BadAnswer,
    Budget,
    BudgetSpent,
    Limiter,
    TeacherClient,
    TeacherError,
    TeacherUnavailable,
    open_teacher,
)

_log = logging.getLogger(__name__)

# Together with the write itself, at most 30 s of paid work are in memory only. A shorter time would cost storage requests: a part
# of a slow API would be written in many small pieces.
_UNWRITTEN_S = 20.0
_TICK_S = 5.0

_ERRORS = {
    kind.__name__: kind
    for kind in (
        *(AccountError, BudgetSpent, TeacherUnavailable, BadAnswer, TeacherError),
        *(RecipeError, StorageError, CorpusError, TargetError, MtdError),
    )
}


@dataclass(frozen=True)
class Receipt:
    """What became of one part; the only thing that travels back to the driver.

    Attributes:
        outcome: ``committed`` by this worker, found ``present`` (another attempt was first), stopped by an ``error``, or
            ``skipped`` because of an earlier one.
        rows: rows of the part that are now committed.
        failed_rows: rows of them this worker stored without a vector.
        tokens, requests, rejected, usd: spent by this worker on the part; what earlier attempts put away is not counted again.
        error, message: name of the class and message of the error that stopped the part or had it skipped.
    """

    outcome: Literal["committed", "present", "error", "skipped"]
    rows: int = 0
    failed_rows: int = 0
    tokens: int = 0
    requests: int = 0
    rejected: int = 0
    usd: float = 0.0
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
    """Harvests parts of one teacher, several at once in as many threads; its client and connections stay open between parts.

    Args:
        store: where corpus and targets live.
        name, teacher: the teacher and its recipe entry.
        limiter: shares the account's quota; None for a teacher without one.
        budget: the cap on dollars; None for none.
        clock: gives seconds.
    """

    def __init__(
        self,
        store: ObjectStore,
        name: str,
        teacher: Teacher,
        limiter: Limiter | None = None,
        budget: Budget | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._name, self._teacher, self._limiter, self._budget = store, name, teacher, limiter, budget
        self._clock = clock
        self._fingerprint = teacher_fingerprint(teacher)
        self._client: TeacherClient | None = None
        self._opening, self._reading = threading.Lock(), threading.Lock()
        self._shards: dict[Shard, pa.Table] = {}
        self._ended: Receipt | None = None

    def harvest(self, part: Part) -> Receipt:
        """Do one part. Errors meant for a person come back as receipts; anything else is a bug and is raised.

        The first error ends the whole run, so no part is begun after it; those under way go on.
        """
        if self._ended is not None:
            return self._ended
        try:
            return self._harvest(part)
        except MtdError as error:
            _log.info("teacher %s, shard %d, part %d: %s", self._name, part.shard.index, part.index, error)
            receipt = Receipt.of_error(error)
            self._ended = replace(receipt, outcome="skipped")
            return receipt

    def _harvest(self, part: Part) -> Receipt:
        # Ray redoes a part whose worker died after the commit and before the receipt; it must not be paid for again.
        if self._store.exists(layout.part_commit(self._fingerprint, part.shard.sha256, part.index)):
            return Receipt("present", part.rows)
        texts = self._texts(part)
        attempt = Attempt(self._store, self._fingerprint, part, self._teacher.dimensions, self._clock)
        attempt.resume()
        try:
            self._ask(texts, attempt)
            commit = attempt.commit(texts["id"].to_pylist())
        except Exception:
            self._rescue(part, attempt)
            raise
        spent = attempt.spent
        outcome: Literal["committed", "present"] = "present" if commit is None else "committed"
        failed = 0 if commit is None else commit.failed_rows
        return Receipt(outcome, part.rows, failed, spent.tokens, spent.requests, spent.rejected, spent.usd)

    def _ask(self, texts: pa.Table, attempt: Attempt) -> None:
        """Ask for the rows that are missing, and put answers away that have been in memory only for too long."""
        missing = attempt.missing
        if not missing:
            return
        asked = texts.take(missing)
        answers = self._open().answers(asked["text"].to_pylist(), asked["kind"].to_pylist(), tick_s=_TICK_S)
        try:
            for answer in answers:
                if answer is not None:
                    attempt.add(answer, missing)
                if attempt.unwritten_for() >= _UNWRITTEN_S:
                    attempt.put_away()
        finally:
            if isinstance(answers, Generator):
                answers.close()  # when putting away failed: what is not asked yet is given up

    def _rescue(self, part: Part, attempt: Attempt) -> None:
        """Put away what is paid for, before the error that ends the attempt goes its way."""
        try:
            attempt.put_away()
        except MtdError as error:
            _log.warning(
                "teacher %s, shard %d, part %d: answered rows are lost: %s", self._name, part.shard.index, part.index, error
            )

    def _texts(self, part: Part) -> pa.Table:
        with self._reading:
            if part.shard not in self._shards:
                table = read_shard(self._store, part.shard)
                # Parts come shard after shard, so those under way lie in two at most.
                for oldest in list(self._shards)[:-1]:
                    del self._shards[oldest]
                self._shards[part.shard] = table
            return self._shards[part.shard].slice(part.start, part.rows)

    def _open(self) -> TeacherClient:
        with self._opening:
            if self._client is None:
                if isinstance(self._teacher, LocalTeacher):
                    limit_threads(self._teacher.num_cpus)
                self._client = open_teacher(self._name, self._teacher, limiter=self._limiter, budget=self._budget)
            return self._client
