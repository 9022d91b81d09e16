from __future__ import annotations

import pytest

from mtd_ray.sandbox.provider_quota import Quota, QuotaChange, go_duration
from mtd_ray.teachers.hints import seconds_of_go_duration, seconds_to_wait


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_requests_beyond_the_minute_are_turned_away_and_the_hint_is_exact() -> None:
    clock = Clock()
    quota = Quota(60, 1_000_000, clock)
    assert [quota.take(1).allowed for _ in range(61)] == [True] * 60 + [False]
    wait = seconds_to_wait(quota.take(1).headers)
    assert wait == pytest.approx(1.0)
    clock.now += wait or 0
    assert quota.take(1).allowed
    assert not quota.take(1).allowed


def test_refused_requests_are_charged_where_the_account_says_so() -> None:
    clock = Clock()
    quota = Quota(60, 600, clock, charge_refused=True)
    assert quota.take(600).allowed
    for _ in range(3):
        clock.now += 5  # 50 tokens come back, and the request for 100 takes them along
        refused = quota.take(100)
        assert not refused.allowed
        assert seconds_to_wait(refused.headers) == refused.wait_s == pytest.approx(10.0)
    clock.now += refused.wait_s
    assert quota.take(100).allowed


def test_tokens_are_a_quota_of_their_own() -> None:
    clock = Clock()
    quota = Quota(1_000, 600, clock)
    first = quota.take(500)
    assert first.allowed
    assert first.headers["x-ratelimit-remaining-tokens"] == "100"
    assert first.headers["x-ratelimit-reset-tokens"] == "50s"
    second = quota.take(200)
    assert not second.allowed
    assert second.headers["retry-after"] == "10"
    clock.now += 10
    assert quota.take(200).allowed


def test_the_quota_can_change_and_savings_beyond_it_are_lost() -> None:
    clock = Clock()
    quota = Quota(100, 10_000, clock)
    quota.change(2, 10_000)
    assert [quota.take(1).allowed for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0ms"), (0.02, "20ms"), (1.5, "1.5s"), (59.9996, "1m0s"), (360, "6m0s")])
def test_go_durations_are_what_clients_read(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
    assert seconds_of_go_duration(text) == pytest.approx(seconds, abs=1e-3)


def test_inputs_are_a_quota_only_when_set() -> None:
    clock = Clock()
    quota = Quota(1_000, 1_000_000, clock, inputs_per_minute=100)
    assert quota.take(1, 96).allowed
    turned_away = quota.take(1, 96)
    assert not turned_away.allowed
    assert turned_away.wait_s == pytest.approx(55.2)
    clock.now += turned_away.wait_s
    assert quota.take(1, 96).allowed
    quota.change(1_000, 1_000_000)
    assert quota.take(1, 5_000).allowed


def test_a_schedule_counts_from_the_first_request() -> None:
    clock = Clock()
    clock.now = 50
    changes = [QuotaChange(at_s=20, tokens_per_minute=6_000), QuotaChange(at_s=10, tokens_per_minute=600)]
    quota = Quota(1_000, 6_000, clock, burst_s=1, schedule=changes)
    clock.now = 100
    assert quota.take(100).allowed
    clock.now += 11  # the last second at 10 tokens/s
    assert quota.take(10).allowed
    assert quota.take(10).wait_s == pytest.approx(1)
    clock.now += 10
    assert quota.take(100).allowed
    assert [(step.at_s, step.per_minute["tokens"]) for step in quota.steps()] == [(0, 6_000), (10, 600), (20, 6_000)]
    assert quota.steps()[-1].per_minute["requests"] == 1_000


def test_a_change_by_hand_ends_the_schedule() -> None:
    clock = Clock()
    quota = Quota(60, 1_000, clock, schedule=[QuotaChange(at_s=5, requests_per_minute=1)])
    quota.take(1)
    quota.change(120, 1_000)
    clock.now += 10
    assert [step.per_minute["requests"] for step in quota.steps()] == [60, 120]


def test_little_can_be_saved_up_with_a_short_burst() -> None:
    clock = Clock()
    quota = Quota(6_000, 600_000, clock, burst_s=0.5)
    clock.now += 600
    assert [quota.take(1).allowed for _ in range(51)] == [True] * 50 + [False]


def test_a_request_larger_than_the_bucket_is_paid_off_before_the_next() -> None:
    clock = Clock()
    quota = Quota(6_000, 600, clock, burst_s=1)
    assert quota.take(100).allowed
    refused = quota.take(100)
    assert refused.wait_s == pytest.approx(10)
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
    clock.now += refused.wait_s
    assert quota.take(100).allowed
    assert not any(quota.take(601).allowed for clock.now in range(0, 600, 60))
