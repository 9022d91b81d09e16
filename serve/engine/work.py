"""What waits for the model: a job is a question's texts, an item one text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Key = tuple[str, int, bytes]


class Job:
    """A question on its way through the model. The event loop waits for its future, the model thread fills it.

    Attributes:
        vectors: one per row of the question; None where it is still to come.
        left: how many are still to come.
        waiting: items that no forward pass has taken, longest first.
        waiting_tokens: as admission counts them.
        over: nobody waits for the vectors any more: they are complete, the question failed, its deadline passed or its client went.
        error: why it failed.
        model: key of the model that computes it.
        arrived: when its request began, on the clock of :func:`time.perf_counter`.
        submitted: when it was put into the queue.
        tag: its place in the queue, see :class:`serve.engine.queue.FairQueue`.
        drawn: items of ``waiting`` that are being considered for the next batch.
    """

    __slots__ = (
        "arrived",
        "drawn",
        "error",
        "flow",
        "future",
        "left",
        "loop",
        "model",
        "over",
        "submitted",
        "tag",
        "vectors",
        "waiting",
        "waiting_tokens",
    )

    def __init__(self, flow: str, rows: int, arrived: float, *, model: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.flow = flow
        self.vectors: list[Vector | None] = [None] * rows
        self.left = rows
        self.waiting: list[Item] = []
        self.waiting_tokens = 0
        self.over = False
        self.error: Exception | None = None
        self.model = model
        self.arrived = self.submitted = arrived
        self.tag = 0.0
        self.drawn = 0

    def wait_for(self, items: Sequence[Item]) -> None:
        """What the model is to compute for it."""
        self.waiting = sorted(items, key=lambda item: -item.tokens)

    def fill(self, index: int, vector: Vector) -> bool:
        """Put a vector in its place; true for the last one."""
        self.vectors[index] = vector
        self.left -= 1
        if self.left:
            return False
        self.over = True  # set, never taken back: the event loop sets it too
        return True

    def complete(self) -> list[Vector]:
        """Every row's vector, in the order of the rows.

        Raises:
            RuntimeError: one is missing.
        """
        vectors = [vector for vector in self.vectors if vector is not None]
        if len(vectors) < len(self.vectors):
            raise RuntimeError(f"{len(self.vectors) - len(vectors)} of {len(self.vectors)} vectors are missing")
        return vectors

    def settle(self) -> None:
        """Wake whoever waits; called in the event loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(None)


class Item:
    """One text of a job.

    Attributes:
        model: key of the model.
        ids: as the model reads them.
        tokens: what it counts for: how many ids there are, and at least 1.
        size: of the vector.
        index: its row in the question.
        key: under which its vector is cached, if at all.
        taken: a forward pass has it.
    """

    __slots__ = ("ids", "index", "job", "key", "model", "size", "taken", "tokens")

    def __init__(self, job: Job, index: int, *, model: str, ids: Sequence[int], size: int, key: Key | None = None) -> None:
        self.job = job
        self.index = index
        self.model = model
        self.ids = ids
        self.tokens = max(len(ids), 1)
        self.size = size
        self.key = key
        self.taken = False
