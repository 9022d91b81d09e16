"""Questions → vectors: a question is checked, its texts wait in a fair queue, texts of many questions share a forward pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, sleep
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mtd_ray.errors import MtdError
from serve.engine.admission import URGENT, Admission
from serve.engine.batches import choose_packed, choose_padded
from serve.engine.cache import Cache
from serve.engine.checks import Checks, Target
from serve.engine.input_ids import Meaning, example_of
from serve.engine.limits import Limits, Load
from serve.engine.metrics import Metrics
from serve.engine.question import Answer, Description, Question, described
from serve.engine.queue import FairQueue
from serve.engine.work import Item, Job, Vector
from serve.engine.worker import Worker
from serve.wire.faults import ApiError

if TYPE_CHECKING:
    from serve.engine.model import ServedModel

__all__ = ["Answer", "Description", "Engine", "Question"]

Result = TypeVar("Result")

_PREPARING_THREADS = 2
# Up to so many characters a thread costs more than it takes off the event loop: at 50 twice the time of tokenising here, at 200 the
# same (64 clients), at 500 a quarter of the loop's.
_INLINE_CHARACTERS = 200
# Batches are chosen among the texts of so many. Padded ones: more would close few gaps, and delay texts of rare lengths.
_LOOKAHEAD_PADDED, _LOOKAHEAD_PACKED = 8, 2
# Passes that may wait before the model's speed is known.
_FIRST_PASSES = 16
_PROOF_S = 1.0
_EXAMPLE = "Sort a list."
_DEAD = "the model thread has ended: this server has to be started again"


class Engine:
    """Models, and the queue before them.

    Args:
        models: by key; the first is the default. Two versions of one model have one name and two keys.
        cache_bytes: memory for the vectors of texts that are asked for again.
        choose: (name, flow) → the key of the model that answers; by default the first of that name.
        input_ids: what token ids of clients are taken for, see :mod:`serve.engine.input_ids`.

    Attributes:
        models: what is served: every name, described by its first version, followed by its versions.
        example_ids: token ids of a text that the first model takes; None where it takes none.
        metrics: for Prometheus.

    Raises:
        MtdError: there are no models, or what token ids are taken for cannot be had.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        *,
        limits: Limits,
        cache_bytes: int = 0,
        choose: Callable[[str, str], str] | None = None,
        input_ids: Meaning = "own",
    ) -> None:
        if not models:
            raise MtdError("an engine needs at least one model")
        self.limits = limits
        self.models = list(described(models, limits))
        self._checks = Checks(models, limits, choose, input_ids=input_ids)
        self.example_ids = example_of(input_ids, next(iter(models.values())), _EXAMPLE)
        self._served = dict(models)
        self._admission = Admission(limits, _FIRST_PASSES * max(model.batch_tokens for model in models.values()))
        self.metrics = Metrics(self.load)
        self._cache = Cache(cache_bytes) if cache_bytes else None
        queue = FairQueue(self._choose, self._lookahead, URGENT * limits.deadline_s)
        self._worker = Worker(models, queue, admission=self._admission, metrics=self.metrics, cache=self._cache)
        self._preparing = ThreadPoolExecutor(_PREPARING_THREADS, "prepare")
        self._probe: asyncio.Future[None] | None = None
        self._answering = 0
        self._closing = False

    async def answer(self, question: Question, *, began: float | None = None) -> Answer:
        """The vectors of a question.

        Args:
            began: when its request did, on the clock of :func:`time.perf_counter`; the deadline runs from there. None is now.

        Raises:
            ApiError: 400 and 404 for what is wrong with the question, 413 when it is too much, 429 when the queue is full, 500 when
                the model fails on a text, 503 while closing, 504 after the deadline.
        """
        started = perf_counter()
        self._answering += 1
        try:
            answer = await self._answer(question, started if began is None else began)
        except ApiError as error:
            self.metrics.refused(error.status)
            raise
        except asyncio.CancelledError:
            self.metrics.gone()
            raise
        finally:
            self._answering -= 1
        self.metrics.answered(answer.model, len(answer.vectors), answer.tokens, perf_counter() - started)
        return answer

    def admit(self, body_bytes: int, flow: str = "") -> None:
        """To be asked before a body of that length is read.

        Raises:
            ApiError: (429) the queue is full; ``retry_after_s`` says when it will not be.
        """
        try:
            self._admission.check(flow, body_bytes)
        except ApiError as error:
            self.metrics.refused(error.status)
            raise

    async def check_alive(self, timeout_s: float) -> None:
        """Send the smallest piece of work through every model, ahead of the queue, unless each had a pass a moment ago.

        Raises:
            ApiError: (503) no answer came in time, or a wrong one.
        """
        if not self._worker.alive:
            raise ApiError(_DEAD, status=503)
        if perf_counter() - min(self._worker.answered_at.values()) < _PROOF_S:
            return
        if self._probe is None or self._probe.done() or self._probe.get_loop() is not asyncio.get_running_loop():
            self._probe = self._worker.probe()
        try:
            await asyncio.wait_for(asyncio.shield(self._probe), timeout_s)
        except TimeoutError:
            raise ApiError(f"the model did not answer within {timeout_s:g} s", status=503) from None
        except RuntimeError as error:
            raise ApiError("the model does not compute the smallest text; the server's log says why", status=503) from error

    def load(self) -> Load:
        """What is under way."""
        return self._admission.load

    def close(self) -> None:
        """Take no more questions, answer those taken, end the model thread.

        Blocks until then, at most for the deadline; in an event loop that answers questions use ``asyncio.to_thread``.
        """
        self._closing = True
        ends = perf_counter() + self.limits.deadline_s
        while self._answering and perf_counter() < ends:
            sleep(0.01)
        self._worker.close(max(ends - perf_counter(), 0.1))
        self._preparing.shutdown(wait=False)

    async def _answer(self, question: Question, began: float) -> Answer:
        if self._closing:
            raise _closed()
        target = self._checks.target(question)
        job = Job(question.flow, len(question.rows), began, model=target.key)
        self._admission.enter(job, self._admission.guess(question.rows, target.model.max_tokens, target.overhead))
        try:
            async with asyncio.timeout(began + self.limits.deadline_s - perf_counter()):
                tokens = await self._beside(question.rows, lambda: self._prepare(question, target, job))
                waiting = sum(item.tokens for item in job.waiting)
                self._admission.check_size(target.key, waiting)
                self._admission.settle(job, waiting)
                if job.left:
                    await self._computed(job)
        except TimeoutError:
            raise ApiError(
                f"the request was not done within {self.limits.deadline_s:g} s; send fewer texts at once", status=504, final=True
            ) from None
        finally:
            job.over = True
            self._admission.settle(job, 0)
        vectors = job.complete()
        return Answer(target.key, _unit(vectors) if question.normalize else vectors, tokens)

    async def _beside(self, rows: Sequence[str | list[int]], function: Callable[[], Result]) -> Result:
        """Run what takes time for long texts in a thread, and for short ones here."""
        if sum(map(len, rows)) <= _INLINE_CHARACTERS:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._preparing, function)

    def _prepare(self, question: Question, target: Target, job: Job) -> int:
        """Give the job its items; returns their tokens, those of cached texts included."""
        rows = self._checks.ids(question, target)
        tokens = sum(map(len, rows))
        self._admission.learn(question.rows, list(map(len, rows)), target.model.max_tokens, target.overhead)
        if self._cache is None:
            job.wait_for([Item(job, index, model=target.key, ids=ids, size=target.size) for index, ids in enumerate(rows)])
            return tokens
        missing = []
        for index, ids in enumerate(rows):
            key = self._cache.key(target.key, ids, target.size)
            vector = self._cache.get(key)
            if vector is None:
                missing.append(Item(job, index, model=target.key, ids=ids, size=target.size, key=key))
            else:
                job.fill(index, vector)
        self.metrics.looked_up(len(rows) - len(missing), len(missing))
        job.wait_for(missing)
        return tokens

    async def _computed(self, job: Job) -> None:
        if not self._worker.submit(job):
            raise _closed() if self._closing else ApiError(_DEAD, status=503)
        try:
            await job.future
        except asyncio.CancelledError:  # the deadline passed, or the client went
            self._worker.abandon(job)
            raise

    def _choose(self, key: str, lengths: Sequence[int]) -> list[int]:
        model = self._served[key]
        return (choose_packed if model.packs else choose_padded)(lengths, model.batch_tokens)

    def _lookahead(self, key: str) -> int:
        model = self._served[key]
        return (_LOOKAHEAD_PACKED if model.packs else _LOOKAHEAD_PADDED) * model.batch_tokens


def _closed() -> ApiError:
    return ApiError("this server is shutting down", status=503, retry_after_s=1.0)


def _unit(vectors: Sequence[Vector]) -> list[Vector]:
    stacked = np.stack(vectors)
    lengths = np.linalg.norm(stacked, axis=1, keepdims=True)
    return list(stacked / np.maximum(lengths, np.finfo(np.float32).tiny))
