"""What an engine counts reaches Ray's metrics whole."""

from __future__ import annotations

from collections import defaultdict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serve.ray_metrics import RayMetrics

Told = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Recorder:
    """Stands for Ray: adds up what counters are told, keeps the last of gauges, refuses what Ray refuses."""

    def __init__(self, told: Told, name: str, tags: tuple[str, ...]) -> None:
        self._told, self._name, self._tags = told, name, tags

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        self._told[self._key(tags)] += value

    def set(self, value: float, tags: dict[str, str]) -> None:
        self._told[self._key(tags)] = value

    def _key(self, tags: dict[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
        assert tuple(tags) == self._tags
        return self._name, tuple(tags.items())


def carried(registry: CollectorRegistry) -> tuple[RayMetrics, Told]:
    told: Told = defaultdict(float)
    make = lambda name, text, tags: Recorder(told, name, tags)  # noqa: E731
    return RayMetrics(registry, counter=make, gauge=make), told


def test_counters_grow_by_what_they_grew_and_gauges_follow() -> None:
    registry = CollectorRegistry()
    requests = Counter("requests", "Requests.", ["outcome"], registry=registry)
    waiting = Gauge("waiting", "What waits.", registry=registry)
    metrics, told = carried(registry)
    for step in (3, 4):
        requests.labels("ok").inc(step)
        waiting.set(step)
        metrics.carry()
    assert told == {("requests", (("outcome", "ok"),)): 7.0, ("waiting", ()): 4.0}
    metrics.carry()
    assert told[("requests", (("outcome", "ok"),))] == 7.0


def test_a_histogram_keeps_its_buckets() -> None:
    registry = CollectorRegistry()
    seconds = Histogram("seconds", "How long.", buckets=(1.0, 2.0), registry=registry)
    metrics, told = carried(registry)
    for value in (0.5, 1.5, 9.0):
        seconds.observe(value)
        metrics.carry()
    assert told == {
        ("seconds_bucket", (("le", "1.0"),)): 1.0,
        ("seconds_bucket", (("le", "2.0"),)): 2.0,
        ("seconds_bucket", (("le", "+Inf"),)): 3.0,
        ("seconds_count", ()): 3.0,
        ("seconds_sum", ()): 11.0,
    }
