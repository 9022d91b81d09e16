"""What Prometheus is told of an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serve.engine.limits import Load

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TOKENS = (16, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072)
_INPUTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_OUTCOMES = {429: "rejected", 500: "failed", 503: "unavailable", 504: "deadline"}


class Metrics:
    """Counters and histograms of one engine.

    Attributes:
        registry: what ``/metrics`` shows.

    Args:
        load: what is under way, read whenever the metrics are.
    """

    def __init__(self, load: Callable[[], Load]) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter("embedding_requests", "Requests by outcome.", ["outcome"], registry=registry)
        self._request_s = Histogram(
            "embedding_request_seconds", "From a question to its answer.", buckets=_SECONDS, registry=registry
        )
        self._inputs = Counter("embedding_inputs", "Texts of answered requests.", ["model"], registry=registry)
        self._tokens = Counter("embedding_tokens", "Tokens of answered requests.", ["model"], registry=registry)
        self._wait_s = Histogram("embedding_queue_seconds", "How long a text waited.", buckets=_SECONDS, registry=registry)
        self._forward_s = Histogram("embedding_forward_seconds", "Forward passes.", buckets=_SECONDS, registry=registry)
        self._batch_tokens = Histogram("embedding_batch_tokens", "Tokens of a pass.", buckets=_TOKENS, registry=registry)
        self._batch_inputs = Histogram("embedding_batch_inputs", "Texts of a pass.", buckets=_INPUTS, registry=registry)
        self._batch_fill = Histogram(
            "embedding_batch_fill", "Tokens of a pass by its padded tokens.", buckets=_SHARES, registry=registry
        )
        self._poison = Counter("embedding_failed_inputs", "Texts that the model failed on.", registry=registry)
        self._dropped = Counter("embedding_dropped_inputs", "Texts not computed, as nobody waited any more.", registry=registry)
        self._hits = Counter("embedding_cache_hits", "Texts answered from the cache.", registry=registry)
        self._misses = Counter("embedding_cache_misses", "Texts not found in the cache.", registry=registry)
        gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("embedding_queued_tokens", "Tokens that wait for the model.", lambda: load().queued_tokens),
            ("embedding_running_tokens", "Tokens in the forward pass.", lambda: load().running_tokens),
            ("embedding_tokens_per_second", "Tokens that the model computes in a second.", lambda: load().tokens_per_s),
        )
        for name, text, read in gauges:
            Gauge(name, text, registry=registry).set_function(read)
        self._ok = self._requests.labels("ok")

    def answered(self, model: str, inputs: int, tokens: int, seconds: float) -> None:
        """A request was answered."""
        self._ok.inc()
        self._request_s.observe(seconds)
        self._inputs.labels(model).inc(inputs)
        self._tokens.labels(model).inc(tokens)

    def refused(self, status: int) -> None:
        """A request was answered with an error."""
        self._requests.labels(_OUTCOMES.get(status, "invalid")).inc()

    def gone(self) -> None:
        """A client did not wait for its answer."""
        self._requests.labels("gone").inc()

    def passed(self, lengths: Sequence[int], padded: int, waits_s: Sequence[float], seconds: float) -> None:
        """A forward pass over texts of these lengths is done.

        Args:
            padded: tokens that it took the time of.
            waits_s: how long each text had waited before.
        """
        tokens = sum(lengths)
        self._forward_s.observe(seconds)
        self._batch_tokens.observe(tokens)
        self._batch_inputs.observe(len(lengths))
        self._batch_fill.observe(tokens / max(padded, 1))
        for wait in waits_s:
            self._wait_s.observe(wait)

    def failed(self) -> None:
        """The model failed on one text."""
        self._poison.inc()

    def dropped(self, inputs: int) -> None:
        """Texts were not computed, as nobody waited for them any more."""
        if inputs:
            self._dropped.inc(inputs)

    def looked_up(self, hits: int, misses: int) -> None:
        """Texts were looked for in the cache."""
        self._hits.inc(hits)
        self._misses.inc(misses)
