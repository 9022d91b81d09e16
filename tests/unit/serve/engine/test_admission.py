"""Who is let into the queue."""

from __future__ import annotations

import asyncio

import pytest

from serve.engine.admission import Admission
from serve.engine.limits import Limits
from serve.engine.work import Item, Job
from serve.wire.faults import ApiError


def admission(most: int | None = 1_000, floor: int = 100) -> Admission:
    return Admission(Limits(max_queued_tokens=most), floor)


def refusal(admission: Admission, flow: str, tokens: int) -> ApiError:
    with pytest.raises(ApiError) as fault:
        admission.enter(flow, tokens)
    return fault.value


def compute(admission: Admission, tokens: int, seconds: float) -> None:
    async def once() -> None:
        job = Job("", 1, 0.0)
        job.wait_for([Item(job, 0, model="m", ids=[0] * tokens, size=8)])
        admission.correct("", tokens)
        admission.start(job.waiting)
        admission.finish(seconds)

    asyncio.run(once())


def test_what_cannot_be_computed_in_time_is_refused_with_a_time_to_come_back() -> None:
    full = admission(most=None, floor=100)
    compute(full, 2_000, seconds=2.0)
    full.enter("a", 9_000)
    full.enter("b", 2_000)
    fault = refusal(full, "c", 3_000)  # 12,000 are 12 of the deadline's 30 s
    assert fault.status == 429
    assert fault.retry_after_s == pytest.approx(2.0, abs=0.5)


def test_the_speed_is_that_of_the_last_seconds() -> None:
    measured = admission()
    compute(measured, 1_000, seconds=1.0)
    assert measured.load.tokens_per_s == pytest.approx(1_000)
    for _ in range(40):
        compute(measured, 3_000, seconds=1.0)
    assert measured.load.tokens_per_s == pytest.approx(3_000, rel=0.05)


def test_one_who_fills_the_queue_leaves_room_for_others() -> None:
    shared = admission(most=1_000)
    for _ in range(8):
        shared.enter("greedy", 100)
    assert refusal(shared, "greedy", 100).status == 429
    shared.enter("modest", 100)


def test_an_empty_queue_takes_any_request() -> None:
    empty = admission(most=1_000)
    empty.enter("", 5_000)
    refusal(empty, "", 1)
    empty.correct("", -5_000)
    empty.enter("", 5_000)


def test_the_length_of_a_body_tells_whether_it_has_a_chance() -> None:
    full = admission(most=1_000)
    full.check("", 10_000_000)
    full.enter("", 700)
    full.check("", 100)
    with pytest.raises(ApiError):
        full.check("", 10_000)


def test_tokens_per_character_are_learned() -> None:
    learning = admission()
    texts: list[str | list[int]] = ["ab" * 500]
    for _ in range(100):
        learning.learn(texts, 1_000)
    assert learning.guess(texts) == pytest.approx(1_000, rel=0.02)
    assert learning.guess([[1, 2, 3]]) == 4
