from __future__ import annotations

import asyncio

from mtd_ray.teachers.retry import RetryCredits
from tests.unit.teachers.fake_time import FakeTime


def spent_within(seconds: float, repeats: RetryCredits, time: FakeTime, failures: int = 1) -> int:
    """How many repeats are allowed before this much time has passed."""
    until, count = time.now + seconds, 0
    while asyncio.run(repeats.spend(failures, until - time.now)) is not None:
        count += 1
    return count


def test_repeats_stay_a_tenth_of_the_first_attempts() -> None:
    time = FakeTime()
    repeats = RetryCredits(time.policy())
    assert spent_within(0, repeats, time) == 10, "a start that fails is no storm yet"
    for _ in range(200):
        repeats.earn()
    assert 19 <= spent_within(0, repeats, time) <= 20


def test_a_server_that_is_down_is_looked_at_now_and_then() -> None:
    time = FakeTime()
    repeats = RetryCredits(time.policy())
    spent_within(0, repeats, time)
    assert spent_within(300, repeats, time) == 10


def test_what_was_earned_long_ago_does_not_allow_a_storm() -> None:
    time = FakeTime()
    repeats = RetryCredits(time.policy())
    for _ in range(100_000):
        repeats.earn()
    assert spent_within(0, repeats, time) == 100


def test_who_failed_most_goes_first() -> None:
    time = FakeTime()
    repeats = RetryCredits(time.policy())
    spent_within(0, repeats, time)

    async def race() -> list[float | None]:
        return await asyncio.gather(repeats.spend(1, 20), repeats.spend(5, 20))

    first, second = asyncio.run(race())
    assert first is None
    assert second is not None


def test_the_wait_grows_evenly_by_chance_up_to_a_bound() -> None:
    policy = FakeTime().policy()
    assert [policy.delay(attempt) for attempt in (0, 1, 2, 20)] == [0.25, 0.5, 1.0, 15.0]
