"""Whose texts are computed next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable
from functools import wraps
from typing import Any

from serve.engine.batches import choose_padded
from serve.engine.queue import FairQueue
from serve.engine.work import Item, Job

BUDGET = 512


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Jobs belong to an event loop."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


def queue() -> FairQueue:
    return FairQueue(lambda _, lengths: choose_padded(lengths, BUDGET), lambda _: 8 * BUDGET, urgent_after_s=6.0)


def job(lengths: Iterable[int], *, flow: str = "", arrived: float = 0.0, model: str = "m") -> Job:
    lengths = list(lengths)
    made = Job(flow, len(lengths), arrived, model="m")
    made.wait_for([Item(made, index, model=model, ids=[0] * length, size=8) for index, length in enumerate(lengths)])
    return made


def lengths_like_queries(count: int, seed: int = 1) -> list[int]:
    draw = random.Random(seed)
    return [int(min(max(draw.lognormvariate(3.5, 0.8), 3), 256)) for _ in range(count)]


def batches_until(waiting: FairQueue, wanted: Job, most: int = 10_000) -> int:
    for number in range(1, most):
        waiting.take(0.0)
        if not wanted.waiting:
            return number
    raise AssertionError(f"not served in {most} batches")


@in_a_loop
async def test_a_single_text_does_not_wait_for_thousands_before_it() -> None:
    for length in (3, 20, 250):
        waiting = queue()
        waiting.push(job(lengths_like_queries(2_000)))
        for _ in range(5):
            waiting.take(0.0)
        single = job([length])
        waiting.push(single)
        assert batches_until(waiting, single) <= 2


@in_a_loop
async def test_thousands_of_texts_are_in_time_however_many_single_ones_come() -> None:
    waiting = queue()
    large = job(lengths_like_queries(2_000))
    waiting.push(large)
    now = 0.0
    while large.waiting:
        for length in lengths_like_queries(30, seed=int(now * 100)):  # more than a batch holds
            waiting.push(job([length], arrived=now))
        waiting.take(now)
        now += 0.05
    assert now < 6 + 2 * 0.05 * (2_000 / 10)


@in_a_loop
async def test_those_who_ask_share_the_model_whatever_they_have_sent() -> None:
    waiting = queue()
    for _ in range(500):
        waiting.push(job([50], flow="busy"))
    for _ in range(10):
        waiting.take(0.0)
    late = [job([50], flow="late") for _ in range(40)]
    for one in late:
        waiting.push(one)
    taken = [item for _ in range(10) for item in waiting.take(0.0)]
    share = sum(item.job.flow == "late" for item in taken) / len(taken)
    assert 0.35 < share < 0.65


@in_a_loop
async def test_a_job_that_has_waited_for_long_has_every_second_batch() -> None:
    waiting = queue()
    waiting.push(first := job([100] * 50, flow="busy"))
    for _ in range(50):
        waiting.push(job([40], flow="busy", arrived=9.0))
        waiting.push(job([40], flow="another", arrived=9.0))
    before = len(first.waiting)
    for _ in range(8):
        waiting.take(10.0)
    assert before - len(first.waiting) >= 4 * (BUDGET // 100)


@in_a_loop
async def test_every_text_is_taken_once_in_batches_of_one_model_within_the_budget() -> None:
    draw = random.Random(5)
    waiting = queue()
    jobs: list[Job] = []
    taken: list[Item] = []
    for step in range(400):
        for _ in range(draw.randint(0, 3)):
            jobs.append(
                job(
                    lengths_like_queries(draw.choice((1, 1, 1, 30)), seed=draw.random()),
                    flow=draw.choice("abc"),
                    model=draw.choice("mn"),
                    arrived=float(step),
                )
            )
            waiting.push(jobs[-1])
        if draw.random() < 0.1:
            jobs[draw.randrange(len(jobs))].over = True
            waiting.forget()
        batch = waiting.take(float(step))
        assert len({item.model for item in batch}) <= 1
        assert not batch or max(item.tokens for item in batch) * len(batch) <= BUDGET
        taken += batch
    while waiting:
        taken += waiting.take(1_000.0)
    assert len({id(item) for item in taken}) == len(taken)
    assert all(not one.waiting for one in jobs if not one.over)


@in_a_loop
async def test_what_nobody_waits_for_is_neither_computed_nor_kept() -> None:
    waiting = queue()
    jobs = [job([20]) for _ in range(1_000)]
    for one in jobs:
        waiting.push(one)
    for one in jobs[1:]:
        one.over = True
        waiting.forget()
    assert len(waiting._oldest) <= 200
    assert [item.job for item in waiting.take(0.0)] == jobs[:1]
    assert not waiting.take(0.0)
    assert not waiting


@in_a_loop
async def test_mixed_lengths_take_little_padding() -> None:
    waiting = queue()
    jobs = iter([job([length]) for length in lengths_like_queries(3_000)])
    for _ in range(64):  # clients, of whom each asks again once it is answered
        waiting.push(next(jobs))
    tokens = padded = 0
    for _ in range(200):
        batch = waiting.take(0.0)
        tokens += sum(item.tokens for item in batch)
        padded += max(item.tokens for item in batch) * len(batch)
        for _ in batch:
            waiting.push(next(jobs))
    assert tokens / padded > 0.9


@in_a_loop
async def test_jobs_that_are_done_are_not_kept_behind_one_that_waits() -> None:
    waiting = queue()
    waiting.push(job([500] * 2_000, flow="bulk"))
    for number in range(500):
        for _ in range(10):
            waiting.push(job([50], flow=f"user {number}"))
        waiting.take(0.0)
    while len(waiting._flows) > 1:
        waiting.take(0.0)
    assert waiting
    assert len(waiting._oldest) < 100
    assert len(waiting._order) == 1
