from __future__ import annotations

import io

import pytest

from mtd_ray.config import QuotaConfig
from mtd_ray.harvest.progress import Progress
from mtd_ray.harvest.worker import Receipt


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def receipt(rows: int, *, failed: int = 0, tokens: int = 10, requests: int = 1, rejected: int = 0, usd: float = 0.0) -> Receipt:
    return Receipt("committed", rows, failed, tokens=tokens, requests=requests, rejected=rejected, usd=usd)


def test_rate_rejections_and_time_left() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 1000, "b": 300}, stream=stream, clock=clock) as progress:
        clock.now = 10.0
        progress.add("a", receipt(200, failed=3, requests=8, rejected=2))
        progress.tick()
        line = stream.getvalue()
    assert "a 200/1,000 rows, 20 rows/s, 1 tokens/s, 25.0% rejected, 3 failed, ETA 0:40" in line
    assert "b 0/300 rows, starting" in line


def test_plain_lines_come_every_few_seconds_and_at_the_end() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 100}, stream=stream, clock=clock) as progress:
        for second in range(12):
            clock.now = float(second)
            progress.add("a", receipt(5))
            progress.tick()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "60/100" in lines[-1]
    assert "\r" not in stream.getvalue()


def test_a_terminal_shows_a_table_that_is_rewritten_in_place() -> None:
    clock, stream = Clock(), Terminal()
    with Progress({"a": 100, "b": 10}, stream=stream, clock=clock) as progress:
        for tenth in range(10):
            clock.now = tenth / 2
            progress.add("a", receipt(10))
            progress.tick()
    first, *others = stream.getvalue().split("\x1b[3F")
    assert len(others) == 9, "every state goes over the one before"
    for state in (first, *others):
        header, a, b = state.splitlines()
        assert header.startswith("\x1b[2Kharvest")
        assert a.startswith("\x1b[2Ka")
        assert b.startswith("\x1b[2Kb")
        assert max(map(len, (header, a, b))) < 200
    assert "100" in a
    assert b.endswith("starting")


def test_a_finished_teacher_keeps_its_rate() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 100, "b": 100}, stream=stream, clock=clock) as progress:
        clock.now = 5.0
        progress.add("a", receipt(100))
        clock.now = 100.0
    assert "a 100/100 rows, 20 rows/s, 2 tokens/s, 0.0% rejected |" in stream.getvalue()


def test_the_time_left_follows_the_present_pace() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 10_000}, stream=stream, clock=clock) as progress:
        for _ in range(100):
            clock.now += 10.0
            progress.add("a", receipt(10))
        for _ in range(20):
            clock.now += 10.0
            progress.add("a", receipt(100))
    assert "a 3,000/10,000 rows, 10 rows/s, 1 tokens/s, 0.0% rejected, ETA 11:40" in stream.getvalue()


def test_a_long_harvest_writes_a_line_a_minute() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 10**6}, stream=stream, clock=clock) as progress:
        for _ in range(3600 * 10):
            clock.now += 1.0
            progress.tick()
    assert 600 <= stream.getvalue().count("\n") <= 700


def test_dollars_of_the_cap_include_what_was_spent_before() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 100, "b": 100}, cap_usd=50.0, spent_before_usd=10.0, stream=stream, clock=clock) as progress:
        clock.now = 1.0
        progress.add("a", receipt(10, usd=1.5))
        progress.add("b", receipt(10, usd=0.25))
    line = stream.getvalue()
    assert "$1.50" in line
    assert "$0.25" in line
    assert line.endswith("| budget $11.75 of $50.00\n")


def test_the_share_of_the_quota_is_that_of_the_currency_that_binds() -> None:
    clock, stream = Clock(), io.StringIO()
    quotas = {"a": QuotaConfig(requests_per_minute=600, tokens_per_minute=6_000), "b": QuotaConfig(inputs_per_minute=60)}
    with Progress({"a": 10_000, "b": 100, "c": 100}, quotas=quotas, stream=stream, clock=clock) as progress:
        clock.now = 10.0
        progress.add("a", receipt(100, tokens=900, requests=10))
        progress.add("b", receipt(5))
        progress.add("c", receipt(5))
        assert [progress.quota_share(name) for name in ("a", "b", "c")] == [pytest.approx(0.9), pytest.approx(0.5), None]
    assert "90 tokens/s, 90% of the quota" in stream.getvalue()


def test_the_share_of_the_quota_is_that_of_the_last_minute() -> None:
    clock = Clock()
    progress = Progress({"a": 10**6}, quotas={"a": QuotaConfig(tokens_per_minute=600)}, stream=io.StringIO(), clock=clock)
    for tokens in [100] * 60 + [50] * 70:
        clock.now += 10.0
        progress.add("a", receipt(1, tokens=tokens))
        progress.tick()
    assert progress.quota_share("a") == pytest.approx(0.5, abs=0.01)
