from __future__ import annotations

import io

from mtd_ray.harvest.progress import Progress
from mtd_ray.harvest.worker import Receipt


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def receipt(rows: int, *, failed: int = 0, requests: int = 1, rejected: int = 0) -> Receipt:
    return Receipt("committed", rows, failed, tokens=10, requests=requests, rejected=rejected)


def test_rate_rejections_and_time_left() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 1000, "b": 300}, stream=stream, clock=clock) as progress:
        clock.now = 10.0
        progress.add("a", receipt(200, failed=3, requests=8, rejected=2))
        progress.tick()
        line = stream.getvalue()
    assert "a 200/1,000 rows, 20 rows/s, 25.0 % rejected, 3 failed, ETA 0:40" in line
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


def test_a_terminal_line_is_rewritten_in_place() -> None:
    clock, stream = Clock(), Terminal()
    with Progress({"a": 100}, stream=stream, clock=clock) as progress:
        for tenth in range(10):
            clock.now = tenth / 2
            progress.add("a", receipt(10))
            progress.tick()
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.count("\r") == 10
    assert len({len(line) for line in text.rstrip("\n").split("\r")[1:]}) == 1, "each line covers the one before"


def test_a_finished_teacher_keeps_its_rate() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 100, "b": 100}, stream=stream, clock=clock) as progress:
        clock.now = 5.0
        progress.add("a", receipt(100))
        clock.now = 100.0
    assert "a 100/100 rows, 20 rows/s, 0.0 % rejected |" in stream.getvalue()


def test_the_time_left_follows_the_present_pace() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 10_000}, stream=stream, clock=clock) as progress:
        for _ in range(100):
            clock.now += 10.0
            progress.add("a", receipt(10))
        for _ in range(20):
            clock.now += 10.0
            progress.add("a", receipt(100))
    assert "a 3,000/10,000 rows, 10 rows/s, 0.0 % rejected, ETA 11:40" in stream.getvalue()


def test_a_long_harvest_writes_a_line_a_minute() -> None:
    clock, stream = Clock(), io.StringIO()
    with Progress({"a": 10**6}, stream=stream, clock=clock) as progress:
        for _ in range(3600 * 10):
            clock.now += 1.0
            progress.tick()
    assert 600 <= stream.getvalue().count("\n") <= 700
