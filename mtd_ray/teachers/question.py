"""One question under way: its requests side by side, its answers in the order they come, an orderly end."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator

from mtd_ray.teachers.asking import Asker
from mtd_ray.teachers.base import Answer
from mtd_ray.teachers.batches import Batch, TokenCount
from mtd_ray.teachers.errand import Errand, GivenUpError


class Question:
    """Lives on the client's event loop; only :attr:`answers` is for other threads.

    Args:
        asker: gets the vectors of one batch.
        batches: what to ask, drawn as there is room.
        count: the tokens of texts.
        room: the requests that may be under way, shared with the client's other questions.
        width: how many that is.
        grace_s: how long requests that are on their way may still come in after an error.

    Attributes:
        answers: the answers as they come.
    """

    def __init__(
        self, asker: Asker, batches: Iterator[Batch], count: TokenCount, *, room: asyncio.Semaphore, width: int, grace_s: float
    ) -> None:
        self.answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._asker, self._batches, self._count = asker, batches, count
        self._room, self._width, self._grace_s = room, width, grace_s
        self._drawing = asyncio.Lock()
        self._over = asyncio.Event()
        self._lanes: dict[asyncio.Task[None], Errand] = {}
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Ask until all is answered, :meth:`give_up` is called, or something fails; that is raised.

        After a failure nothing new is sent, but requests that are on their way have been paid for and may come in.
        """
        for _ in range(self._width):
            errand = Errand()
            lane = asyncio.create_task(self._go(errand))
            self._lanes[lane] = errand
            lane.add_done_callback(self._lane_ended)
        try:
            await self._over.wait()
            if self._error is not None:
                await self._let_come_in()
        finally:
            await self._end_lanes()
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        """End now; requests that are on their way are abandoned."""
        self._over.set()

    async def _go(self, errand: Errand) -> None:
        """Ask one batch after the other."""
        while not errand.over:
            async with self._room:
                if (batch := await self._next_batch()) is None:
                    return
                async for answer in self._asker.ask(batch, self._count, errand):
                    self.answers.put(answer)

    async def _next_batch(self) -> Batch | None:
        """Drawn in a thread: counting the tokens of a large request takes a while, and others are under way."""
        async with self._drawing:
            return await asyncio.to_thread(next, self._batches, None)

    def _lane_ended(self, lane: asyncio.Task[None]) -> None:
        del self._lanes[lane]
        error = None if lane.cancelled() else lane.exception()  # looked at also after the first: asyncio shows the others' traces
        if self._error is None and not isinstance(error, GivenUpError):
            self._error = error
        if self._error is not None or not self._lanes:
            self._over.set()

    async def _let_come_in(self) -> None:
        on_the_way = set()
        for lane, errand in self._lanes.items():
            errand.over = True
            if errand.on_the_way:
                on_the_way.add(lane)
            else:
                lane.cancel()
        if on_the_way:
            await asyncio.wait(on_the_way, timeout=self._grace_s)

    async def _end_lanes(self) -> None:
        lanes = list(self._lanes)
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
