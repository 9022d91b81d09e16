"""How many replicas a load needs. Ray Serve's controller calls :class:`QueuedWork` with what each replica reports of itself.

A count of requests says little here: one request may hold a word or 2,048 pages. So replicas report their work, in seconds of
computing: what waits, and how much of the time they compute at all. The controller gets this module by value: it imports nothing of
the project.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

BUSY, QUEUED_S = "busy", "queued_s"  # what a replica reports, averaged over look_back_period_s


class WorkReport:
    """What one replica tells of its work each time it is asked.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked, self._told_s = clock(), 0.0

    def since_last(self, *, computed_s: float, queued_tokens: int, tokens_per_s: float) -> dict[str, float]:
        """The share of the time since the last call that was computed, and how long what waits would take.

        A pass counts when it has ended: what of it is more than the time since the last call is told the next time.

        Args:
            computed_s: seconds of forward passes since the replica started.
            queued_tokens: tokens that wait now.
            tokens_per_s: how fast they are computed; 0 when that is not known yet.
        """
        now = self._clock()
        passed_s = now - self._asked
        told_s = min(computed_s - self._told_s, passed_s)
        self._asked, self._told_s = now, self._told_s + told_s
        return {
            BUSY: told_s / passed_s if passed_s > 0 else 0.0,
            QUEUED_S: queued_tokens / tokens_per_s if tokens_per_s > 0 else 0.0,
        }


class Context(Protocol):
    """What is read of Ray's ``AutoscalingContext``."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None: ...

    @property
    def target_num_replicas(self) -> int: ...


def replicas_needed(busy: Mapping[Any, float], queued_s: Mapping[Any, float], *, target_busy: float, target_queued_s: float) -> int:
    """As many as carry the load and leave no more waiting than is meant to wait.

    What waits tells how much too few there are; it says nothing of how much too many, as it is next to nothing below full load. The
    share of the time that is computed does.

    Args:
        busy: share of the time that each replica computes, 0 to 1.
        queued_s: seconds of work that wait at each replica.
        target_busy: share of the time that a replica should compute.
        target_queued_s: seconds of work that may wait at each replica.
    """
    wanted = max(sum(busy.values()) / target_busy, sum(queued_s.values()) / target_queued_s)
    return math.ceil(round(wanted, 6))


class QueuedWork:
    """A policy for ``autoscaling_config``; Serve adds the delays and the bounds that stand there.

    Args:
        target_busy: share of the time that a replica should compute; the rest is room for a burst while new replicas load.
        target_queued_s: seconds of work that may wait at each replica before more are started.
    """

    def __init__(self, target_busy: float = 0.75, target_queued_s: float = 1.0) -> None:
        if not 0 < target_busy <= 1 or target_queued_s <= 0:
            raise ValueError("target_busy is more than 0 and at most 1, target_queued_s more than 0")
        self._target_busy, self._target_queued_s = target_busy, target_queued_s

    def __call__(self, context: Context) -> tuple[int, dict[str, Any]]:
        """Replicas wanted, and nothing to remember. Before any replica has reported: as many as were wanted before."""
        reported = context.aggregated_metrics or {}
        if not reported.get(BUSY):
            return context.target_num_replicas, {}
        queued_s = reported.get(QUEUED_S, {})
        wanted = replicas_needed(reported[BUSY], queued_s, target_busy=self._target_busy, target_queued_s=self._target_queued_s)
        return wanted, {}
