from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from mtd_ray.teachers.base import NO_HINTS
from mtd_ray.teachers.hints import read_hints, seconds_of_go_duration, seconds_to_wait


@pytest.mark.parametrize(
    ("text", "seconds"), [("20ms", 0.02), ("1.5s", 1.5), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("0s", 0), ("250µs", 0.00025)]
)
def test_go_durations(text: str, seconds: float) -> None:
    assert seconds_of_go_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "soon", "1m30", "-3s", "1.5.2s"])
def test_what_is_no_go_duration(text: str) -> None:
    assert seconds_of_go_duration(text) is None


def test_milliseconds_win_over_whole_seconds() -> None:
    assert seconds_to_wait({"retry-after-ms": "1250", "retry-after": "2"}) == 1.25


def test_retry_after_as_seconds_and_as_date() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert seconds_to_wait({"retry-after": "7"}) == 7
    assert seconds_to_wait({"retry-after": "Fri, 02 Jan 2026 03:04:35 GMT"}, now) == 30
    assert seconds_to_wait({"retry-after": "Fri, 02 Jan 2026 03:00:00 GMT"}, now) == 0


def test_only_the_exhausted_currency_asks_to_wait() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "12",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1.5s",
    }
    assert seconds_to_wait(headers) == 1.5
    assert seconds_to_wait({"retry-after": "whenever"}) is None
    assert seconds_to_wait({}) is None


def test_the_reset_as_unix_seconds_counts_when_nothing_else_is_said() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    reset = str(int(now.timestamp()) + 12)
    assert seconds_to_wait({"x-ratelimit-reset": reset}, now) == 12
    assert seconds_to_wait({"x-ratelimit-reset": reset, "retry-after": "3"}, now) == 3


def test_everything_said_beside_an_answer_is_read() -> None:
    headers = {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-limit-tokens": "1000000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "20ms",
        "x-ratelimit-limit-inputs": "many",
    }
    hints = read_hints(headers, rejected=False)
    assert hints.retry_after == pytest.approx(0.02)
    assert hints.limits == {"requests": 10_000, "tokens": 1_000_000}
    assert hints.remaining == {"requests": 9_999, "tokens": 0}
    assert read_hints({}) == NO_HINTS


def test_a_reset_time_asks_to_wait_only_beside_a_rejection() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    headers = {"x-ratelimit-reset": str(now.timestamp() + 12)}
    assert read_hints(headers, now=now).retry_after == 12
    assert read_hints(headers, rejected=False, now=now).retry_after is None


@pytest.mark.parametrize(("text", "seconds"), [("1m30s", 90), ("20ms", 0.02), ("1767323105", 60)])
def test_retry_after_in_other_providers_words(text: str, seconds: float) -> None:
    assert seconds_to_wait({"retry-after": text}, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == pytest.approx(seconds)


@pytest.mark.parametrize("header", ["retry-after", "x-ratelimit-reset"])
def test_unix_milliseconds_are_understood(header: str) -> None:
    assert seconds_to_wait({header: "1767323105000"}, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == 60


HUGE = [
    "9" * 18,
    "9" * 400,
    "9" * 400 + "s",
    "1e400",
    "nan",
    "-1",
    "Fri, 99 Foo 99999 25:61:61 GMT",
    "Fri, 02 Jan 2026 03:04:05 +9999999",
    "\u0663",
    "",
]


@pytest.mark.parametrize("text", HUGE)
@pytest.mark.parametrize("header", ["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-reset-tokens"])
def test_no_header_can_raise_or_ask_for_ever(header: str, text: str) -> None:
    wait = read_hints({header: text, "x-ratelimit-remaining-tokens": "0"}).retry_after
    assert wait is None or math.isfinite(wait)


def test_a_good_answer_asks_for_a_minute_at_most() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "24h0m0s"}
    assert read_hints(headers, rejected=False).retry_after == 60
    assert read_hints(headers).retry_after == 86_400
