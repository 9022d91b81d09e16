"""The model thread: takes batches from the queue, computes them, and hands vectors back to the event loops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from time import perf_counter
from typing import TYPE_CHECKING

from serve.engine.admission import Admission
from serve.engine.cache import Cache
from serve.engine.delivery import Delivery, Probe
from serve.engine.metrics import Metrics
from serve.engine.passes import Group, Passes
from serve.engine.priority import lower_priority
from serve.engine.queue import FairQueue
from serve.engine.speed import full_pass
from serve.engine.work import Item, Job
from serve.wire.faults import ApiError

if TYPE_CHECKING:
    from serve.engine.model import ServedModel

_LOG = logging.getLogger(__name__)


class _Notice:
    """A message without content."""


_GONE, _CLOSE = _Notice(), _Notice()


class Worker:
    """Runs the models in one thread, which outlives whatever a model raises.

    Args:
        models: by key, as items name them.
        cache: where vectors of items with a key are kept.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        queue: FairQueue,
        *,
        admission: Admission,
        metrics: Metrics,
        cache: Cache | None,
    ) -> None:
        self._models = models
        self._queue = queue
        self._admission = admission
        self._metrics = metrics
        self._inbox: SimpleQueue[Job | Probe | _Notice] = SimpleQueue()
        self._sending = Lock()
        self._closing = False
        self._delivery = Delivery()
        self._passes = Passes(models, cache, done=self._delivery.add, failed=self._fail)
        self._in_hand: Sequence[Item] = ()
        self._measured = Event()
        self._thread = Thread(target=self._main, name="model", daemon=True)
        self._thread.start()
        self._measured.wait()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def answered_at(self) -> dict[str, float]:
        """When each model last gave vectors, on the clock of :func:`time.perf_counter`."""
        return self._passes.answered_at

    def submit(self, job: Job) -> bool:
        """Put a job into the queue; false when no more are taken."""
        with self._sending:
            if self._closing or not self.alive:
                return False
            job.submitted = perf_counter()
            self._inbox.put(job)
            return True

    def abandon(self, job: Job) -> None:
        """Nobody waits for this job any more."""
        job.over = True
        self._admission.settle(job, 0)
        self._inbox.put(_GONE)

    def probe(self) -> asyncio.Future[None]:
        """Have every model compute the smallest text, ahead of the queue."""
        probe = Probe()
        self._inbox.put(probe)
        return probe.future

    def close(self, timeout_s: float) -> None:
        """Compute what was submitted, then end the thread; waits for it at most so long."""
        with self._sending:
            self._closing = True
            self._inbox.put(_CLOSE)
        self._thread.join(timeout_s)

    def _main(self) -> None:
        lower_priority()
        self._measure()
        try:
            more = True
            while more:
                try:
                    more = self._receive()
                    self._compute(self._queue.take(perf_counter()))
                except Exception:
                    _LOG.exception("the queue failed; what waited in it is answered with an error")
                    self._give_up()
        finally:
            self._give_up()

    def _measure(self) -> None:
        """Tell admission how fast the models are, before anything is admitted."""
        try:
            for key, model in self._models.items():
                self._admission.measured(key, *full_pass(model))
        except Exception:
            _LOG.exception("the model does not compute a full batch")
        finally:
            self._measured.set()

    def _receive(self) -> bool:
        """Read all messages, waiting for the first if there is nothing else to do; false at the end."""
        wait = not self._queue and not self._closing
        while True:
            try:
                message = self._inbox.get(block=wait)
            except Empty:
                return bool(self._queue) or not self._closing
            if isinstance(message, Job):
                self._queue.push(message)
            elif isinstance(message, Probe):
                message.answer(self._passes.run_smallest())
            elif message is _GONE:
                self._queue.forget()
            wait = not self._queue and not self._closing

    def _compute(self, batch: Sequence[Item]) -> None:
        self._in_hand = batch
        items = [item for item in batch if not item.job.over]
        self._metrics.dropped(len(batch) - len(items))
        self._admission.start(items)
        groups = self._passes.not_cached(items)
        started = perf_counter()
        if groups:
            self._passes.run(groups)
        seconds = perf_counter() - started
        self._admission.finish()
        self._delivery.send()
        if groups:
            self._account(groups, started, seconds)
        self._in_hand = ()

    def _account(self, groups: Sequence[Group], started: float, seconds: float) -> None:
        key = groups[0][0].model
        model = self._models[key]
        lengths = [group[0].tokens for group in groups]
        tokens = sum(lengths)
        if tokens >= model.batch_tokens / 2:  # smaller passes say little of what can be done
            self._admission.measured(key, tokens, seconds)
        padded = tokens if model.packs else max(lengths) * len(lengths)
        self._metrics.passed(lengths, padded, [started - item.job.submitted for group in groups for item in group], seconds)

    def _fail(self, group: Group) -> None:
        self._metrics.failed()
        for item in group:
            if not item.job.over:
                self._end(item.job, _poison(item.index))
                self._queue.forget()

    def _end(self, job: Job, error: ApiError) -> None:
        job.over, job.error = True, error
        self._admission.settle(job, 0)
        self._delivery.add(job)

    def _give_up(self) -> None:
        """Answer all that waits, and what is in hand, with an error."""
        self._admission.finish()
        with suppress(Empty):
            while True:
                message = self._inbox.get_nowait()
                if isinstance(message, Job):
                    self._queue.push(message)
                elif isinstance(message, Probe):
                    message.answer(RuntimeError("the queue failed"))
        in_hand, self._in_hand = self._in_hand, ()
        for job in [item.job for item in in_hand] + self._queue.clear():
            if not job.over:
                self._end(job, ApiError("the server failed to answer; its log says why", status=500))
        self._delivery.send()


def _poison(index: int) -> ApiError:
    return ApiError(f"the model failed on input {index}; leave it out", status=500, param="input", final=True)
