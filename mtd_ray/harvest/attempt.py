"""One attempt at a part: which rows are answered by now, which of them are stored, and what all of it cost. No Ray here."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mtd_ray.errors import MtdError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, PartCommit, write_part
from mtd_ray.targets.micro import MicroPart, Spent, read_micro_parts, write_micro_part
from mtd_ray.teachers import Answer
from mtd_ray.teachers.base import Vectors

_log = logging.getLogger(__name__)


class Attempt:
    """Gathers a part's rows, from micro-parts of earlier attempts and from answers, until the part can be committed.

    Args:
        dimensions: size of the vectors.
        clock: gives seconds.

    Attributes:
        vectors: ``(part.rows, dimensions)`` float32; zeros where a row is not known, or failed.
        failures: row (its place in the part) → why it has no vector.
        spent: by this attempt.
    """

    def __init__(
        self, store: ObjectStore, teacher_fp: str, part: Part, dimensions: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._teacher, self._part, self._clock = store, teacher_fp, part, clock
        self._name = uuid.uuid4().hex
        self._known = np.zeros(part.rows, np.bool_)
        self._keys: list[str] = []
        self._unwritten: list[int] = []
        self._unwritten_since = self._counted_until = clock()
        self._unwritten_spent = self._spent_before = Spent()
        self.vectors = np.zeros((part.rows, dimensions), np.float32)
        self.failures: dict[int, str] = {}
        self.spent = Spent()

    @property
    def missing(self) -> list[int]:
        """Rows that nobody has answered yet, in order."""
        return [int(row) for row in np.flatnonzero(~self._known)]

    def resume(self) -> None:
        """Take over what earlier attempts have put away; of two answers for a row, the first counts and both are paid."""
        for key, micro in read_micro_parts(self._store, self._teacher, self._part, self.vectors.shape[1]).items():
            new = [index for index, row in enumerate(micro.rows) if not self._known[row]]
            self._set([micro.rows[index] for index in new], micro.vectors[new], micro.failures)
            self._spent_before += micro.spent
            self._keys.append(key)

    def add(self, answer: Answer, asked: Sequence[int]) -> None:
        """Take an answer to the question of these rows of the part."""
        rows = [asked[row] for row in answer.rows]
        self._set(rows, answer.vectors, {asked[row]: reason for row, reason in answer.failures.items()})
        if not self._unwritten:
            self._unwritten_since = self._clock()
        self._unwritten += rows
        now = self._clock()
        spent = Spent(answer.tokens, answer.requests, answer.rejected, answer.usd, now - self._counted_until)
        self._counted_until = now
        self._unwritten_spent += spent
        self.spent += spent

    def unwritten_for(self) -> float:
        """Seconds for which answered rows have been in memory only; 0 when there are none."""
        return self._clock() - self._unwritten_since if self._unwritten else 0.0

    def put_away(self) -> None:
        """Store what was answered since the last time, if anything.

        Raises:
            StorageError: it could not be stored. TargetError: a vector is not fit to be a target.
        """
        if self._unwritten:
            rows = self._unwritten
            micro = MicroPart(rows, self.vectors[rows], self.failures, self._unwritten_spent)
            self._keys.append(write_micro_part(self._store, self._teacher, self._part, self._name, micro))
            self._unwritten, self._unwritten_spent = [], Spent()

    def commit(self, ids: Sequence[str]) -> PartCommit | None:
        """Write and commit the part, whose texts have these ids; see :func:`write_part`. Its micro-parts are then deleted."""
        total = self._spent_before + self.spent
        commit = write_part(
            self._store,
            self._teacher,
            self._part,
            ids,
            self.vectors,
            self.failures,
            tokens=total.tokens,
            requests=total.requests,
            seconds=total.seconds,
            usd=total.usd,
        )
        self._delete_micro_parts()
        return commit

    def _set(self, rows: Sequence[int], vectors: Vectors, failures: Mapping[int, str]) -> None:
        self.vectors[list(rows)] = vectors
        self._known[list(rows)] = True
        self.failures |= {row: failures[row] for row in rows if row in failures}

    def _delete_micro_parts(self) -> None:
        try:
            for key in self._keys:
                self._store.delete(key)
        except MtdError as error:  # the part is committed, which is what counts; the sweep at the end of the harvest finds them
            _log.info("a micro-part stays behind: %s", error)
