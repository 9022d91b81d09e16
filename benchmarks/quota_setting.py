"""What the contenders of ``harvest_quota.py`` share: the hidden quota, the texts, and workers that start together."""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass
from typing import Any

import ray

from mtd_ray.sandbox.provider_quota import QuotaChange
from mtd_ray.sandbox.provider_server import ProviderServer

WORKERS = 4
TEXTS_PER_REQUEST = 4
TOKENS_PER_REQUEST = 100  # on average
MODEL = "hash-16"
# Other processes know its name and have its value in their environment.
KEY = {"QUOTA_BENCHMARK_KEY": f"sk-{secrets.token_hex(8)}"}


@dataclass(frozen=True)
class Setting:
    """One run's quota (requests of the average size per second), its phases in seconds, and the seconds that can be saved up."""

    per_second: float
    phase_s: float
    burst_s: float

    @property
    def tokens_per_minute(self) -> float:
        return self.per_second * TOKENS_PER_REQUEST * 60

    @property
    def end_s(self) -> float:
        return 3 * self.phase_s

    @property
    def paced_per_second(self) -> int:
        """Whole requests per second of each of the workers that keep to a fixed pace, which takes whole ones only."""
        return round(self.per_second / WORKERS)

    def within_reach(self, per_second: float) -> float:
        """The largest share of quota and savings that can be used at this pace; what is not used is saved, up to a limit."""
        steps = 1000
        step_s = self.phase_s / steps
        saved = given = self.per_second * self.burst_s
        used = 0.0
        for limit in (self.per_second, self.per_second / 2, self.per_second):
            for _ in range(steps):
                saved = min(saved, limit * self.burst_s) + limit * step_s
                taken = min(saved, per_second * step_s)
                saved, used, given = saved - taken, used + taken, given + limit * step_s
        return used / given

    def server(self) -> ProviderServer:
        full = self.tokens_per_minute
        changes = [
            QuotaChange(at_s=self.phase_s, tokens_per_minute=full / 2),
            QuotaChange(at_s=2 * self.phase_s, tokens_per_minute=full),
        ]
        return ProviderServer(
            env=KEY,
            requests_per_minute=1e6,
            tokens_per_minute=full,
            quota_schedule=changes,
            burst_s=self.burst_s,
            rate_headers=False,
        )


def texts(seed: int, count: int) -> list[str]:
    """Texts of 10 to 40 words, each of one token, and none like another."""
    chance = random.Random(seed)
    return [" ".join(f"{chance.randrange(36**4):x}"[:6] for _ in range(chance.randint(10, 40))) for _ in range(count)]


def placed(worker: type) -> Any:
    """Half of the workers on either node, which have four CPUs each."""
    return ray.remote(num_cpus=2, scheduling_strategy="SPREAD")(worker)


def work_together(workers: list[Any], setting: Setting) -> None:
    """Start all workers at the same time and wait for them."""
    nodes = ray.get([worker.node.remote() for worker in workers])
    print(f"  {len(nodes)} workers on {len(set(nodes))} nodes")
    ray.get([worker.work.remote(setting.end_s + 1.0) for worker in workers])
    for worker in workers:
        ray.kill(worker)


def texts_needed(setting: Setting) -> int:
    """Of one worker: more than the whole quota allows."""
    return int(TEXTS_PER_REQUEST * setting.per_second * (setting.end_s + setting.burst_s) * 1.2 / WORKERS)
