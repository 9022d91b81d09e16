from __future__ import annotations

import pytest

from mtd_ray.sandbox.provider_quota import Quota, go_duration
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
    clock.now += wait
    assert quota.take(1).allowed
    assert not quota.take(1).allowed


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
