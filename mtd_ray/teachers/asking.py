"""One batch of texts → vectors: bad texts found, answers checked, unusable ones asked again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import numpy as np

from mtd_ray.config import ApiTeacher
from mtd_ray.teachers.base import Answer, BadAnswer, Vectors, require_shape, set_aside_bad_rows
from mtd_ray.teachers.batches import Batch, TokenCount
from mtd_ray.teachers.errand import Errand, Reply, Request
from mtd_ray.teachers.http import Endpoint
from mtd_ray.teachers.refusals import RefusedError
from mtd_ray.teachers.retry import RetryCredits
from mtd_ray.teachers.wire import Wire

_TRIES_OF_A_BAD_ANSWER = 3
_PROBE = "test"

_Checked = tuple[Vectors, dict[int, str]]


class Asker:
    """Asks for batches. One of which no text gets a vector is halved until the bad text is alone; that one becomes a failed row.

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
        self._size_seen = self._embeds = False
        self._probing = asyncio.Lock()
        self._probed: str | None = None

    async def ask(self, batch: Batch, count: TokenCount, errand: Errand) -> AsyncIterator[Answer]:
        """Answers that together hold every row of the batch, each with what the errand cost since the one before.

        Raises:
            what :meth:`mtd_ray.teachers.base.TeacherClient.answers` does, and GivenUpError when the errand is over.
        """
        pending = [(batch, True)]
        while pending:
            some, again = pending.pop()
            try:
                vectors, failures = await self._vectors(some, count, errand, again=again)
                again = False  # halves are asked for a second time as it is
            except RefusedError as refusal:
                vectors, failures = self._none_of(some, str(refusal))
            if len(failures) == len(some.rows) > 1:
                first, second = some.halves()
                pending += [(second, again), (first, again)]
                continue
            if failures:
                await self._require_good_texts_embed(next(iter(failures.values())), some.task, count, errand)
            yield errand.answer(some.rows, vectors, {some.rows[place]: reason for place, reason in failures.items()})

    async def _require_good_texts_embed(self, reason: str, task: str | None, count: TokenCount, errand: Errand) -> None:
        """Before the first bad text is recorded as such: unless some text was embedded, a harmless one is asked for. Once.

        Raises:
            BadAnswer: that one fails too. The fault is not in the texts, of which all would be recorded as bad.
        """
        async with self._probing:
            if self._embeds:
                return
            if self._probed is None:
                self._probed = await self._probe(task, count, errand)
            if not self._embeds:  # another lane may have seen to it meanwhile
                raise BadAnswer(
                    f"teacher {self._name}: no text could be embedded, not even {_PROBE!r} ({self._probed}); the first one's "
                    f"failure was: {reason}; check teachers.{self._name} in the recipe"
                )

    async def _probe(self, task: str | None, count: TokenCount, errand: Errand) -> str:
        """Why the harmless text fails; empty when it does not."""
        try:
            _, failures = await self._vectors(Batch([0], [_PROBE], [count.of(_PROBE)], task), count, errand, again=False)
        except RefusedError as refusal:
            return str(refusal)
        return failures.get(0, "")

    async def _vectors(self, batch: Batch, count: TokenCount, errand: Errand, *, again: bool) -> _Checked:
        """Vectors ``(rows, dim)`` and place → reason of those the teacher answers unusably time after time.

        Args:
            again: vectors that are not finite are asked for again; they may be an overflow that passes.
        """
        request = self._request(batch, count)
        self._repeats.earn()
        for tries in range(1, _TRIES_OF_A_BAD_ANSWER + 1):
            last = tries == _TRIES_OF_A_BAD_ANSWER
            reply = await self._endpoint.post(request, errand)
            try:
                vectors = self._wire.read_vectors(reply.content, len(batch.texts), self._name)
                if self._size_seen:
                    self._require_shape(vectors, batch)
            except BadAnswer:
                if last or not await self._may_repeat(tries):
                    raise
                continue
            # Not asked again: a model's size stays what it is, every answer costs, and none has said otherwise yet.
            self._require_shape(vectors, batch)
            self._size_seen = True
            self._learn(batch, count, reply)
            if last or not again or np.isfinite(vectors).all() or not await self._may_repeat(tries):
                break
        checked, failures = set_aside_bad_rows(vectors)
        self._embeds = self._embeds or len(failures) < len(checked)
        return checked, failures

    def _request(self, batch: Batch, count: TokenCount) -> Request:
        """What is expected to be counted of a text ends where the provider cuts it. The most that can be does not: only the
        provider knows its model's length for certain."""
        longest = self._config.max_tokens if self._wire.truncates else math.inf
        tokens = int(sum(min(tokens, longest) for tokens in batch.counts))
        most = count.most(batch.texts, batch.tokens)
        return Request(self._wire.body(batch.texts, batch.task), tokens, most, len(batch.texts))

    def _learn(self, batch: Batch, count: TokenCount, reply: Reply) -> None:
        if max(batch.counts) <= self._config.max_tokens:  # of a longer text, the provider may have counted a piece only
            count.correct(batch.texts, batch.tokens, reply.counted)

    def _require_shape(self, vectors: Vectors, batch: Batch) -> None:
        require_shape(vectors, len(batch.texts), self._config.dimensions, self._name)

    async def _may_repeat(self, tries: int) -> bool:
        return await self._repeats.spend(tries, self._patience_s) is not None

    def _none_of(self, batch: Batch, reason: str) -> _Checked:
        rows = len(batch.rows)
        return np.zeros((rows, self._config.dimensions), np.float32), dict.fromkeys(range(rows), reason)
