"""A tracker that fails, cannot be opened or hangs does not disturb training."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from mtd_ray.distill.numbers.trackers import InBackground, Tracker


class Failing:
    def __init__(self) -> None:
        self.asked: list[int] = []

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self.asked.append(step)
        if step == 4:
            raise ConnectionError("no route to host")

    def close(self) -> None:
        raise AssertionError("a dropped tracker is not asked again")


def test_a_tracker_that_fails_is_dropped_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing()
    tracker = InBackground("wandb", lambda: failing)
    for step in (2, 4, 6, 8):
        tracker.log({"loss/total": 1.0}, step)
    tracker.close()
    tracker.log({"loss/total": 1.0}, 10)
    assert failing.asked == [2, 4]
    (record,) = caplog.records
    assert "wandb failed and is dropped; training goes on" in record.getMessage()
    assert "no route to host" in record.getMessage()


def test_a_tracker_that_cannot_be_opened_is_dropped_too(caplog: pytest.LogCaptureFixture) -> None:
    def opened() -> Tracker:
        raise RuntimeError("not logged in")

    tracker = InBackground("wandb", opened)
    tracker.log({"loss/total": 1.0}, 2)
    tracker.close()
    assert ["not logged in" in record.getMessage() for record in caplog.records] == [True]


def test_a_tracker_that_hangs_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    answered = threading.Event()

    class Hanging(Failing):
        def log(self, scalars: Mapping[str, float], step: int) -> None:
            answered.wait()

        def close(self) -> None:
            pass

    tracker = InBackground("mlflow", Hanging, patience_s=0.01)
    tracker.log({"loss/total": 1.0}, 2)
    tracker.close()
    answered.set()
    assert "tracker mlflow has not taken the last numbers in 0.01 s" in caplog.records[0].getMessage()
