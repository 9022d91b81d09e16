"""Prometheus' view of a harvest."""

from __future__ import annotations

from typing import Any

import pytest

from mtd_ray.harvest import metrics
from mtd_ray.harvest.metrics import HarvestMetrics
from mtd_ray.harvest.worker import Receipt

Values = dict[tuple[str, str], float]


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> Values:
    """(metric, teacher) → its value, as Ray would export it."""
    found: Values = {}

    class Metric:
        def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
            assert description
            self._name, self._keys = name, tag_keys

        def _key(self, tags: dict[str, str]) -> tuple[str, str]:
            assert set(tags) == set(self._keys)
            return self._name, tags["teacher"]

        def inc(self, amount: float, tags: dict[str, str]) -> None:
            assert amount > 0, "Ray refuses to add nothing"
            found[self._key(tags)] = found.get(self._key(tags), 0) + amount

        def set(self, value: float, tags: dict[str, str]) -> None:
            found[self._key(tags)] = value

    replaced: Any = Metric
    monkeypatch.setattr(metrics, "Counter", replaced)
    monkeypatch.setattr(metrics, "Gauge", replaced)
    return found


def test_receipts_become_counters_by_teacher(values: Values) -> None:
    watched = HarvestMetrics("recipe", {"a": 100, "b": 10})
    assert values == {("mtd_harvest_pending_rows", "a"): 100, ("mtd_harvest_pending_rows", "b"): 10}
    for _ in range(2):
        watched.add("a", Receipt("committed", 20, 3, tokens=100, requests=4, rejected=1, usd=0.25), quota_share=0.9)
    watched.add("b", Receipt("present", 10))
    assert {name: value for (name, teacher), value in values.items() if teacher == "a"} == {
        "mtd_harvest_rows": 40,
        "mtd_harvest_failed_rows": 6,
        "mtd_harvest_tokens": 200,
        "mtd_harvest_requests": 8,
        "mtd_harvest_rejected_requests": 2,
        "mtd_harvest_usd": 0.5,
        "mtd_harvest_pending_rows": 60,
        "mtd_harvest_quota_share": 0.9,
    }
    assert values["mtd_harvest_pending_rows", "b"] == 0
    watched.close()
    assert values["mtd_harvest_quota_share", "a"] == 0
