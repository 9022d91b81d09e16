from __future__ import annotations

import pytest

from mtd_ray.config import QuotaConfig
from mtd_ray.harvest.pacing import Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pacer(**quota: float) -> tuple[Pacer, Clock]:
    clock = Clock()
    return Pacer(QuotaConfig(**quota), clock), clock


def granted(pacer: Pacer, clock: Clock, seconds: float, *, tokens: int = 100, inputs: int = 10) -> int:
    """Requests granted to callers that ask again exactly when they are told to, over a stretch of time."""
    end, count = clock.now + seconds, 0
    while clock.now < end:
        wait = pacer.ask(1, tokens, inputs)
        count += wait == 0.0
        clock.now += min(wait, end - clock.now)
    return count


def test_without_a_quota_nobody_waits() -> None:
    limiter, _ = pacer()
    assert [limiter.ask(1, 10**6, 2048) for _ in range(1000)] == [0.0] * 1000


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ({"requests_per_minute": 600.0}, 600),
        ({"tokens_per_minute": 30_000.0}, 300),
        ({"inputs_per_minute": 2_000.0}, 200),
        ({"requests_per_minute": 600.0, "tokens_per_minute": 30_000.0, "inputs_per_minute": 2_000.0}, 200),
    ],
)
def test_the_tightest_currency_sets_the_pace(quota: dict[str, float], expected: int) -> None:
    limiter, clock = pacer(**quota)
    assert granted(limiter, clock, 60) == pytest.approx(expected, rel=0.02)


def test_the_pace_is_even() -> None:
    limiter, clock = pacer(requests_per_minute=600)
    counts = [granted(limiter, clock, 1) for _ in range(20)]
    assert max(counts) <= 12
    assert min(counts) >= 9


def test_an_idle_time_is_not_made_up_for_in_a_burst() -> None:
    limiter, clock = pacer(requests_per_minute=600)
    clock.now += 3600
    assert granted(limiter, clock, 1) <= 16


def test_a_request_larger_than_a_second_of_quota_passes_and_is_paid_off() -> None:
    limiter, _ = pacer(tokens_per_minute=6_000)
    assert limiter.ask(1, 1_000, 1) == 0.0
    assert limiter.ask(1, 1, 1) == pytest.approx(10, abs=1)


def test_a_hint_holds_everyone_back_as_long_as_asked() -> None:
    limiter, clock = pacer(requests_per_minute=60_000)
    limiter.report(rejected=True, retry_after=20.0)
    assert limiter.ask(1, 1, 1) == pytest.approx(20)
    clock.now += 19
    assert limiter.ask(1, 1, 1) == pytest.approx(1)
    clock.now += 1
    assert limiter.ask(1, 1, 1) == 0.0


def test_a_shorter_hint_does_not_shorten_a_pause() -> None:
    limiter, _ = pacer()
    limiter.report(rejected=True, retry_after=20.0)
    limiter.report(rejected=True, retry_after=1.0)
    assert limiter.ask(1, 1, 1) == pytest.approx(20)


def test_requests_rejected_together_cut_once() -> None:
    limiter, clock = pacer(requests_per_minute=600)
    for _ in range(50):
        limiter.report(rejected=True, retry_after=None)
    once = limiter.share
    assert 0.5 < once < 1
    clock.now += 6
    limiter.report(rejected=True, retry_after=None)
    assert limiter.share < once


def test_the_pace_recovers_to_the_quota_and_not_beyond() -> None:
    limiter, clock = pacer(requests_per_minute=600)
    limiter.report(rejected=True, retry_after=None)
    low = granted(limiter, clock, 5)
    clock.now += 3600
    assert low < 48
    assert granted(limiter, clock, 60) == pytest.approx(600, rel=0.03)
    assert limiter.share == 1.0


def test_a_pause_is_no_recovery() -> None:
    limiter, clock = pacer(requests_per_minute=600)
    limiter.report(rejected=True, retry_after=100.0)
    share = limiter.share
    clock.now += 100
    limiter.ask(1, 1, 1)
    assert limiter.share == share


def test_answers_without_rejection_change_nothing() -> None:
    limiter, _ = pacer(requests_per_minute=600)
    limiter.report(rejected=False, retry_after=None)
    assert limiter.share == 1.0


def test_an_unknown_quota_is_learnt_from_the_first_rejection() -> None:
    limiter, clock = pacer()
    for _ in range(100):  # 1,000 tokens a second
        assert limiter.ask(1, 100, 1) == 0.0
        clock.now += 0.1
    limiter.report(rejected=True, retry_after=None)
    assert granted(limiter, clock, 10) == pytest.approx(87, abs=8)
    clock.now += 1000
    limiter.ask(1, 1, 1)
    assert limiter.share > 1.0, "and may turn out higher than what was measured"


def test_a_hidden_quota_of_half_is_found_and_used() -> None:
    """The provider allows half of what the recipe says; its bucket holds two seconds' worth."""
    limiter, clock = pacer(requests_per_minute=600)
    level, accepted, rejected = 10.0, 0, 0
    for _ in range(60_000):
        clock.now += 0.01
        level = min(10.0, level + 0.05)
        if limiter.ask(1, 100, 1) > 0.0:
            continue
        if level >= 1.0:
            level, accepted = level - 1.0, accepted + 1
            limiter.report(rejected=False, retry_after=None)
        else:
            rejected += 1
            limiter.report(rejected=True, retry_after=(1.0 - level) / 5.0)
    assert accepted >= 0.85 * 3000
    assert rejected <= 0.05 * (accepted + rejected)
