from __future__ import annotations

from typing import Any

import pytest

from mtd_ray.config import QuotaConfig
from mtd_ray.harvest.pacing import Amounts, Learnt, Pacer, Ticket
from mtd_ray.teachers.base import RateHints
from tests.simulated_provider import Simulation

NOTHING_KNOWN = QuotaConfig()
HALVES_AND_RECOVERS = (50.0, 25.0, 50.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pacer(**quota: float) -> tuple[Pacer, Clock]:
    clock = Clock()
    return Pacer(QuotaConfig(**quota), clock), clock


def granted(pacer: Pacer, clock: Clock, seconds: float, *, tokens: float = 100, inputs: float = 10) -> list[Ticket]:
    """Requests granted to callers that ask again when they are told to, over a stretch of time."""
    end, tickets = clock.now + seconds, []
    while clock.now < end:
        wait = pacer.wait(Amounts(1, tokens, inputs))
        if wait == 0.0:
            tickets.append(pacer.grant(Amounts(1, tokens, inputs)))
        clock.now += min(wait + 1e-9, end - clock.now)
    return tickets


@pytest.mark.parametrize("burst_s", [1.0, 6.0, 60.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_hidden_quota_that_halves_and_recovers_is_used_to_the_edge(burst_s: float, seed: int) -> None:
    outcome = Simulation(NOTHING_KNOWN, per_second=HALVES_AND_RECOVERS, phase_s=150, burst_s=burst_s, seed=seed).run()
    assert outcome.used >= 0.98
    assert outcome.rejected <= 0.01


@pytest.mark.parametrize("changes", [{"currency": "inputs"}, {"currency": "requests", "spread": 0.0}, {"hints": True}])
def test_whatever_the_quota_counts_and_whether_or_not_the_provider_says_when_to_come_back(changes: dict[str, Any]) -> None:
    outcome = Simulation(NOTHING_KNOWN, per_second=HALVES_AND_RECOVERS, phase_s=150, burst_s=6, **changes).run()
    assert outcome.used >= 0.98
    assert outcome.rejected <= 0.01


def test_slow_answers_are_no_reason_for_rejections() -> None:
    outcome = Simulation(NOTHING_KNOWN, per_second=[30], phase_s=600, burst_s=6, answer_s=0.5).run()
    assert outcome.used >= 0.98
    assert outcome.rejected <= 0.015


def test_a_quota_lower_than_the_recipe_says_is_found() -> None:
    quota = QuotaConfig(tokens_per_minute=50 * 100 * 60)
    outcome = Simulation(quota, per_second=[25], phase_s=150, burst_s=6).run()
    assert outcome.used >= 0.98
    assert outcome.rejected <= 0.01


def test_a_quota_that_is_as_the_recipe_says_is_used_without_a_rejection() -> None:
    quota = QuotaConfig(tokens_per_minute=50 * 100 * 60)
    outcome = Simulation(quota, per_second=[50], phase_s=300, burst_s=6).run()
    assert outcome.used >= 0.975, "six seconds of 306 are the burst, which the recipe's quota does not reach for"
    assert outcome.rejected == 0


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
    assert len(granted(limiter, clock, 60)) == pytest.approx(expected, rel=0.02)


def test_the_pace_is_even() -> None:
    limiter, clock = pacer(requests_per_minute=600)
    counts = [len(granted(limiter, clock, 1)) for _ in range(20)]
    assert max(counts) <= 12
    assert min(counts) >= 9


def test_an_idle_time_is_not_made_up_for_in_a_burst() -> None:
    limiter, clock = pacer(requests_per_minute=600)
    clock.now += 3600
    assert len(granted(limiter, clock, 1)) <= 16


def test_a_request_larger_than_a_second_of_quota_passes_and_is_paid_off() -> None:
    limiter, _ = pacer(tokens_per_minute=6_000)
    assert limiter.wait(Amounts(1, 1_000, 1)) == 0.0
    limiter.grant(Amounts(1, 1_000, 1))
    assert limiter.wait(Amounts(1, 1, 1)) == pytest.approx(10, abs=1)


def test_a_new_account_is_asked_modestly_and_soon_quickly() -> None:
    limiter, clock = pacer()
    assert len(granted(limiter, clock, 1)) <= 20
    assert len(granted(limiter, clock, 9)) >= 1_000


def test_a_hint_holds_everyone_back_as_long_as_the_longest_asks() -> None:
    limiter, clock = pacer(requests_per_minute=60_000)
    limiter.heed(RateHints(retry_after=20.0))
    limiter.heed(RateHints(retry_after=1.0))
    assert limiter.wait(Amounts(1, 1, 1)) == pytest.approx(20)
    clock.now += 20
    assert limiter.wait(Amounts(1, 1, 1)) == 0.0


def test_a_quota_told_by_the_provider_needs_no_search() -> None:
    limiter, clock = pacer()
    limiter.heed(RateHints(limits={"tokens": 60_000, "requests": 10_000}))
    assert len(granted(limiter, clock, 60)) == pytest.approx(600, rel=0.02)
    limiter.heed(RateHints(limits={"tokens": 30_000}))
    assert len(granted(limiter, clock, 60)) == pytest.approx(300, rel=0.02)


def test_the_recipes_quota_stays_a_cap_when_the_provider_allows_more() -> None:
    limiter, clock = pacer(tokens_per_minute=30_000)
    limiter.heed(RateHints(limits={"tokens": 60_000}))
    assert len(granted(limiter, clock, 60)) == pytest.approx(300, rel=0.02)


def test_when_nearly_nothing_remains_there_is_a_short_pause_before_anything_is_rejected() -> None:
    limiter, _ = pacer()
    limiter.heed(RateHints(limits={"tokens": 60_000}, remaining={"tokens": 50_000}))
    assert limiter.wait(Amounts(1, 100, 1)) == 0.0
    limiter.heed(RateHints(limits={"tokens": 60_000}, remaining={"tokens": 10}))
    assert limiter.wait(Amounts(1, 100, 1)) == pytest.approx(0.49)


def test_requests_rejected_together_hold_the_pace_down_for_a_short_time_only() -> None:
    limiter, clock = pacer(tokens_per_minute=60_000)
    granted(limiter, clock, 60)
    for ticket in granted(limiter, clock, 1):
        limiter.turned_away(ticket)
    granted(limiter, clock, 120)
    assert len(granted(limiter, clock, 60)) == pytest.approx(600, rel=0.02)


def test_a_provider_that_rejects_everything_for_a_while_is_back_at_full_pace_within_minutes() -> None:
    limiter, clock = pacer(tokens_per_minute=60_000)
    granted(limiter, clock, 60)
    for _ in range(30):
        for ticket in granted(limiter, clock, 1):
            limiter.turned_away(ticket)
    assert len(granted(limiter, clock, 30)) < 100
    granted(limiter, clock, 120)
    assert len(granted(limiter, clock, 60)) == pytest.approx(600, rel=0.02)


def test_a_restarted_limiter_goes_on_at_the_pace_that_was_learnt() -> None:
    limiter, clock = pacer()
    limiter.adopt(Learnt("tokens", 1_000.0))
    assert len(granted(limiter, clock, 1)) == pytest.approx(10, abs=2)
    assert limiter.learnt == Learnt("tokens", 1_000.0)
    limiter.adopt(Learnt("tokens", 5.0))
    assert limiter.learnt == Learnt("tokens", 1_000.0), "what is known is not replaced"


def test_a_restarted_limiter_still_keeps_to_the_recipes_quota() -> None:
    limiter, clock = pacer(tokens_per_minute=30_000)
    limiter.adopt(Learnt("tokens", 1_000_000.0))
    assert len(granted(limiter, clock, 60)) == pytest.approx(300, rel=0.02)
