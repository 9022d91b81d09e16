from __future__ import annotations

import pytest

from mtd_ray.sandbox.provider_quota import QuotaStep
from mtd_ray.sandbox.provider_timeline import Timeline, allowed, quota_use

STEPS = [
    QuotaStep(0.0, {"requests": 60.0, "tokens": 6_000.0, "inputs": None}),
    QuotaStep(1.5, {"requests": 60.0, "tokens": 3_000.0, "inputs": None}),
]


def test_each_second_tells_what_was_used_and_what_could_have_been() -> None:
    timeline = Timeline()
    timeline.accept(0.2, 60, 3)
    timeline.accept(0.9, 40, 2)
    timeline.reject(2.5)
    rows = timeline.to_json(STEPS)["timeline"]
    assert [row["second"] for row in rows] == [0, 1, 2]
    assert [row["tokens"] for row in rows] == [100, 0, 0]
    assert [row["tokens_allowed"] for row in rows] == pytest.approx([100, 75, 50])
    assert [row["requests"] for row in rows] == [2, 0, 0]
    assert [row["inputs"] for row in rows] == [5, 0, 0]
    assert [row["rejected"] for row in rows] == [0, 0, 1]
    assert rows[0]["inputs_allowed"] is None


def test_the_share_of_the_quota_is_its_integral_over_the_run() -> None:
    timeline = Timeline()
    for at_s in (0.1, 1.1, 2.1):
        timeline.accept(at_s, 50, 1)
    timeline.reject(3.5)
    figures = timeline.to_json(STEPS)
    assert allowed(figures["quota"], "tokens", 0, 3.5) == pytest.approx(150 + 100)
    whole, first = quota_use(figures), quota_use(figures, 0, 1)
    assert whole.tokens == pytest.approx(150 / 250)
    assert whole.rejected == pytest.approx(1 / 4)
    assert whole.inputs is None
    assert first.tokens == pytest.approx(0.5)
    assert first.rejected == 0


def test_a_quiet_account_has_no_timeline() -> None:
    figures = Timeline().to_json(STEPS)
    assert figures["timeline"] == []
    assert quota_use(figures).tokens is None


def test_memory_is_bounded() -> None:
    timeline = Timeline()
    for second in range(30_000):
        timeline.accept(second, 1, 1)
    rows = timeline.to_json(STEPS)["timeline"]
    assert (len(rows), rows[-1]["second"]) == (21_600, 29_999)
