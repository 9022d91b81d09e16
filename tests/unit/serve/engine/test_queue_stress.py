"""Random work through the queue: whoever comes, hangs up or is served out of turn, nobody is forgotten."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from serve.engine.queue import FairQueue
from serve.engine.work import Item, Job

_VECTOR = np.zeros(1, np.float32)


async def everybody_is_served(seed: int) -> None:
    draw = random.Random(seed)
    rows, lookahead = draw.choice([1, 5, 20, 60]), draw.choice([50, 200, 1_000, 4_000])
    queue = FairQueue(lambda _, lengths: list(range(min(rows, len(lengths)))), lambda _: lookahead, draw.choice([1e9, 5.0]))
    jobs: list[Job] = []

    def push(texts: int, tokens: int) -> None:
        job = Job(draw.choice("aaaabcdefghij"), texts, 0.0, model=draw.choice("mmn"))
        job.wait_for([Item(job, index, model=job.model, ids=[1] * tokens, size=1) for index in range(texts)])
        queue.push(job)
        jobs.append(job)

    for step in range(30_000):
        for _ in range(draw.choice([0, 0, 1, 5, 30]) if step < 40 else 0):
            push(draw.choice([1, 1, 1, 1, 50]), draw.choice([1, 1, 5, 20]))
        if jobs and draw.random() < 0.1 and not (gone := draw.choice(jobs)).over:
            gone.over = True
            queue.forget()
        batch = queue.take(draw.choice([0.0, 10.0]))
        assert len({item.model for item in batch}) <= 1
        for item in batch:
            item.job.fill(item.index, _VECTOR)
        if step >= 40 and not queue:
            break
    assert [job for job in jobs if not job.over] == []


@pytest.mark.parametrize("seed", range(6))
def test_everybody_is_served(seed: int) -> None:
    asyncio.run(everybody_is_served(seed))
