"""The quota shared by all workers on all nodes: the pacing policy in one Ray actor, and the limiter a worker holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import RayActorError

from mtd_ray.config import ApiTeacher, QuotaConfig, Teacher
from mtd_ray.harvest.pacing import Pacer
from mtd_ray.teachers import TeacherUnavailable

_LONGEST_NAP_S = 0.5
_ACTOR_PATIENCE_S = 120.0


class QuotaActor:
    """One account's :class:`Pacer`. Restarted by Ray when its node or process dies; the pace then starts from the quota again."""

    def __init__(self, quota: QuotaConfig) -> None:
        self._pacer = Pacer(quota, time.monotonic)

    def ask(self, requests: int, tokens: int, inputs: int) -> float:
        return self._pacer.ask(requests, tokens, inputs)

    def report(self, rejected: bool, retry_after: float | None) -> None:
        self._pacer.report(rejected=rejected, retry_after=retry_after)


_RemoteQuota: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3)(QuotaActor)


def account_of(teacher: ApiTeacher) -> tuple[str, ...]:
    """What a quota belongs to: teachers with the same value share one."""
    return (teacher.provider, teacher.base_url, teacher.api_key, teacher.model)


class SharedLimiter:
    """A worker's hold of the quota actor; see :class:`mtd_ray.teachers.Limiter`.

    Naps are short so that a pause, or its end, that another worker caused is noticed.

    Raises:
        TeacherUnavailable: the actor stays away; Ray restarts it when there is a node to run it.
    """

    def __init__(self, actor: Any, sleep: Callable[[float], None] = time.sleep) -> None:
        self._actor, self._sleep = actor, sleep

    @classmethod
    def start(cls, quota: QuotaConfig) -> SharedLimiter:
        """A limiter on an actor of its own, which lives as long as somebody holds this."""
        return cls(_RemoteQuota.remote(quota))

    def acquire(self, requests: int, tokens: int, inputs: int) -> None:
        while (wait := self._call("ask", requests, tokens, inputs)) > 0.0:
            self._sleep(min(wait, _LONGEST_NAP_S))

    def report(self, *, rejected: bool, retry_after: float | None) -> None:
        self._call("report", rejected, retry_after)

    def _call(self, method: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + _ACTOR_PATIENCE_S
        while True:
            try:
                return ray.get(getattr(self._actor, method).remote(*arguments))
            except RayActorError:
                if time.monotonic() > deadline:
                    raise TeacherUnavailable("the quota actor did not come back; check the cluster's nodes and run again") from None
                self._sleep(_LONGEST_NAP_S)


def start_limiters(teachers: Mapping[str, Teacher]) -> dict[str, SharedLimiter]:
    """One limiter per account, by the name of each API teacher: teachers of one account share its quota."""
    accounts: dict[tuple[str, ...], SharedLimiter] = {}
    limiters = {}
    for name, teacher in teachers.items():
        if isinstance(teacher, ApiTeacher):
            account = account_of(teacher)
            accounts[account] = accounts.get(account) or SharedLimiter.start(teacher.quota)
            limiters[name] = accounts[account]
    return limiters
