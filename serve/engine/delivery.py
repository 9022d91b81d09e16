"""From the model thread back into event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from serve.engine.work import Job


class Delivery:
    """Jobs that are done, until their event loops are told: one call into each loop, however many of its jobs are done."""

    def __init__(self) -> None:
        self._done: list[Job] = []

    def add(self, job: Job) -> None:
        """A job is done: its vectors are complete, or it has an error."""
        self._done.append(job)

    def send(self) -> None:
        """Wake those who wait for the jobs."""
        done, self._done = self._done, []
        loops: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        for job in done:
            loops.setdefault(job.loop, []).append(job)
        for loop, jobs in loops.items():
            _call(loop, _settle, jobs)


class Probe:
    """Asks whether the model thread answers; made in an event loop, which awaits its future."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def answer(self, error: BaseException | None) -> None:
        """Called in the model thread: with what went wrong, or None."""
        _call(self._loop, self._settle, error)

    def _settle(self, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
        else:
            self.future.set_result(None)


def _settle(jobs: Iterable[Job]) -> None:
    for job in jobs:
        job.settle()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
        loop.call_soon_threadsafe(function, *arguments)
