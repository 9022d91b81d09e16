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
import json
import time
from collections.abc import Callable
from typing import Any

import ray
from quota_peers import run_fixed_bucket, run_ray_http_stage
from quota_setting import KEY, MODEL, TEXTS_PER_REQUEST, WORKERS, Setting, placed, texts, texts_needed, work_together

from mtd_ray.config import OpenAITeacher
from mtd_ray.harvest.quota import SharedLimiter, start_limiters
from mtd_ray.sandbox.provider_server import ProviderServer
from mtd_ray.sandbox.provider_timeline import allowed
from mtd_ray.sandbox.ray_cluster import RayCluster, connected
from mtd_ray.sandbox.ray_node import RayNode
from mtd_ray.teachers import open_teacher


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
