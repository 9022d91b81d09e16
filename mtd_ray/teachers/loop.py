"""An event loop on a thread of its own, for a client that threads without a loop use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_CLOSE_S = 10.0
_LEFT_BEHIND_S = 5.0


class LoopThread:
    """Runs coroutines for other threads. Its thread is a daemon: a process that must end does not wait for it."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._started: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine; its result or error comes in the future. Raises RuntimeError after :meth:`close`."""
        noted = self._noted(coroutine)
        try:
            return asyncio.run_coroutine_threadsafe(noted, self._loop)
        except RuntimeError:
            noted.close()
            coroutine.close()
            raise

    async def _noted(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if (task := asyncio.current_task()) is not None:
            self._started.add(task)
            task.add_done_callback(self._started.discard)
        return await coroutine

    def call(self, function: Callable[[], object]) -> None:
        """Call a function on the loop's thread, soon; not at all after :meth:`close`."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what was started, run the coroutine ``last``, end the thread. A second call does nothing.

        Tasks that what was started leaves behind, such as a reservation that must be given back, have some seconds to end.
        """
        if self._loop.is_closed():
            return
        self.start(self._end(last)).result(_CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        self._loop.close()

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        this = asyncio.current_task()
        await _cancelled({task for task in self._started if task is not this})
        if left_behind := {task for task in asyncio.all_tasks() if task is not this}:
            _, late = await asyncio.wait(left_behind, timeout=_LEFT_BEHIND_S)
            await _cancelled(late)
        await last()
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
