"""A hidden quota that halves in mid-run and recovers: how much of it three ways of asking use, and how much is turned away.

Four workers on two local Ray nodes ask the sandbox provider, which tells nothing about its quota: no headers, no `retry-after`.
Every contender gets a fresh provider with the same schedule: a phase at the full quota, one at half, one at full again.

- `mtd-ray`: the teacher client and the shared limiter, with no quota configured.
- `fixed_bucket`: in the manner of a well-known cookbook's parallel request processor: each worker fills a bucket with its quarter
  of the quota as it was agreed at the start, pauses for 15 s after a rejection, and tries a request five times. It knows the quota
  and the exact number of tokens.
- `ray_http_stage`: Ray Data's own HTTP stage (ray.data.llm), four workers, each with a quarter of the quota as its `qps`, and
  enough retries that it does not give up.

`quota_used` = tokens the provider accepted / (what its quota gave from the first request to the end of the schedule + what the
account had saved up at the start). `rejected` = requests answered with 429 / all requests. `quota_within_reach`: who keeps to a
fixed pace cannot use all of that; this is the most that the pace allows (left out where it allows everything).

`python benchmarks/harvest_quota.py`; `--burst 2` for an account that can save up next to nothing. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import ray

from mtd_ray.config import OpenAITeacher
from mtd_ray.harvest.quota import SharedLimiter, start_limiters
from mtd_ray.sandbox.provider_models import count_tokens
from mtd_ray.sandbox.provider_quota import QuotaChange
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.sandbox.provider_timeline import allowed
from mtd_ray.sandbox.ray_cluster import RayCluster, connected
from mtd_ray.sandbox.ray_node import RayNode
from mtd_ray.teachers import open_teacher

WORKERS = 4
TEXTS_PER_REQUEST = 4
TOKENS_PER_REQUEST = 100  # on average
MODEL = "hash-16"
KEY = {"QUOTA_BENCHMARK_KEY": f"sk-{secrets.token_hex(8)}"}
COOL_DOWN_S, ATTEMPTS = 15.0, 5


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


class Ours:
    """A worker with the real client."""

    def __init__(self, config: OpenAITeacher, limiter: SharedLimiter, seed: int, count: int) -> None:
        self._client = open_teacher("hidden", config, limiter=limiter)
        self._texts = texts(seed, count)

    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

    def work(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        answers: Any = self._client.answers(self._texts, ["passage"] * len(self._texts), tick_s=0.2)
        while time.monotonic() < end:
            next(answers)
        answers.close()


class FixedBucket:
    """A worker with a bucket of its own."""

    def __init__(self, url: str, tokens_per_minute: float, seed: int, count: int) -> None:
        self._url, self._per_second = f"{url}/embeddings", tokens_per_minute / 60
        everything = texts(seed, count)
        self._queue = deque(
            (everything[at : at + TEXTS_PER_REQUEST], ATTEMPTS) for at in range(0, len(everything), TEXTS_PER_REQUEST)
        )
        self._capacity = self._most = tokens_per_minute
        self._rejected_at = float("-inf")

    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

    async def work(self, seconds: float) -> None:
        end = refilled = time.monotonic()
        end += seconds
        (key_name,) = KEY
        headers = {"authorization": f"Bearer {os.environ[key_name]}"}
        calls: set[asyncio.Task[None]] = set()
        async with httpx.AsyncClient(headers=headers, timeout=60) as http:
            while (now := time.monotonic()) < end:
                self._capacity = min(self._most, self._capacity + self._per_second * (now - refilled))
                refilled = now
                batch, attempts = self._queue[0]
                if self._capacity >= (tokens := sum(map(count_tokens, batch))):
                    self._capacity -= tokens
                    self._queue.popleft()
                    call = asyncio.create_task(self._call(http, batch, attempts - 1))
                    calls.add(call)
                    call.add_done_callback(calls.discard)
                pause = self._rejected_at + COOL_DOWN_S - time.monotonic()
                await asyncio.sleep(min(pause, max(0.0, end - time.monotonic())) if pause > 0 else 0.001)
            for call in calls:
                call.cancel()

    async def _call(self, http: httpx.AsyncClient, batch: list[str], attempts_left: int) -> None:
        answer = await http.post(self._url, json={"model": MODEL, "input": batch, "encoding_format": "base64"})
        if answer.status_code == 429:
            self._rejected_at = time.monotonic()
            if attempts_left:
                self._queue.appendleft((batch, attempts_left))


def run_ours(server: ProviderServer, setting: Setting) -> None:
    (key_name,) = KEY
    config = OpenAITeacher.model_validate(
        {
            "provider": "openai",
            "model": MODEL,
            "base_url": server.base_url,
            "api_key": f"env:{key_name}",
            "dimensions": 16,
            "send_dimensions": False,
            "max_inputs": TEXTS_PER_REQUEST,
        }
    )
    limiter = start_limiters({"hidden": config})["hidden"]
    work_together([placed(Ours).remote(config, limiter, seed, texts_needed(setting)) for seed in range(WORKERS)], setting)


def run_fixed_bucket(server: ProviderServer, setting: Setting) -> None:
    share = setting.tokens_per_minute / WORKERS
    workers = [placed(FixedBucket).remote(server.base_url, share, seed, texts_needed(setting)) for seed in range(WORKERS)]
    work_together(workers, setting)


def run_ray_http_stage(server: ProviderServer, setting: Setting) -> None:
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    config = HttpRequestProcessorConfig(
        url=f"{server.base_url}/embeddings",
        headers={"Authorization": f"Bearer {next(iter(KEY.values()))}"},
        qps=setting.paced_per_second,
        max_retries=10,
        concurrency=(WORKERS, WORKERS),  # a plain number would be an upper bound
        batch_size=64,
    )
    processor = build_processor(
        config,
        preprocess=lambda row: {"payload": {"model": MODEL, "input": json.loads(row["texts"]), "encoding_format": "base64"}},
        postprocess=lambda row: {"answered": 1},
    )
    everything = texts(0, WORKERS * texts_needed(setting))
    rows = [{"texts": json.dumps(everything[at : at + TEXTS_PER_REQUEST])} for at in range(0, len(everything), TEXTS_PER_REQUEST)]
    answers = processor(ray.data.from_items(rows, override_num_blocks=len(rows) // 64)).iter_batches(batch_size=None)
    deadline = None
    for _ in answers:  # the first block starts the count, late by the time it takes: in favour of this contender
        deadline = deadline or time.monotonic() + setting.end_s
        if time.monotonic() > deadline:
            return


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


def measure(
    name: str, contender: Callable[[ProviderServer, Setting], None], setting: Setting, pace: float | None
) -> dict[str, float]:
    """Let a contender ask a fresh provider, and read the provider's ledger. ``pace``: requests per second that it never passes."""
    print(name, flush=True)
    with setting.server() as server:
        contender(server, setting)
        ledger = server.ledger(by_text=False)
    rows = [row for row in ledger["timeline"] if row["second"] < setting.end_s]
    given = allowed(ledger["quota"], "tokens", 0.0, setting.end_s)
    assert given is not None
    for phase in range(3):
        of_phase = [row for row in rows if phase * setting.phase_s <= row["second"] < (phase + 1) * setting.phase_s]
        told = {what: sum(row[what] for row in of_phase) for what in ("requests", "rejected", "tokens", "tokens_allowed")}
        print(f"  phase {phase + 1}: " + ", ".join(f"{what} {amount:,.0f}" for what, amount in told.items()), flush=True)
    rejected, accepted = sum(row["rejected"] for row in rows), sum(row["requests"] for row in rows)
    used = sum(row["tokens"] for row in rows) / (given + setting.tokens_per_minute / 60 * setting.burst_s)
    result = {"quota_used": round(used, 4), "rejected": round(rejected / (rejected + accepted), 4)}
    if pace is not None:
        result["quota_within_reach"] = round(setting.within_reach(pace), 4)
    print(f"  {result}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=80.0, help="of each of the three phases")
    parser.add_argument("--per-second", type=float, default=52.0, help="requests that the full quota allows; best a multiple of 4")
    parser.add_argument("--burst", type=float, default=60.0, help="seconds of quota that the account may save up")
    parser.add_argument("--only", choices=["mtd-ray", "fixed_bucket", "ray_http_stage"], help="one contender")
    arguments = parser.parse_args()
    setting = Setting(arguments.per_second, arguments.seconds, arguments.burst)
    contenders = {"mtd-ray": run_ours, "fixed_bucket": run_fixed_bucket, "ray_http_stage": run_ray_http_stage}
    paces = {"ray_http_stage": WORKERS * setting.paced_per_second}
    results = {}
    with RayCluster(num_cpus=4, env=KEY) as cluster, RayNode(cluster, num_cpus=4, env=KEY), connected(cluster):
        for name, contender in contenders.items():
            if arguments.only in (None, name):
                results[name] = measure(name, contender, setting, paces.get(name))
    print((__doc__ or "").split("\n\n")[3])
    ours = results.pop("mtd-ray", {})
    print(json.dumps(ours | {"peers": results}))


if __name__ == "__main__":
    main()
