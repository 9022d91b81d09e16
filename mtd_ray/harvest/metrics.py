"""The numbers of a harvest for Prometheus, through Ray's metrics: the driver emits them as receipts arrive.

Ray exports them on every node's metrics port with ``ray_`` in front and, for counters, ``_total`` behind.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

from mtd_ray.harvest.worker import Receipt

_TAGS = ("recipe", "teacher")


class HarvestMetrics:
    """Counters and gauges by recipe and teacher. Ray must be connected.

    Args:
        recipe: name of the recipe.
        pending: teacher → rows to do.
    """

    def __init__(self, recipe: str, pending: Mapping[str, int]) -> None:
        self._tags = {name: {"recipe": recipe, "teacher": name} for name in pending}
        self._left = dict(pending)
        self._counters = {
            field: Counter(f"mtd_harvest_{name}", description=what, tag_keys=_TAGS)
            for field, name, what in (
                ("rows", "rows", "Rows that this harvest found or made committed."),
                ("failed_rows", "failed_rows", "Rows stored without a vector."),
                ("tokens", "tokens", "Tokens the teacher counted."),
                ("requests", "requests", "Requests sent to the provider."),
                ("rejected", "rejected_requests", "Requests the provider turned away for going over the rate limit."),
                ("usd", "usd", "US dollars spent."),
            )
        }
        self._pending = Gauge("mtd_harvest_pending_rows", description="Rows left to do.", tag_keys=_TAGS)
        self._share = Gauge(
            "mtd_harvest_quota_share", description="Pace of the last minute as a share of the quota.", tag_keys=_TAGS
        )
        for name, rows in pending.items():
            self._pending.set(rows, tags=self._tags[name])

    def add(self, name: str, receipt: Receipt, quota_share: float | None = None) -> None:
        """Count a part of a teacher, and say at what share of its quota the teacher is asked now."""
        tags = self._tags[name]
        for field, counter in self._counters.items():
            if (amount := getattr(receipt, field)) > 0:
                counter.inc(amount, tags=tags)
        self._left[name] -= receipt.rows
        self._pending.set(max(0, self._left[name]), tags=tags)
        if quota_share is not None:
            self._share.set(quota_share, tags=tags)

    def close(self) -> None:
        """Nobody is asked any more: no share of a quota is used."""
        for tags in self._tags.values():
            self._share.set(0.0, tags=tags)
