"""Who is let into the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from serve.engine.admission import Admission
from serve.engine.limits import Limits
from serve.engine.work import Job
from serve.wire.faults import ApiError


def admission(most: int | None = 1_000, floor: int = 100) -> Admission:
    return Admission(Limits(max_queued_tokens=most), floor)


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    """Jobs belong to an event loop."""
    with asyncio.Runner() as runner:
        asyncio._set_running_loop(runner.get_loop())
        yield
        asyncio._set_running_loop(None)


def enter(admission: Admission, flow: str, tokens: int) -> Job:
    job = Job(flow, 1, 0.0, model="m")
    admission.enter(job, tokens)
    return job


def refusal(admission: Admission, flow: str, tokens: int) -> ApiError:
    with pytest.raises(ApiError) as fault:
        enter(admission, flow, tokens)
    return fault.value


def test_what_cannot_be_computed_in_time_is_refused_with_a_time_to_come_back() -> None:
    full = admission(most=None, floor=100)
    full.measured("m", 2_000, seconds=2.0)
    enter(full, "", 9_000)
    enter(full, "", 2_000)
    fault = refusal(full, "", 5_000)  # 12,000 are 12 of the deadline's 30 s
    assert fault.status == 429
    assert fault.retry_after_s == pytest.approx(4.0, abs=0.1)


def test_the_speed_is_that_of_the_last_seconds() -> None:
    measured = admission()
    measured.measured("m", 1_000, seconds=1.0)
    assert measured.load.tokens_per_s == pytest.approx(1_000)
    for _ in range(40):
        measured.measured("m", 3_000, seconds=1.0)
    assert measured.load.tokens_per_s == pytest.approx(3_000, rel=0.05)


def test_one_who_fills_the_queue_keeps_nobody_else_out() -> None:
    shared = admission(most=1_000)
    for _ in range(10):
        enter(shared, "greedy", 100)
    assert refusal(shared, "greedy", 100).status == 429
    enter(shared, "modest", 100)


def test_a_large_request_keeps_no_single_text_out() -> None:
    shared = admission(most=1_000)
    large = enter(shared, "", 5_000)
    assert refusal(shared, "", 600).status == 429
    waiting = 0
    with pytest.raises(ApiError):
        for _ in range(1_000):
            enter(shared, "", 20)
            waiting += 20
    assert 500 < waiting <= 1_000
    shared.settle(large, 0)
    enter(shared, "", 20)


def test_an_empty_queue_takes_any_request() -> None:
    empty = admission(most=1_000)
    large = enter(empty, "", 5_000)
    refusal(empty, "", 5_000)
    empty.settle(large, 0)
    enter(empty, "", 5_000)
    assert empty.load.queued_tokens == 5_000


def test_the_length_of_a_body_tells_whether_it_has_a_chance() -> None:
    full = admission(most=1_000, floor=100)
    full.check("", 10_000_000)
    for _ in range(19):
        enter(full, "", 50)
    full.check("", 100)
    with pytest.raises(ApiError):
        full.check("", 10_000)


def test_tokens_per_character_are_learned() -> None:
    learning = admission()
    texts: list[str | list[int]] = ["ab" * 500]
    for _ in range(100):
        learning.learn(texts, [1_010], 2_000, 10)
    assert learning.guess(texts, 2_000, 10) == pytest.approx(1_010, rel=0.02)
    assert learning.guess([[1, 2, 3]], 2_000, 2) == 5
    assert learning.guess(texts * 3, 256, 10) == 3 * 256
    learning.learn(texts, [256], 256, 10)
    assert learning.guess(texts, 2_000, 10) == pytest.approx(1_010, rel=0.02), "a text that was cut says nothing"


def test_short_texts_behind_a_long_prompt_do_not_make_long_ones_look_longer() -> None:
    learning = admission()
    for _ in range(100):
        learning.learn(["ab"] * 100, [21] * 100, 2_000, 20)
    assert learning.guess(["ab" * 500], 2_000, 20) == pytest.approx(520, rel=0.1)


def test_what_waits_counts_by_the_speed_of_its_model() -> None:
    both = admission(most=None, floor=100)
    both.measured("slow", 1_000, seconds=1.0)
    both.measured("fast", 100_000, seconds=1.0)
    slow, fast = (Job("", 1, 0.0, model=model) for model in ("slow", "fast"))
    both.enter(fast, 600_000)  # 6 of the 12 s that may wait
    both.enter(slow, 5_000)  # 5 more
    assert both.load.queued_tokens / both.load.tokens_per_s == pytest.approx(11)
    for model, tokens in (("slow", 5_000), ("fast", 500_000)):
        with pytest.raises(ApiError) as fault:
            both.enter(Job("", 1, 0.0, model=model), tokens)
        assert fault.value.retry_after_s == pytest.approx(4.0, abs=0.1)
    both.enter(Job("", 1, 0.0, model="fast"), 90_000)


def test_a_request_for_which_the_deadline_is_too_short_is_refused_once_the_speed_is_known() -> None:
    sized = admission(most=None)
    sized.check_size("m", 10**9)
    sized.measured("m", 100, seconds=0.1)
    sized.check_size("m", 10**9)
    sized.measured("m", 1_000, seconds=1.0)
    sized.check_size("m", 50_000)
    with pytest.raises(ApiError, match="send fewer texts at once") as fault:
        sized.check_size("m", 70_000)
    assert fault.value.status == 413
