"""One batch of texts → vectors: refused texts found, answers checked, unusable ones asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np

from mtd_ray.config import ApiTeacher
from mtd_ray.teachers.base import Answer, BadAnswer, TeacherError, Vectors, require_shape, set_aside_bad_rows
from mtd_ray.teachers.batches import Batch, TokenCount
from mtd_ray.teachers.errand import Errand, Request
from mtd_ray.teachers.http import Endpoint
from mtd_ray.teachers.refusals import RefusedError
from mtd_ray.teachers.retry import RetryCredits
from mtd_ray.teachers.wire import Wire

_TRIES_OF_A_BAD_ANSWER = 3
_FAILURES_BEFORE_GIVING_UP = 8

_Checked = tuple[Vectors, dict[int, str]]


class Asker:
    """Asks for batches. A request the provider refuses is halved until the bad text is alone; that text becomes a failed row.

    Args:
        name, config: the teacher and its recipe entry.
        wire: the provider's wire format.
        endpoint: where requests go.
        repeats: gives leave to repeat a request whose answer was unusable.
        patience_s: how long to wait for it.
    """

    def __init__(
        self,
        name: str,
        config: ApiTeacher,
        *,
        wire: Wire,
        endpoint: Endpoint,
        repeats: RetryCredits,
        patience_s: float,
    ) -> None:
        self._name, self._config, self._wire, self._endpoint = name, config, wire, endpoint
        self._repeats, self._patience_s = repeats, patience_s
        self._answered = False
        self._failed = 0

    async def ask(self, batch: Batch, count: TokenCount, errand: Errand) -> AsyncIterator[Answer]:
        """Answers that together hold every row of the batch, each with what the errand cost since the one before.

        Raises:
            what :meth:`mtd_ray.teachers.base.TeacherClient.answers` does, and GivenUpError when the errand is over.
        """
        pending = [batch]
        while pending:
            some = pending.pop()
            try:
                vectors, failures = await self._vectors(some, count, errand)
            except RefusedError as refusal:
                if len(some.rows) > 1:
                    first, second = some.halves()
                    pending += [second, first]
                    continue
                vectors, failures = np.zeros((1, self._config.dimensions), np.float32), {0: str(refusal)}
            self._require_some_success(len(some.rows), failures)
            yield errand.answer(some.rows, vectors, {some.rows[place]: reason for place, reason in failures.items()})

    def _require_some_success(self, asked: int, failures: dict[int, str]) -> None:
        """When not one text has ever been embedded, the fault is not in the texts: stop before all are recorded as bad."""
        self._answered = self._answered or asked > len(failures)
        self._failed += len(failures)
        if not self._answered and self._failed >= _FAILURES_BEFORE_GIVING_UP:
            reason = next(iter(failures.values()))
            raise TeacherError(
                f"teacher {self._name}: none of the first {self._failed} texts could be embedded, the last one: {reason}; "
                f"check teachers.{self._name} in the recipe"
            )

    async def _vectors(self, batch: Batch, count: TokenCount, errand: Errand) -> _Checked:
        """Vectors ``(rows, dim)`` and place → reason of those the teacher answers unusably time after time."""
        body = self._wire.body(batch.texts, batch.task)
        request = Request(body, batch.tokens, count.most(batch.texts, batch.tokens), len(batch.texts))
        self._repeats.earn()
        for tries in range(1, _TRIES_OF_A_BAD_ANSWER + 1):
            last = tries == _TRIES_OF_A_BAD_ANSWER
            reply = await self._endpoint.post(request, errand)
            try:
                vectors = self._wire.read_vectors(reply.content, len(batch.texts), self._name)
            except BadAnswer:
                if last or not await self._may_repeat(tries):
                    raise
                continue
            # Not asked again: a model's size stays what it is, and every answer costs.
            require_shape(vectors, len(batch.texts), self._config.dimensions, self._name)
            count.correct(batch.texts, batch.tokens, reply.counted)
            if last or np.isfinite(vectors).all() or not await self._may_repeat(tries):
                break
        return self._set_aside(vectors)

    async def _may_repeat(self, tries: int) -> bool:
        return await self._repeats.spend(tries, self._patience_s) is not None

    def _set_aside(self, vectors: Vectors) -> _Checked:
        vectors, failures = set_aside_bad_rows(vectors)
        if len(failures) == len(vectors) > 1:
            raise BadAnswer(f"teacher {self._name}: none of {len(vectors)} vectors of an answer is usable: {failures[0]}")
        return vectors, failures
