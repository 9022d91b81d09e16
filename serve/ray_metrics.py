"""An engine's metrics in Ray's own: beside those of Serve, with its tags of replica, deployment and application.

The engine counts with ``prometheus_client``, which is what ``/metrics`` of one replica shows. Ray gathers what its metrics are told
in every process, so the values are carried over from time to time. Counters grow by what they grew. A histogram becomes counters
``NAME_bucket`` (with the label ``le``), ``NAME_sum`` and ``NAME_count``, which ``histogram_quantile`` reads as it reads any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

_TOTAL, _CREATED = "_total", "_created"


class RayCounter(Protocol):
    """Of ``ray.serve.metrics``."""

    def inc(self, value: float, tags: dict[str, str]) -> None: ...


class RayGauge(Protocol):
    """Of ``ray.serve.metrics``."""

    def set(self, value: float, tags: dict[str, str]) -> None: ...


class RayMetrics:
    """Carries a registry's values over.

    Args:
        registry: the engine's.
        counter, gauge: make one of ``ray.serve.metrics`` of a name, a description and the names of its tags.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        counter: Callable[[str, str, tuple[str, ...]], RayCounter],
        gauge: Callable[[str, str, tuple[str, ...]], RayGauge],
    ) -> None:
        self._registry = registry
        self._new_counter, self._new_gauge = counter, gauge
        self._counters: dict[str, RayCounter] = {}
        self._gauges: dict[str, RayGauge] = {}
        self._told: dict[tuple[str, tuple[Any, ...]], float] = {}

    def carry(self) -> None:
        """Tell Ray what has changed since the last call."""
        for family in self._registry.collect():
            for sample in family.samples:
                if family.type == "gauge":
                    self._set(sample, family.documentation)
                elif not sample.name.endswith(_CREATED):
                    self._increase(sample, family.documentation)

    def _set(self, sample: Sample, text: str) -> None:
        if sample.name not in self._gauges:
            self._gauges[sample.name] = self._new_gauge(sample.name, text, tuple(sample.labels))
        self._gauges[sample.name].set(sample.value, sample.labels)

    def _increase(self, sample: Sample, text: str) -> None:
        series = sample.name, tuple(sample.labels.items())
        grown = sample.value - self._told.get(series, 0.0)
        if grown <= 0:
            return
        if sample.name not in self._counters:
            name = sample.name.removesuffix(_TOTAL)  # Ray puts it behind every counter
            self._counters[sample.name] = self._new_counter(name, text, tuple(sample.labels))
        self._counters[sample.name].inc(grown, sample.labels)
        self._told[series] = sample.value
