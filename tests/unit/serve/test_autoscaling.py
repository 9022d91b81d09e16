"""How many replicas a load needs, and that Ray's controller can call what says so."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from serve.autoscaling import BUSY, QUEUED_S, QueuedWork, WorkReport, replicas_needed

PROJECT = Path(__file__).resolve().parents[3]


@dataclass
class Context:
    aggregated_metrics: dict[str, dict[str, float]] | None
    target_num_replicas: int = 3


def needed(busy: list[float], queued_s: list[float]) -> int:
    return replicas_needed(dict(enumerate(busy)), dict(enumerate(queued_s)), target_busy=0.75, target_queued_s=1.0)


@pytest.mark.parametrize(
    ("busy", "queued_s", "replicas"),
    [
        ([0.0], [0.0], 0),  # Serve keeps min_replicas
        ([0.75], [0.0], 1),
        ([0.8], [0.0], 2),
        ([0.5] * 4, [0.02] * 4, 3),  # idle ones end, but the load still fits
        ([1.0, 1.0], [0.1, 0.1], 3),
        ([1.0, 1.0], [4.0, 2.5], 7),
        ([1.0, 0.0], [6.0, 0.0], 6),
    ],
)
def test_replicas_follow_work(busy: list[float], queued_s: list[float], replicas: int) -> None:
    assert needed(busy, queued_s) == replicas


def test_a_settled_load_keeps_its_replicas() -> None:
    """What the policy asks for is where it stays: the same work on that many replicas asks for the same number."""
    for work in (0.3, 1.7, 5.2, 11.0):
        replicas = needed([work], [0.0])
        assert needed([work / replicas] * replicas, [0.0] * replicas) == replicas


def test_the_policy_reads_what_replicas_report() -> None:
    policy = QueuedWork(target_busy=0.5, target_queued_s=2.0)
    assert policy(Context({BUSY: {"a": 1.0, "b": 0.4}, QUEUED_S: {"a": 9.0, "b": 0.0}})) == (5, {})


@pytest.mark.parametrize("silent", [None, {}, {BUSY: {}}])
def test_nothing_changes_before_replicas_report(silent: dict[str, dict[str, float]] | None) -> None:
    assert QueuedWork()(Context(silent, target_num_replicas=3)) == (3, {})


def test_targets_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ValueError, match="target_busy"):
        QueuedWork(target_busy=0)
    with pytest.raises(ValueError, match="target_queued_s"):
        QueuedWork(target_queued_s=0)


def test_a_replica_reports_its_work_since_it_was_last_asked() -> None:
    times = iter([100.0, 104.0, 106.0])
    report = WorkReport(clock=lambda: next(times))
    assert report.since_last(computed_s=3.0, queued_tokens=500, tokens_per_s=1_000.0) == {BUSY: 0.75, QUEUED_S: 0.5}
    assert report.since_last(computed_s=3.0, queued_tokens=9, tokens_per_s=0.0) == {BUSY: 0.0, QUEUED_S: 0.0}


def test_a_pass_longer_than_the_time_between_two_questions_is_told_whole() -> None:
    times = iter([0.0, 10.0, 20.0, 30.0])
    report = WorkReport(clock=lambda: next(times))
    told = [report.since_last(computed_s=computed_s, queued_tokens=0, tokens_per_s=1.0)[BUSY] for computed_s in (0.0, 16.0, 16.0)]
    assert told == [0.0, 1.0, 0.6]


def test_the_module_needs_nothing_of_the_project_or_of_ray() -> None:
    script = (
        "import sys, serve.autoscaling; sys.exit(any(name.split('.')[0] in ('ray', 'mtd_ray', 'torch') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True, timeout=60)
